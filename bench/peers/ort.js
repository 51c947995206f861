// SPDX-License-Identifier: MIT
// Keeps one ONNX model loaded in ONNX Runtime and runs passes on request: one side of the alternation.
//
//   node ort.js MODEL.onnx --threads N [--optimized OUT.onnx] [--level all|extended|basic|disabled]
//
// The binding itself costs about 20 µs a pass (measured on a graph of one node), 0.4 % of the shortest pass measured here.
//
// Line protocol, one JSON object a line in answer; the same as `swbench serve`:
//   (start)            {"ready":true,"engine":…,"threads":…,"load_ms":…}
//   batch L L L …      that many sequences, of these lengths, padded to the longest; made-up ids
//   run N              N passes of it, {"ns":[…],"cpu_ns":[…]}: nothing but the pass is inside the clocks, the wall's and
//                      the process's own
//   forward ID ID …    {"last_hidden_state":[[…]…]} of one sequence
//   quit, or the end of the input
'use strict';

const readline = require('readline');
const ort = require('onnxruntime-node');
const version = ort.env.versions.node;

function options(args) {
    const parsed = { threads: 1, level: 'all' };
    for (let i = 0; i < args.length; i++) {
        if (args[i] === '--threads') parsed.threads = Number(args[++i]);
        else if (args[i] === '--level') parsed.level = args[++i];
        else if (args[i] === '--optimized') parsed.optimized = args[++i];
        else parsed.model = args[i];
    }
    return parsed;
}

const tensor = (rows, width, value) => {
    const data = new BigInt64Array(rows * width);
    for (let r = 0; r < rows; r++)
        for (let c = 0; c < width; c++) data[r * width + c] = BigInt(value(r, c));
    return new ort.Tensor('int64', data, [rows, width]);
};

class Runner {
    constructor(session, names) {
        this.session = session;
        this.names = names;
    }

    feed(lengths, id) {
        const width = Math.max(...lengths);
        const all = {
            input_ids: () =>
                tensor(lengths.length, width, (r, c) => (c < lengths[r] ? id(r, c) : 0)),
            token_type_ids: () => tensor(lengths.length, width, () => 0),
            attention_mask: () => tensor(lengths.length, width, (r, c) => (c < lengths[r] ? 1 : 0)),
        };
        if (!this.names.includes('attention_mask') && lengths.some((length) => length !== width))
            throw new Error('this model has no mask: every sequence must be equally long');
        this.feeds = Object.fromEntries(this.names.map((name) => [name, all[name]()]));
        this.lengths = lengths;
    }

    batch(words) {
        const lengths = words.map(Number);
        if (!lengths.length || lengths.some((length) => !(length > 0)))
            throw new Error('batch: lengths of at least 1');
        this.feed(lengths, (r, c) => 1000 + ((r * 131 + c * 7919) % 25000));
        this.fetches = undefined;
        return { sequences: lengths.length, tokens: lengths.reduce((a, b) => a + b, 0) };
    }

    async run(words) {
        const ns = [],
            cpu = [];
        for (let left = Number(words[0]); left > 0; left--) {
            const began = process.cpuUsage(),
                start = process.hrtime.bigint();
            // From the second pass on the result goes into the first one's memory: no allocation.
            if (this.fetches) await this.session.run(this.feeds, this.fetches);
            else this.fetches = await this.session.run(this.feeds);
            ns.push(Number(process.hrtime.bigint() - start));
            const { user, system } = process.cpuUsage(began);
            cpu.push((user + system) * 1e3);
        }
        return { ns, cpu_ns: cpu };
    }

    async forward(words) {
        const ids = words.map(Number);
        this.feed([ids.length], (r, c) => ids[c]);
        this.fetches = undefined;
        const { last_hidden_state: out } = await this.session.run(this.feeds);
        const hidden = out.dims[2];
        return {
            last_hidden_state: ids.map((_, t) =>
                Array.from(out.data.subarray(t * hidden, (t + 1) * hidden)),
            ),
        };
    }
}

async function main() {
    const { model, threads, level, optimized } = options(process.argv.slice(2));
    const start = process.hrtime.bigint();
    const session = await ort.InferenceSession.create(model, {
        executionProviders: ['cpu'],
        intraOpNumThreads: threads,
        interOpNumThreads: 1,
        executionMode: 'sequential',
        graphOptimizationLevel: level,
        logSeverityLevel: 3,
        ...(optimized ? { optimizedModelFilePath: optimized } : {}),
    });
    const answer = (object) => process.stdout.write(JSON.stringify(object) + '\n');
    answer({
        ready: true,
        engine: `onnxruntime ${version}`,
        threads,
        load_ms: Number(process.hrtime.bigint() - start) / 1e6,
        process_ms: process.uptime() * 1e3,
    });
    const runner = new Runner(session, session.inputNames);
    for await (const line of readline.createInterface({ input: process.stdin })) {
        const [command, ...words] = line.trim().split(/\s+/);
        if (command === 'quit') break;
        try {
            if (!['batch', 'run', 'forward'].includes(command))
                throw new Error(`unknown request: ${command}`);
            answer(await runner[command](words));
        } catch (error) {
            answer({ error: error.message });
        }
    }
    process.exit(0);
}

main();
