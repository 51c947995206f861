// SPDX-License-Identifier: MIT
// The few parts of ONNX's protobuf that a model file needs, written and read by hand.
// Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
//
// A message is a list of Buffers that is concatenated only on its way to the file, so that weights
// are never copied. Reading back knows just enough to list a graph's node types.
'use strict';

const fs = require('fs');

const FLOAT = 1,
    INT64 = 7;
const INT32 = 6;

function varint(value) {
    let rest = BigInt.asUintN(64, BigInt(value));
    const bytes = [];
    while (rest >= 0x80n) {
        bytes.push(Number(rest & 0x7fn) | 0x80);
        rest >>= 7n;
    }
    bytes.push(Number(rest));
    return Buffer.from(bytes);
}

const size = (parts) => parts.reduce((sum, part) => sum + part.length, 0);
const key = (field, wire) => varint((field << 3) | wire);

const integer = (field, value) => [key(field, 0), varint(value)];
const bytes = (field, parts) => [key(field, 2), varint(size(parts)), ...parts];
const string = (field, text) => bytes(field, [Buffer.from(text, 'utf8')]);

function float32(field, value) {
    const buffer = Buffer.alloc(4);
    buffer.writeFloatLE(value);
    return [key(field, 5), buffer];
}

function tensor(name, type, shape, array) {
    return [
        ...shape.flatMap((dim) => integer(1, dim)),
        ...integer(2, type),
        ...string(8, name),
        ...bytes(9, [Buffer.from(array.buffer, array.byteOffset, array.byteLength)]),
    ];
}

// Attributes are given as { name: value }: an integer, a list of integers, or { float: x }.
function attribute(name, value) {
    if (Array.isArray(value))
        return [...string(1, name), ...value.flatMap((v) => integer(8, v)), ...integer(20, 7)];
    if (typeof value === 'object')
        return [...string(1, name), ...float32(2, value.float), ...integer(20, 1)];
    return [...string(1, name), ...integer(3, value), ...integer(20, 2)];
}

function node({ op, domain = '', inputs, outputs, attributes = {} }) {
    return [
        ...inputs.flatMap((name) => string(1, name)),
        ...outputs.flatMap((name) => string(2, name)),
        ...string(3, outputs[0] + '_node'),
        ...string(4, op),
        ...Object.entries(attributes).flatMap(([name, value]) => bytes(5, attribute(name, value))),
        ...(domain ? string(7, domain) : []),
    ];
}

// dims: numbers, or names of dimensions known only when the model runs.
function valueInfo(name, type, dims) {
    const shape = dims.flatMap((dim) =>
        bytes(1, typeof dim === 'number' ? integer(1, dim) : string(2, dim)),
    );
    return [...string(1, name), ...bytes(2, bytes(1, [...integer(1, type), ...bytes(2, shape)]))];
}

// graph: { name, nodes, initializers: [tensor()…], inputs: [valueInfo()…], outputs } → Buffers
function model(graph, opsets) {
    const body = [
        ...graph.nodes.flatMap((one) => bytes(1, node(one))),
        ...string(2, graph.name),
        ...graph.initializers.flatMap((one) => bytes(5, one)),
        ...graph.inputs.flatMap((one) => bytes(11, one)),
        ...graph.outputs.flatMap((one) => bytes(12, one)),
    ];
    return [
        ...integer(1, 8), // IR version
        ...string(2, 'surfing-weights bench/peers'),
        ...bytes(7, body),
        ...Object.entries(opsets).flatMap(([domain, version]) =>
            bytes(8, [...string(1, domain), ...integer(2, version)]),
        ),
    ];
}

function write(path, parts) {
    const total = size(parts);
    if (total >= 2 ** 31)
        throw new Error(
            `${path}: ${total} bytes; protobuf holds 2 GiB, so this model needs external data`,
        );
    const half = `${path}.part`; // renamed when whole: an interrupted run leaves nothing that looks finished
    const file = fs.openSync(half, 'w');
    try {
        for (const part of parts)
            for (let done = 0; done < part.length;) done += fs.writeSync(file, part, done);
    } finally {
        fs.closeSync(file);
    }
    fs.renameSync(half, path);
}

function* fields(buffer) {
    let at = 0;
    const next = () => {
        let value = 0,
            scale = 1,
            byte;
        do {
            byte = buffer[at++];
            value += (byte & 0x7f) * scale;
            scale *= 128;
        } while (byte & 0x80);
        return value;
    };
    while (at < buffer.length) {
        const head = next();
        const field = Math.floor(head / 8),
            wire = head & 7;
        if (wire === 0) yield { field, value: next() };
        else {
            const length = wire === 2 ? next() : wire === 1 ? 8 : 4;
            yield { field, data: buffer.subarray(at, at + length) };
            at += length;
        }
    }
}

// → { 'Attention': 12, … }: how often each operator occurs in a model file.
function operators(path) {
    const count = {};
    for (const { field, data } of fields(fs.readFileSync(path))) {
        if (field !== 7) continue;
        for (const inner of fields(data)) {
            if (inner.field !== 1) continue;
            for (const { field: f, data: d } of fields(inner.data))
                if (f === 4) count[d.toString()] = (count[d.toString()] || 0) + 1;
        }
    }
    return count;
}

module.exports = { FLOAT, INT32, INT64, tensor, valueInfo, model, write, operators };
