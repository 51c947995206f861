#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Make tests/goldens/bert.safetensors: what PyTorch computes for small synthetic BERT models.

Run it only when a case changes:  apt-get install python3-torch && python3 tests/goldens/make.py
The file holds no weights: they come from the generator of swchunk synth, which
libsw/programs/chunk/source/synth_random.h describes and this script repeats.

Each case has the tensors CASE.lengths, CASE.ids, CASE.types, CASE.mask, CASE.rows (the token rows that are
kept), and for each stored type T in f32, f16, bf16: CASE.T.hidden [rows, hidden] and, if the model has a
pooler, CASE.T.pooled [sequences, hidden]. A case with heads also has CASE.fill_tokens and, per type,
CASE.T.logits [sequences, labels] of its classifier and CASE.T.fill [fill_tokens, vocab_size] of its
masked-language-model head, whose decoder is tied to the word table. f16 and bf16: weight matrices and
tables are rounded to that type; everything else, and all arithmetic, is float32. CASE.config, in the
metadata, is the model's config.json.
"""
import json
import os
import struct

import numpy as np
import torch

SEED = 11

BASE = {"model_type": "bert", "vocab_size": 211, "max_position_embeddings": 64, "type_vocab_size": 2,
        "layer_norm_eps": 1e-12, "hidden_act": "gelu"}
CASES = {
    "plain": (dict(BASE, num_hidden_layers=2, hidden_size=64, num_attention_heads=2,
                   intermediate_size=128), [5, 1, 12], None),
    "odd": (dict(BASE, num_hidden_layers=3, hidden_size=120, num_attention_heads=12,
                 intermediate_size=200, hidden_act="gelu_new", layer_norm_eps=1e-5,
                 type_vocab_size=3), [7, 33], None),
    "relu": (dict(BASE, num_hidden_layers=2, hidden_size=48, num_attention_heads=4,
                  intermediate_size=77, hidden_act="relu", layer_norm_eps=1e-2), [64, 3], None),
    # long sums, many layers; only some rows are kept
    "deep": (dict(BASE, num_hidden_layers=12, hidden_size=192, num_attention_heads=3,
                  intermediate_size=3072), [40, 17], [0, 3, 39, 40, 56]),
}
NO_POOLER = {"odd"}
LABELS = {"plain": 3}  # cases with heads: how many labels the classifier has


def fnv1a64(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = ((value ^ byte) * 0x100000001B3) & (2**64 - 1)
    return value


def exponent(name, k):
    if name.endswith("LayerNorm.weight"):
        return 3
    if name.endswith("word_embeddings.weight"):
        return 4
    if k == 0 or name.endswith(("position_embeddings.weight", "token_type_embeddings.weight")):
        return 5
    e = 0
    while 3 * 4**e < k:
        e += 1
    if name.endswith(("attention.self.query.weight", "attention.self.key.weight")):
        return max(e - 1, 0)
    return e + 1 if name.endswith("attention.output.dense.weight") else e


def values(name, *shape):
    count = int(np.prod(shape))
    k = shape[1] if len(shape) == 2 else 0
    with np.errstate(over="ignore"):
        z = np.uint64(SEED ^ fnv1a64(name)) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(
            0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    u = (z >> np.uint64(40)).astype(np.int64) - 2**23
    x = (u.astype(np.float64) * 2.0 ** -(23 + exponent(name, k))).astype(np.float32)
    if name.endswith("LayerNorm.weight"):
        x = np.float32(1) + x
    return torch.from_numpy(x.reshape(shape))


class Model:
    def __init__(self, config, stored):
        self.c, self.stored = config, stored

    def tensor(self, name, *shape):
        x = values(name, *shape)
        return x.to(self.stored).float() if len(shape) == 2 else x

    def linear(self, x, name, n, k):
        return torch.nn.functional.linear(x, self.tensor(name + ".weight", n, k),
                                          self.tensor(name + ".bias", n))

    def norm(self, x, name):
        h = self.c["hidden_size"]
        return torch.nn.functional.layer_norm(x, (h,), self.tensor(name + ".weight", h),
                                              self.tensor(name + ".bias", h), self.c["layer_norm_eps"])

    def activate(self, x):
        act = self.c["hidden_act"]
        if act == "gelu_new":
            return 0.5 * x * (1.0 + torch.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))
        return torch.nn.functional.gelu(x) if act == "gelu" else torch.relu(x)

    def attention(self, x, mask, prefix):
        h, heads = self.c["hidden_size"], self.c["num_attention_heads"]
        q, k, v = (self.linear(x, f"{prefix}.self.{part}", h, h).view(-1, heads, h // heads)
                   .transpose(0, 1) for part in ("query", "key", "value"))
        scores = q @ k.transpose(1, 2) / np.sqrt(h // heads)
        scores = scores.masked_fill(~mask, torch.finfo(torch.float32).min)
        return (torch.softmax(scores, -1) @ v).transpose(0, 1).reshape(-1, h)

    def forward(self, ids, types, mask):
        c = self.c
        h, inner = c["hidden_size"], c["intermediate_size"]
        x = self.tensor("embeddings.word_embeddings.weight", c["vocab_size"], h)[ids]
        x = x + self.tensor("embeddings.token_type_embeddings.weight", c["type_vocab_size"], h)[types]
        x = x + self.tensor("embeddings.position_embeddings.weight", c["max_position_embeddings"],
                            h)[:len(ids)]
        x = self.norm(x, "embeddings.LayerNorm")
        for i in range(c["num_hidden_layers"]):
            layer = f"encoder.layer.{i}"
            context = self.attention(x, mask, f"{layer}.attention")
            x = self.norm(self.linear(context, f"{layer}.attention.output.dense", h, h) + x,
                          f"{layer}.attention.output.LayerNorm")
            y = self.activate(self.linear(x, f"{layer}.intermediate.dense", inner, h))
            x = self.norm(self.linear(y, f"{layer}.output.dense", h, inner) + x,
                          f"{layer}.output.LayerNorm")
        return x


    def fill(self, x):
        prefix, h = "cls.predictions", self.c["hidden_size"]
        x = self.activate(self.linear(x, f"{prefix}.transform.dense", h, h))
        x = self.norm(x, f"{prefix}.transform.LayerNorm")
        words = self.tensor("embeddings.word_embeddings.weight", self.c["vocab_size"], h)
        return torch.nn.functional.linear(x, words, self.tensor(f"{prefix}.bias", self.c["vocab_size"]))


def save(path, tensors, metadata):
    header, data = {"__metadata__": metadata}, b""
    for name, array in tensors.items():
        kind = {"float32": "F32", "int64": "I64"}[str(array.dtype)]
        raw = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": kind, "shape": list(array.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % 64)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    tensors, metadata = {}, {"made_with": "torch " + torch.__version__, "seed": str(SEED)}
    for number, (case, (config, lengths, rows)) in enumerate(CASES.items()):
        random = np.random.RandomState(number)
        total = sum(lengths)
        ids = random.randint(0, config["vocab_size"], total)
        types = random.randint(0, config["type_vocab_size"], total)
        mask = random.rand(total) < 0.8
        mask[np.cumsum([0] + lengths[:-1])] = True
        rows = list(range(total)) if rows is None else rows
        ends = np.cumsum(lengths) - 1
        metadata[case + ".config"] = json.dumps(config)
        metadata[case + ".pooler"] = "0" if case in NO_POOLER else "1"
        for name, value in (("lengths", lengths), ("ids", ids), ("types", types), ("mask", mask),
                            ("rows", rows)):
            tensors[f"{case}.{name}"] = np.array(value, dtype=np.int64)
        if case in LABELS:
            tensors[f"{case}.fill_tokens"] = ends.astype(np.int64)
        for stored, dtype in (("f32", torch.float32), ("f16", torch.float16),
                              ("bf16", torch.bfloat16)):
            model, parts, start = Model(config, dtype), [], 0
            with torch.no_grad():
                for length in lengths:
                    part = slice(start, start + length)
                    parts.append(model.forward(torch.from_numpy(ids[part]),
                                               torch.from_numpy(types[part]),
                                               torch.from_numpy(mask[part])))
                    start += length
                h = config["hidden_size"]
                if case not in NO_POOLER:
                    first = torch.stack([part[0] for part in parts])
                    pooled = torch.tanh(model.linear(first, "pooler.dense", h, h))
                    tensors[f"{case}.{stored}.pooled"] = pooled.numpy()
                if case in LABELS:
                    logits = model.linear(pooled, "classifier", LABELS[case], h)
                    tensors[f"{case}.{stored}.logits"] = logits.numpy()
                    tensors[f"{case}.{stored}.fill"] = model.fill(torch.cat(parts)[ends]).numpy()
                tensors[f"{case}.{stored}.hidden"] = torch.cat(parts)[rows].numpy()
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bert.safetensors")
    save(path, tensors, metadata)
    print(path, os.path.getsize(path), "bytes")


main()
