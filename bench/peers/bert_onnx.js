// SPDX-License-Identifier: MIT
// Writes a BERT encoder as an ONNX file from the float32 weights of one safetensors file.
//
//   node bert_onnx.js MODEL.safetensors CONFIG.json OUT_DIR [VARIANT…]
//
// Several variants of the same model, because it is not plain which of them ONNX Runtime runs fastest, and the
// comparison is with its best:
//
//   eager      what Hugging Face's exporter makes of eager attention; level 'all' turns it into com.microsoft
//              Attention and BiasGelu (not SkipLayerNormalization: the runtime fuses that for fixed lengths only)
//   attention  the fused operators of com.microsoft written out, one Attention a layer
//   mha        the same with separate Q, K, V products and MultiHeadAttention, which has a flash kernel
//   *-nomask   without the mask input, for batches in which every sequence is equally long
//
// Shapes: batch and sequence are free. Input ids, types and mask are int64, as transformers feeds them. Output is
// last_hidden_state alone. Linear weights W[N][K] are stored transposed, [K][N], as the exporter does.
'use strict';

const fs = require('fs');
const path = require('path');
const pb = require('./protobuf');
const { Safetensors } = require('./safetensors');

const VARIANTS = ['eager', 'eager-nomask', 'attention', 'attention-nomask', 'mha', 'mha-nomask'];
const MICROSOFT = 'com.microsoft';
const OPSET = 12; // the last in which the runtime's attention fusion knows every operator used here
const MASKED = -10000; // what the runtime's attention fusion looks for; exp(-10000) is 0 in float32

// W[rows][columns] → [columns][rows]
function transpose(array, rows, columns) {
    const out = new Float32Array(array.length);
    for (let r = 0; r < rows; r++)
        for (let c = 0; c < columns; c++) out[c * rows + r] = array[r * columns + c];
    return out;
}

class Graph {
    constructor(name) {
        Object.assign(this, { name, nodes: [], initializers: [], inputs: [], outputs: [] });
        this.known = new Set();
        this.count = 0;
    }

    // Appends a node with one output and returns the output's name.
    add(op, inputs, attributes = {}, domain = '') {
        const output = `${op}_${this.count++}`;
        this.nodes.push({ op, domain, inputs, outputs: [output], attributes });
        return output;
    }

    fused(op, inputs, attributes) {
        return this.add(op, inputs, attributes, MICROSOFT);
    }

    constant(name, type, shape, array) {
        if (!this.known.has(name)) {
            this.known.add(name);
            this.initializers.push(pb.tensor(name, type, shape, array));
        }
        return name;
    }

    scalar(value) {
        return this.constant(`f_${value}`, pb.FLOAT, [], Float32Array.of(value));
    }

    integers(...values) {
        return this.constant(
            `i_${values.join('_')}`,
            pb.INT64,
            [values.length],
            BigInt64Array.from(values, BigInt),
        );
    }

    index(value) {
        return this.constant(`index_${value}`, pb.INT64, [], BigInt64Array.of(BigInt(value)));
    }
}

class Bert {
    constructor(weights, config, variant) {
        const [kind, nomask] = variant.split('-');
        Object.assign(this, {
            weights,
            config,
            kind,
            masked: !nomask,
            graph: new Graph(`bert-${variant}`),
        });
        this.hidden = config.hidden_size;
        this.heads = config.num_attention_heads;
        this.explicit = kind !== 'eager';
        this.epsilon = { epsilon: { float: config.layer_norm_eps } };
        if (config.hidden_act !== 'gelu')
            throw new Error(`hidden_act ${config.hidden_act}: this writer knows gelu only`);
    }

    weight(name) {
        const { shape, data } = this.weights.tensor(name);
        return this.graph.constant(name, pb.FLOAT, shape, data);
    }

    product(x, name) {
        const key = `${name}.weight.T`;
        if (!this.graph.known.has(key)) {
            const {
                shape: [n, k],
                data,
            } = this.weights.tensor(`${name}.weight`);
            this.graph.constant(key, pb.FLOAT, [k, n], transpose(data, n, k));
        }
        return this.graph.add('MatMul', [x, key]);
    }

    linear(x, name) {
        return this.graph.add('Add', [this.product(x, name), this.weight(`${name}.bias`)]);
    }

