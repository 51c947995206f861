// SPDX-License-Identifier: MIT
// Turns results into the one table that people read. Programs read the same results as JSON.
'use strict';

const fs = require('fs');
const os = require('os');
const { geometricMean } = require('./alternate');

const number = (value, digits = 0) => (value === undefined ? '' : value.toFixed(digits));

function machine() {
    const cpu = fs.readFileSync('/proc/cpuinfo', 'utf8');
    const field = (name) => (cpu.match(new RegExp(`^${name}\\s*:\\s*(.*)$`, 'm')) || [])[1];
    return {
        cpu: field('model name'),
        family: field('cpu family'),
        model: field('model'),
        avx512: / avx512f /.test(field('flags') || ''),
        cores: os.cpus().length,
        memory_gb: Math.round(os.totalmem() / 2 ** 30),
        kernel: os.release(),
        load_average: os.loadavg(),
    };
}

// The shapes' means; real text has a bar of its own and is not among them.
function means(rows) {
    const result = [];
    for (const threads of new Set(rows.map((row) => row.threads)))
        for (const dtype of ['f16', 'f32']) {
            const ratios = rows
                .filter((row) => row.threads === threads && row[dtype] && !row.padding_factor)
                .map((row) => row[dtype].ratio.median);
            if (ratios.length)
                result.push({
                    threads,
                    dtype,
                    ratio: geometricMean(ratios),
                    smallest: Math.min(...ratios),
                });
        }
    return result;
}

const HEAD = [
    'model',
    'batch×length',
    'threads',
    'f16 tok/s',
    '×ORT',
    'quartiles',
    'cpu×',
    'f32 tok/s',
    '×ORT',
    'quartiles',
    'cpu×',
    'ORT tok/s',
    'graph',
    'torch tok/s',
    'load',
];
const TEXT_COLUMNS = new Set([0, 1, 12]);

function line(row) {
    const ours = (dtype) => {
        const side = row[dtype];
        if (!side) return ['', '', '', ''];
        const { median, low, high } = side.ratio;
        return [
            number(side.tokens_per_s),
            number(median, 3),
            `${number(low, 3)}–${number(high, 3)}`,
            // pools that spin while they wait make processor time say nothing
            row.threads === 1 ? number(side.cpu_ratio.median, 3) : '',
        ];
    };
    return [
        row.model,
        row.shape,
        String(row.threads),
        ...ours('f16'),
        ...ours('f32'),
        number(row.ort.tokens_per_s),
        row.ort.variant,
        row.torch ? number(row.torch.tokens_per_s) : '',
        number(row.load_average, 1),
    ];
}

function columns(lines) {
    const used = HEAD.map((_, c) => lines.slice(1).some((cells) => cells[c] !== ''));
    const width = HEAD.map((_, c) => Math.max(...lines.map((cells) => cells[c].length)));
    return (
        lines
            .map((cells) =>
                cells
                    .map((cell, c) =>
                        TEXT_COLUMNS.has(c) ? cell.padEnd(width[c]) : cell.padStart(width[c]),
                    )
                    .filter((_, c) => used[c])
                    .join('  ')
                    .trimEnd(),
            )
            .join('\n') + '\n'
    );
}

function table({ machine: about, ort, rounds, rows, geometric_means: mean, cold_start: cold }) {
    const features = about.avx512 ? 'AVX-512' : 'no AVX-512';
    let out =
        `${about.cpu} (family ${about.family} model ${about.model}, ${features}), ${about.cores} cores, ` +
        `${about.memory_gb} GB, Linux ${about.kernel}; ONNX Runtime ${ort}, level all; ${rounds} alternating rounds\n\n`;
    out += columns([HEAD, ...rows.map(line)]);
    if (rows.some((row) => row.f16))
        out +=
            '\n×ORT: ratio of speeds by the wall clock; cpu×: by processor time, steadier on a busy machine\n';
    for (const row of rows.filter((one) => one.padding_factor && one.threads === rows[0].threads))
        out +=
            `\n${row.model}, ${row.shape}: ${row.tokens} tokens, lines of ${number(row.median_length)} at the median; ` +
            `padded batches have ${number(row.padding_factor, 2)} positions a token`;
    for (const { threads, dtype, ratio, smallest } of mean)
        out += `\n${dtype}, ${threads} thread${threads > 1 ? 's' : ''}: geometric mean of ×ORT ${number(ratio, 3)}, smallest ${number(smallest, 3)}`;
    for (const { model, load_ms: load, first_result_ms: first } of cold) {
        const side = (name, key) => (key[name] === undefined ? '' : `${number(key[name], 1)} ms`);
        out +=
            `\n${model}, new process: ready for work ${[side('ours', load), `ONNX Runtime ${side('ort', load)}`].filter(Boolean).join(', ')}; ` +
            `from exec to the first result ${[side('ours', first), `ONNX Runtime in Node ${side('ort', first)}`].filter(Boolean).join(', ')}`;
    }
    return out + '\n';
}

function progress(row) {
    const ours = ['f16', 'f32']
        .filter((dtype) => row[dtype])
        .map(
            (dtype) =>
                `${dtype} ${number(row[dtype].tokens_per_s)} (${number(row[dtype].ratio.median, 3)})`,
        );
    return [
        `${row.model} ${row.shape} threads ${row.threads}:`,
        ...ours,
        `ORT ${number(row.ort.tokens_per_s)} ${row.ort.variant}`,
        ...(row.torch ? [`torch ${number(row.torch.tokens_per_s)}`] : []),
    ].join('  ');
}

function differences(list) {
    return (
        list
            .map(
                ({ model, dtype, lengths, max_abs_difference: apart, min_cosine_to_f32: cosine }) =>
                    `${model} ${dtype}, lengths ${lengths.join(' ')}: largest absolute difference of a hidden state ` +
                    Object.entries(apart)
                        .map(([name, value]) => `to ${name} ${value.toExponential(2)}`)
                        .join(', ') +
                    (cosine === undefined
                        ? ''
                        : `; cosine of mean embeddings to f32 at least ${cosine.toFixed(8)}`),
            )
            .join('\n') + '\n'
    );
}

module.exports = { machine, means, table, progress, differences };
