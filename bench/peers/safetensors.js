// SPDX-License-Identifier: MIT
// Reads the tensors of a safetensors file as float32.
//
// Only what the ONNX writer needs: one file, as `swchunk export` writes it. F32 tensors are views of the file's bytes; F16 and
// BF16 ones are widened, which loses nothing. Any other element type is refused by name.
'use strict';

const fs = require('fs');

const BITS = new Uint32Array(1),
    FLOAT = new Float32Array(BITS.buffer);

function fromBits(bits) {
    BITS[0] = bits;
    return FLOAT[0];
}

function halfToFloat(half) {
    const sign = half & 0x8000 ? -1 : 1,
        exponent = (half >> 10) & 31,
        fraction = half & 0x3ff;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const WIDEN = { F16: halfToFloat, BF16: (half) => fromBits(half << 16) };

function widen(halves, convert) {
    const table = Float32Array.from({ length: 65536 }, (_, half) => convert(half));
    return Float32Array.from(halves, (half) => table[half]);
}

class Safetensors {
    constructor(path) {
        this.path = path;
        const bytes = fs.readFileSync(path);
        const headerBytes = Number(bytes.readBigUInt64LE(0));
        if (headerBytes > bytes.length - 8)
            throw new Error(
                `${path}: the header says it is ${headerBytes} bytes long, the file is shorter`,
            );
        this.header = JSON.parse(bytes.toString('utf8', 8, 8 + headerBytes));
        delete this.header.__metadata__;
        this.data = bytes.subarray(8 + headerBytes);
        // Names come with and without the prefix of a model that carries a head.
        this.prefix = Object.keys(this.header).some((name) => name.startsWith('bert.'))
            ? 'bert.'
            : '';
    }

    // → { shape, data: Float32Array }
    tensor(name) {
        const entry = this.header[this.prefix + name];
        if (!entry) throw new Error(`${this.path}: there is no tensor ${this.prefix + name}`);
        if (entry.dtype !== 'F32' && !WIDEN[entry.dtype])
            throw new Error(`${this.path}: ${name} is ${entry.dtype}; known are F32, F16 and BF16`);
        const [begin, end] = entry.data_offsets;
        const slice = this.data.subarray(begin, end);
        // A typed array must start at a multiple of its element; a header's length need not be one.
        const aligned = slice.byteOffset % 4 === 0 ? slice : Uint8Array.from(slice);
        const data =
            entry.dtype === 'F32'
                ? new Float32Array(aligned.buffer, aligned.byteOffset, aligned.length / 4)
                : widen(
                      new Uint16Array(aligned.buffer, aligned.byteOffset, aligned.length / 2),
                      WIDEN[entry.dtype],
                  );
        return { shape: entry.shape, data };
    }
}

module.exports = { Safetensors };
