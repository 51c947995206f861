// SPDX-License-Identifier: MIT
// Measures engines against each other in alternation, and the statistics of that.
//
// Whatever else the machine does hits all sides alike, because each is asked for one short burst in turn; a
// ratio is formed inside a round, and its median is taken over rounds.
'use strict';

const BURST_NS = 60e6; // long enough to be timed, short enough to alternate often

// Thread pools spin for some tens of milliseconds after their last pass and would take a processor from whoever
// is measured next.
const SETTLE_MS = 100;

const settle = (threads) =>
    threads > 1 ? new Promise((resolve) => setTimeout(resolve, SETTLE_MS)) : Promise.resolve();

const sorted = (values) => [...values].sort((a, b) => a - b);

function quantile(values, q) {
    const order = sorted(values),
        at = (order.length - 1) * q,
        low = Math.floor(at);
    return order[low] + (order[Math.min(low + 1, order.length - 1)] - order[low]) * (at - low);
}

const median = (values) => quantile(values, 0.5);
const geometricMean = (values) =>
    Math.exp(values.reduce((sum, v) => sum + Math.log(v), 0) / values.length);

// Measurements of one engine: what a pass takes on the wall's clock and of processor time, one number a round.
// With one thread and a busy machine the second is the steadier one.
const nothing = (engines) =>
    Object.fromEntries(engines.map((engine) => [engine.name, { ns: [], cpu_ns: [] }]));

// One burst of passes of a batch on each engine in turn, `rounds` times over. The engine that goes first
// changes from round to round. A round's number is the median of its burst.
async function alternate(engines, lengths, rounds, threads) {
    const passes = {},
        times = nothing(engines);
    for (const engine of engines) {
        await engine.batch(lengths);
        const warm = (await engine.run(2)).ns[1];
        passes[engine.name] = Math.max(1, Math.min(50, Math.round(BURST_NS / warm)));
    }
    for (let round = 0; round < rounds; round++)
        for (let i = 0; i < engines.length; i++) {
            const engine = engines[(i + round) % engines.length];
            await settle(threads);
            const burst = await engine.run(passes[engine.name]);
            for (const clock of ['ns', 'cpu_ns'])
                times[engine.name][clock].push(median(burst[clock]));
        }
    return times;
}

// The same for a list of different batches, each once a round, engines in turn batch by batch. A round's number is the
// sum over the batches.
async function alternateBatches(engines, batches, rounds, threads) {
    const times = nothing(engines);
    for (let round = -1; round < rounds; round++) {
        // the first round warms up
        if (round >= 0)
            for (const engine of engines)
                for (const clock of ['ns', 'cpu_ns']) times[engine.name][clock].push(0);
        for (const [b, lengths] of batches.entries())
            for (let i = 0; i < engines.length; i++) {
                const engine = engines[(i + b + round + 1) % engines.length];
                await settle(threads);
                await engine.batch(lengths);
                const pass = await engine.run(1);
                if (round >= 0)
                    for (const clock of ['ns', 'cpu_ns'])
                        times[engine.name][clock][round] += pass[clock][0];
            }
    }
    return times;
}

// How many times faster `ours` is than `theirs`: the median over rounds, and its quartiles.
function ratio(ours, theirs) {
    const each = ours.map((ns, round) => theirs[round] / ns);
    return { median: median(each), low: quantile(each, 0.25), high: quantile(each, 0.75) };
}

const tokensPerSecond = (tokens, ns) => tokens / (median(ns) / 1e9);

module.exports = {
    alternate,
    alternateBatches,
    ratio,
    tokensPerSecond,
    median,
    quantile,
    geometricMean,
};