    // LayerNorm as the exporter spells it up to opset 16: the runtime's fusions of residuals and of attention start
    // from this, not from the operator that opset 17 brought.
    norm(x, name) {
        const { graph } = this;
        const mean = (y) => graph.add('ReduceMean', [y], { axes: [-1] });
        const centred = graph.add('Sub', [x, mean(x)]);
        const variance = mean(graph.add('Pow', [centred, graph.scalar(2)]));
        const deviation = graph.add('Sqrt', [
            graph.add('Add', [variance, graph.scalar(this.config.layer_norm_eps)]),
        ]);
        const scaled = graph.add('Mul', [
            graph.add('Div', [centred, deviation]),
            this.weight(`${name}.weight`),
        ]);
        return graph.add('Add', [scaled, this.weight(`${name}.bias`)]);
    }

    // LayerNorm(x·W + bias + residual)
    outputBlock(x, residual, name) {
        if (!this.explicit)
            return this.norm(
                this.graph.add('Add', [this.linear(x, `${name}.dense`), residual]),
                `${name}.LayerNorm`,
            );
        return this.graph.fused(
            'SkipLayerNormalization',
            [
                this.product(x, `${name}.dense`),
                residual,
                this.weight(`${name}.LayerNorm.weight`),
                this.weight(`${name}.LayerNorm.bias`),
                this.weight(`${name}.dense.bias`),
            ],
            this.epsilon,
        );
    }

    intermediate(x, name) {
        const { graph } = this;
        if (this.explicit)
            return graph.fused('BiasGelu', [this.product(x, name), this.weight(`${name}.bias`)]);
        const y = this.linear(x, name);
        const erf = graph.add('Erf', [
            graph.add('Div', [y, graph.scalar(Math.fround(Math.SQRT2))]),
        ]);
        const product = graph.add('Mul', [y, graph.add('Add', [erf, graph.scalar(1)])]);
        return graph.add('Mul', [product, graph.scalar(0.5)]);
    }

    heads4(x, name, perm) {
        const { graph } = this;
        const split = graph.add('Reshape', [
            this.linear(x, name),
            graph.integers(0, 0, this.heads, this.hidden / this.heads),
        ]);
        return graph.add('Transpose', [split], { perm });
    }

    // Attention out of plain operators, as the exporter writes it.
    plainAttention(x, name) {
        const { graph } = this;
        const root = Math.fround(Math.sqrt(this.hidden / this.heads));
        const q = this.heads4(x, `${name}.query`, [0, 2, 1, 3]);
        const k = this.heads4(x, `${name}.key`, [0, 2, 3, 1]);
        const v = this.heads4(x, `${name}.value`, [0, 2, 1, 3]);
        let scores = graph.add('Div', [graph.add('MatMul', [q, k]), graph.scalar(root)]);
        if (this.masked) scores = graph.add('Add', [scores, this.bias]);
        const context = graph.add('MatMul', [graph.add('Softmax', [scores], { axis: 3 }), v]);
        return graph.add('Reshape', [
            graph.add('Transpose', [context], { perm: [0, 2, 1, 3] }),
            graph.integers(0, 0, this.hidden),
        ]);
    }

    fusedAttention(x, name) {
        const parts = ['query', 'key', 'value'];
        const { hidden, graph } = this;
        const bias = new Float32Array(3 * hidden);
        parts.forEach((part, i) =>
            bias.set(this.weights.tensor(`${name}.${part}.bias`).data, i * hidden),
        );
        const biasName = graph.constant(`${name}.qkv.bias`, pb.FLOAT, [3 * hidden], bias);
        const attributes = { num_heads: this.heads, mask_filter_value: { float: MASKED } };
        if (this.kind === 'mha')
            return graph.fused(
                'MultiHeadAttention',
                [
                    ...parts.map((part) => this.product(x, `${name}.${part}`)),
                    biasName,
                    ...(this.masked ? [this.lengths] : []),
                ],
                attributes,
            );
        const joined = new Float32Array(3 * hidden * hidden); // [3·hidden][hidden], then transposed
        parts.forEach((part, i) =>
            joined.set(this.weights.tensor(`${name}.${part}.weight`).data, i * hidden * hidden),
        );
        const weight = graph.constant(
            `${name}.qkv.weight.T`,
            pb.FLOAT,
            [hidden, 3 * hidden],
            transpose(joined, 3 * hidden, hidden),
        );
        return graph.fused(
            'Attention',
            [x, weight, biasName, ...(this.masked ? [this.lengths] : [])],
            attributes,
        );
    }

