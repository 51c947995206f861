// SPDX-License-Identifier: MIT
// Real text in lines of mixed length, for the batches that padding is bad at.
//
// By default the sentences of the licence texts that every Debian system carries: nothing to download, the same
// everywhere. Token counts come from `swbert tokenize`, so that both sides compute on the same tokens.
'use strict';

const fs = require('fs');
const { execFileSync } = require('child_process');

const LICENCES = ['GPL-2', 'GPL-3', 'LGPL-2.1', 'MPL-2.0', 'GFDL-1.3', 'Apache-2.0'].map(
    (name) => `/usr/share/common-licenses/${name}`,
);

function sentences(text) {
    return text
        .replace(/\s+/g, ' ')
        .split(/(?<=[.;:!?]) /)
        .map((line) => line.trim())
        .filter((line) => /[a-z]{3}/i.test(line));
}

// → `count` lines, taken evenly from all there are
function lines(path, count) {
    const all = path
        ? fs
              .readFileSync(path, 'utf8')
              .split('\n')
              .filter((line) => line.trim())
        : LICENCES.filter(fs.existsSync).flatMap((file) =>
              sentences(fs.readFileSync(file, 'utf8')),
          );
    if (all.length < count)
        throw new Error(`${path || 'licence texts'}: ${all.length} lines; ${count} are needed`);
    return Array.from({ length: count }, (_, i) => all[Math.floor((i * all.length) / count)]);
}

// → token counts, special tokens included, truncated to `limit`
function tokenCounts(swbert, model, texts, limit, env) {
    const output = execFileSync(swbert, ['tokenize', '--model', model], {
        input: texts.join('\n') + '\n',
        encoding: 'utf8',
        maxBuffer: 1 << 28,
        env,
        stdio: ['pipe', 'pipe', 'inherit'],
    });
    const counts = output
        .trim()
        .split('\n')
        .map((line) => Math.min(limit, JSON.parse(line).ids.length));
    if (counts.length !== texts.length)
        throw new Error(`${swbert} tokenize: ${counts.length} answers to ${texts.length} lines`);
    return counts;
}

function inBatches(lengths, size) {
    const batches = [];
    for (let i = 0; i < lengths.length; i += size) batches.push(lengths.slice(i, i + size));
    return batches;
}

// How many positions padded batches have for each real token.
function paddingFactor(batches) {
    const sum = (values) => values.reduce((a, b) => a + b, 0);
    return sum(batches.map((batch) => batch.length * Math.max(...batch))) / sum(batches.map(sum));
}

module.exports = { lines, tokenCounts, inBatches, paddingFactor };
