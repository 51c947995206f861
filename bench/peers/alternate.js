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

// One burst of passes of a batch on each engine in turn, `rounds` times over. The engine that goes first
// changes from round to round. → { [engine's name]: [ns of a pass, the median of its burst, per round] }
async function alternate(engines, lengths, rounds, threads) {
    const passes = {},
        ns = Object.fromEntries(engines.map((engine) => [engine.name, []]));
    for (const engine of engines) {
        await engine.batch(lengths);
        const [, warm] = await engine.run(2);
        passes[engine.name] = Math.max(1, Math.min(50, Math.round(BURST_NS / warm)));
    }
    for (let round = 0; round < rounds; round++)
        for (let i = 0; i < engines.length; i++) {
            const engine = engines[(i + round) % engines.length];
            await settle(threads);
            ns[engine.name].push(median(await engine.run(passes[engine.name])));
        }
    return ns;
}

// The same for a list of different batches, each once a round, engines in turn batch by batch: → ns of all.
async function alternateBatches(engines, batches, rounds, threads) {
    const ns = Object.fromEntries(engines.map((engine) => [engine.name, []]));
    for (let round = -1; round < rounds; round++) {
        // the first round warms up
        const sum = Object.fromEntries(engines.map((engine) => [engine.name, 0]));
        for (const [b, lengths] of batches.entries())
            for (let i = 0; i < engines.length; i++) {
                const engine = engines[(i + b + round + 1) % engines.length];
                await settle(threads);
                await engine.batch(lengths);
                sum[engine.name] += (await engine.run(1))[0];
            }
        if (round >= 0) for (const engine of engines) ns[engine.name].push(sum[engine.name]);
    }
    return ns;
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