    embeddings() {
        const { graph } = this;
        const length = graph.add(
            'Unsqueeze',
            [graph.add('Gather', [graph.add('Shape', ['input_ids']), graph.index(1)], { axis: 0 })],
            { axes: [0] },
        );
        const positions = this.config.max_position_embeddings;
        const ids = graph.constant(
            'position_ids',
            pb.INT64,
            [1, positions],
            BigInt64Array.from({ length: positions }, (_, i) => BigInt(i)),
        );
        const slice = graph.add('Slice', [
            ids,
            graph.integers(0),
            length,
            graph.integers(1),
            graph.integers(1),
        ]);
        const words = graph.add(
            'Gather',
            [this.weight('embeddings.word_embeddings.weight'), 'input_ids'],
            { axis: 0 },
        );
        const types = graph.add(
            'Gather',
            [this.weight('embeddings.token_type_embeddings.weight'), 'token_type_ids'],
            { axis: 0 },
        );
        const places = graph.add(
            'Gather',
            [this.weight('embeddings.position_embeddings.weight'), slice],
            { axis: 0 },
        );
        return this.norm(
            graph.add('Add', [graph.add('Add', [words, types]), places]),
            'embeddings.LayerNorm',
        );
    }

    mask() {
        const { graph } = this;
        if (this.explicit) {
            // right-padded: the number of real tokens in each sequence
            const mask = graph.add('Cast', ['attention_mask'], { to: pb.INT32 });
            this.lengths = graph.add('ReduceSum', [mask], { axes: [1], keepdims: 0 });
            return;
        }
        const wide = graph.add(
            'Unsqueeze',
            [graph.add('Unsqueeze', ['attention_mask'], { axes: [1] })],
            { axes: [2] },
        );
        const hidden = graph.add('Sub', [
            graph.scalar(1),
            graph.add('Cast', [wide], { to: pb.FLOAT }),
        ]);
        this.bias = graph.add('Mul', [hidden, graph.scalar(MASKED)]);
    }

    build() {
        const { graph } = this;
        const inputs = ['input_ids', 'token_type_ids', ...(this.masked ? ['attention_mask'] : [])];
        graph.inputs = inputs.map((name) => pb.valueInfo(name, pb.INT64, ['batch', 'sequence']));
        graph.outputs = [
            pb.valueInfo('last_hidden_state', pb.FLOAT, ['batch', 'sequence', this.hidden]),
        ];
        if (this.masked) this.mask();
        let x = this.embeddings();
        for (let i = 0; i < this.config.num_hidden_layers; i++) {
            const layer = `encoder.layer.${i}`;
            const context = this.explicit
                ? this.fusedAttention(x, `${layer}.attention.self`)
                : this.plainAttention(x, `${layer}.attention.self`);
            const attended = this.outputBlock(context, x, `${layer}.attention.output`);
            x = this.outputBlock(
                this.intermediate(attended, `${layer}.intermediate.dense`),
                attended,
                `${layer}.output`,
            );
        }
        graph.nodes[graph.nodes.length - 1].outputs = ['last_hidden_state'];
        return pb.model(graph, this.explicit ? { '': OPSET, [MICROSOFT]: 1 } : { '': OPSET });
    }
}

function main([weightsPath, configPath, out, ...names]) {
    if (!out) {
        console.error('usage: node bert_onnx.js MODEL.safetensors CONFIG.json OUT_DIR [VARIANT…]');
        process.exit(2);
    }
    const weights = new Safetensors(weightsPath);
    const config = JSON.parse(fs.readFileSync(configPath, 'utf8'));
    for (const variant of names.length ? names : VARIANTS) {
        if (!VARIANTS.includes(variant))
            throw new Error(`${variant}: one of ${VARIANTS.join(', ')}`);
        pb.write(path.join(out, `${variant}.onnx`), new Bert(weights, config, variant).build());
    }
}

if (require.main === module) main(process.argv.slice(2));
module.exports = { VARIANTS };
