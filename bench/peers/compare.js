// SPDX-License-Identifier: MIT
// Measures this project's BERT (`swbench serve`) beside ONNX Runtime (and PyTorch) on the same weights, and prints one table.
//
//   node compare.js --work DIR --bin DIR [--models A,B] [--shapes 1x16,…] [--threads 1,2] [--rounds N] [--text FILE]
//                   [--no-text] [--torch] [--peers-only] [--check] [--json]
//
// run.sh calls it, having made what DIR holds: models/NAME-f16 and NAME-f32 (chunk directories that a broker at
// $SW_SOCKET serves), onnx/NAME-f16 and NAME-f32 (*.onnx), NAME-f16.safetensors and NAME-f32.safetensors.
//
// ONNX Runtime and PyTorch compute in float32 on the weights of NAME-f32. Of ONNX Runtime's graphs the one that is fastest at
// a cell (first a short alternation of all) takes part in the cell's comparison.
'use strict';

const fs = require('fs');
const os = require('os');
const path = require('path');
const { parseArgs } = require('util');
const { Engine } = require('./engine');
const { VARIANTS } = require('./bert_onnx');
const measure = require('./alternate');
const text = require('./text');
const check = require('./check');
const report = require('./report');

const DTYPES = ['f16', 'f32'];
const CHOOSING_ROUNDS = 3;
const TEXT_BATCH = 32,
    TEXT_BATCHES = 6;
const COLD_STARTS = 5;
const BLAS = '/usr/lib/x86_64-linux-gnu/openblas-pthread';

const { values: options } = parseArgs({
    options: {
        work: { type: 'string' },
        bin: { type: 'string' },
        models: { type: 'string', default: 'minilm-l6,bert-base' },
        shapes: { type: 'string', default: '1x16,1x128,8x128,1x512' },
        threads: { type: 'string', default: '1,2' },
        rounds: { type: 'string', default: '15' },
        text: { type: 'string' },
        'no-text': { type: 'boolean' },
        torch: { type: 'boolean' },
        'peers-only': { type: 'boolean' },
        check: { type: 'boolean' },
        json: { type: 'boolean' },
    },
});

const note = (line) => process.stderr.write(line + '\n');
const at = (...parts) => path.join(options.work, ...parts);
const swbert = path.join(options.bin, 'swbert');

const start = {
    ours: (model, dtype, threads) =>
        new Engine(dtype, path.join(options.bin, 'swbench'), [
            'serve',
            '--model',
            at('models', `${model}-${dtype}`),
            '--socket',
            process.env.SW_SOCKET,
            '--threads',
            threads,
        ]).start(),
    ort: (model, variant, threads, dtype = 'f32') =>
        new Engine(variant, process.execPath, [
            path.join(__dirname, 'ort.js'),
            at('onnx', `${model}-${dtype}`, `${variant}.onnx`),
            '--threads',
            threads,
        ]).start(),
    // Debian's default python3, the one that python3-torch belongs to
    torch: (model, threads) =>
        new Engine(
            'torch',
            '/usr/bin/python3',
            [
                path.join(__dirname, 'torch_runner.py'),
                at(`${model}-f32.safetensors`),
                at('models', `${model}-f32`, 'config.json'),
                '--threads',
                threads,
            ],
            { LD_LIBRARY_PATH: BLAS, OPENBLAS_NUM_THREADS: threads },
        ).start(),
};

async function closing(engines, body) {
    try {
        return await body();
    } finally {
        for (const engine of engines) await engine.stop();
    }
}

// A cell: { label, run: (engines, rounds) → ns per round, tokens, variants that may take part }
function shapeCell(shape, threads) {
    const [batch, length] = shape.split('x').map(Number);
    const lengths = Array(batch).fill(length);
    return {
        label: shape,
        tokens: batch * length,
        threads,
        variants: VARIANTS,
        run: (engines, rounds) => measure.alternate(engines, lengths, rounds, threads),
    };
}

function textCell(label, lengths, threads) {
    const batches = text.inBatches(lengths, TEXT_BATCH);
    return {
        label,
        tokens: lengths.reduce((a, b) => a + b, 0),
        variants: VARIANTS.filter((name) => !name.endsWith('-nomask')),
        threads,
        padding: text.paddingFactor(batches),
        median_length: measure.median(lengths),
        rounds: 3,
        run: (engines, rounds) => measure.alternateBatches(engines, batches, rounds, threads),
    };
}

function cells(model, threads) {
    const list = options.shapes
        .split(',')
        .filter(Boolean)
        .map((shape) => shapeCell(shape, threads));
    if (options['no-text'] || options['peers-only']) return list;
    const lines = text.lines(options.text, TEXT_BATCH * TEXT_BATCHES);
    const config = JSON.parse(fs.readFileSync(at('models', `${model}-f16`, 'config.json'), 'utf8'));
    const lengths = text.tokenCounts(
        swbert,
        `${model}-f16`,
        lines,
        config.max_position_embeddings,
        process.env,
    );
    return [
        ...list,
        textCell('text', lengths, threads),
        textCell(
            'text, sorted',
            [...lengths].sort((a, b) => a - b),
            threads,
        ),
    ];
}

