// SPDX-License-Identifier: MIT
// Compares numbers before anybody compares speeds: the hidden states of `swbert forward` and ONNX Runtime, on the same weights.
//
// For f16 the other side computes in float32 on the rounded weights, widened, so that what differs is arithmetic alone;
// what the rounding itself does to an embedding is told by its cosine to that of the f32 model.
'use strict';

const { execFileSync } = require('child_process');

const LENGTHS = [2, 17, 128, 300];

const idsOf = (length) =>
    Array.from({ length }, (_, i) =>
        i === 0 ? 101 : i === length - 1 ? 102 : 1000 + ((i * 7919) % 25000),
    );

function difference(ours, theirs) {
    let largest = 0;
    for (let t = 0; t < theirs.length; t++)
        for (let i = 0; i < theirs[t].length; i++) {
            const apart = Math.abs(ours[t][i] - theirs[t][i]);
            if (!(apart <= largest)) largest = apart; // also when it is not a number
        }
    return largest;
}

// hidden states → the embedding that mean pooling makes of them
const meanPooled = (hidden) =>
    hidden[0].map((_, i) => hidden.reduce((sum, token) => sum + token[i], 0) / hidden.length);

function cosine(a, b) {
    const dot = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
    return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

function hiddenStates(swbert, model, ids) {
    const output = execFileSync(swbert, ['forward', '--model', model, '--ids', ids], {
        encoding: 'utf8',
        maxBuffer: 1 << 28,
        stdio: ['ignore', 'pipe', 'inherit'],
    });
    return JSON.parse(output).last_hidden_state;
}

async function compare(model, dtype, { start, swbert, closing, torch }) {
    const others = [await start.ort(model, 'eager', '1', dtype)];
    if (torch && dtype === 'f32') others.push(await start.torch(model, '1'));
    return closing(others, async () => {
        const result = { model, dtype, lengths: LENGTHS, max_abs_difference: {} };
        for (const length of LENGTHS) {
            const ids = idsOf(length).join(' ');
            const ours = hiddenStates(swbert, `${model}-${dtype}`, ids);
            if (dtype !== 'f32') {
                const exact = hiddenStates(swbert, `${model}-f32`, ids);
                const angle = cosine(meanPooled(ours), meanPooled(exact));
                if (!(angle >= result.min_cosine_to_f32)) result.min_cosine_to_f32 = angle;
            }
            for (const other of others) {
                const theirs = (await other.ask(`forward ${ids}`)).last_hidden_state;
                const apart = difference(ours, theirs),
                    name = other.name === 'torch' ? 'torch' : 'ort';
                const before = result.max_abs_difference[name] || 0;
                result.max_abs_difference[name] =
                    apart > before || Number.isNaN(apart) ? apart : before;
            }
        }
        return result;
    });
}

module.exports = { compare };