async function fastest(cell, variants) {
    const candidates = variants.filter((engine) => cell.variants.includes(engine.name));
    const times = await cell.run(candidates, cell.rounds ? 1 : CHOOSING_ROUNDS);
    // processor time where it means something: a busy machine should not choose
    const clock = cell.threads === 1 ? 'cpu_ns' : 'ns';
    const best = (engine) => measure.median(times[engine.name][clock]);
    candidates.sort((a, b) => best(a) - best(b));
    return {
        engine: candidates[0],
        tried: Object.fromEntries(candidates.map((e) => [e.name, (cell.tokens / best(e)) * 1e9])),
    };
}

async function measureCell(model, threads, cell, ours, variants, torch) {
    const { engine: ort, tried } = await fastest(cell, variants);
    const times = await cell.run([...ours, ort, ...torch], cell.rounds || Number(options.rounds));
    const speed = (engine) => measure.tokensPerSecond(cell.tokens, times[engine.name].ns);
    const row = {
        model,
        shape: cell.label,
        threads,
        tokens: cell.tokens,
        load_average: os.loadavg()[0],
        ort: { tokens_per_s: speed(ort), variant: ort.name, variants_tokens_per_s: tried },
    };
    if (cell.padding)
        Object.assign(row, { padding_factor: cell.padding, median_length: cell.median_length });
    for (const engine of ours)
        row[engine.name] = {
            tokens_per_s: speed(engine),
            ratio: measure.ratio(times[engine.name].ns, times[ort.name].ns),
            cpu_ratio: measure.ratio(times[engine.name].cpu_ns, times[ort.name].cpu_ns),
        };
    for (const engine of torch) row.torch = { tokens_per_s: speed(engine) };
    note(report.progress(row));
    return row;
}

async function measureModel(model, threads, rows) {
    const all = [],
        ours = [],
        variants = [],
        torch = [];
    const into = async (list, starting) => {
        all.push(await starting);
        list.push(all[all.length - 1]);
    };
    await closing(all, async () => {
        if (!options['peers-only'])
            for (const dtype of DTYPES) await into(ours, start.ours(model, dtype, threads));
        for (const variant of VARIANTS) await into(variants, start.ort(model, variant, threads));
        if (options.torch) await into(torch, start.torch(model, threads));
        for (const cell of cells(model, Number(threads)))
            rows.push(await measureCell(model, Number(threads), cell, ours, variants, torch));
    });
}

// From a new process to ready, weights in the page cache or the arena: medians of several, in alternation.
async function coldStarts(model) {
    const load = { ours: [], ort: [] },
        first = { ours: [], ort: [] };
    for (let i = 0; i < COLD_STARTS; i++)
        for (const side of options['peers-only'] ? ['ort'] : ['ours', 'ort']) {
            const began = process.hrtime.bigint();
            const engine =
                side === 'ours'
                    ? await start.ours(model, 'f16', '1')
                    : await start.ort(model, 'eager', '1');
            await closing([engine], async () => {
                await engine.batch([16]);
                await engine.run(1);
                first[side].push(Number(process.hrtime.bigint() - began) / 1e6);
                load[side].push(engine.about.load_ms);
            });
        }
    const medians = (times) =>
        Object.fromEntries(
            Object.entries(times)
                .filter(([, list]) => list.length)
                .map(([side, list]) => [side, measure.median(list)]),
        );
    return { model, load_ms: medians(load), first_result_ms: medians(first) };
}

async function main() {
    const models = options.models.split(',');
    if (options.check) {
        const differences = [];
        for (const model of models)
            for (const dtype of DTYPES)
                differences.push(
                    await check.compare(model, dtype, {
                        start,
                        swbert,
                        closing,
                        torch: options.torch,
                    }),
                );
        process.stdout.write(
            options.json ? JSON.stringify({ differences }) + '\n' : report.differences(differences),
        );
        return;
    }
    const rows = [],
        cold = [];
    for (const model of models) {
        for (const threads of options.threads.split(',')) await measureModel(model, threads, rows);
        cold.push(await coldStarts(model));
    }
    const result = {
        machine: report.machine(),
        ort: require('onnxruntime-node').env.versions.node,
        rounds: Number(options.rounds),
        rows,
        geometric_means: report.means(rows),
        cold_start: cold,
    };
    process.stdout.write(options.json ? JSON.stringify(result) + '\n' : report.table(result));
}

main().then(
    () => process.exit(0),
    (error) => {
        note(`compare: ${error.message}`);
        process.exit(1);
    },
);
