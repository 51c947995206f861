# SPDX-License-Identifier: MIT
"""Runs BERT in PyTorch over the line protocol of ort.js: the third column of the table.

  python3 torch_runner.py MODEL.safetensors CONFIG.json --threads N

Eager float32 in inference mode, weights as Hugging Face keeps them. Debian's PyTorch takes its matrix products from
whatever BLAS the dynamic linker finds; run.sh puts OpenBLAS in front. Batches are padded, with a mask where lengths
differ.
"""
import argparse
import json
import struct
import sys
import time

import torch
import torch.nn.functional as F

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def load(path):
    with open(path, "rb") as file:
        data = bytearray(file.read())
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(bytes(data[8 : 8 + size]))
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        raw = bytearray(data[8 + size + begin : 8 + size + end])  # aligned, and its own
        tensor = torch.frombuffer(raw, dtype=DTYPES[entry["dtype"]]).reshape(entry["shape"])
        tensors[name.removeprefix("bert.")] = tensor.float().contiguous()
    return tensors


class Bert:
    def __init__(self, weights, config):
        self.w, self.config = weights, config
        self.heads = config["num_attention_heads"]

    def linear(self, x, name):
        return F.linear(x, self.w[name + ".weight"], self.w[name + ".bias"])

    def norm(self, x, name):
        weight = self.w[name + ".weight"]
        return F.layer_norm(x, weight.shape, weight, self.w[name + ".bias"], self.config["layer_norm_eps"])

    def attention(self, x, name, bias):
        batch, length, hidden = x.shape
        q, k, v = (
            self.linear(x, f"{name}.{part}").view(batch, length, self.heads, -1).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        scores = q @ k.transpose(2, 3) * (hidden // self.heads) ** -0.5
        if bias is not None:
            scores = scores + bias
        return (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, hidden)

    def forward(self, ids, mask):
        length = ids.shape[1]
        words = F.embedding(ids, self.w["embeddings.word_embeddings.weight"])
        x = words + self.w["embeddings.position_embeddings.weight"][:length]
        x = self.norm(x + self.w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        bias = None if mask is None else (1.0 - mask)[:, None, None, :] * -10000.0
        for i in range(self.config["num_hidden_layers"]):
            layer = f"encoder.layer.{i}"
            y = self.attention(x, f"{layer}.attention.self", bias)
            y = self.linear(y, f"{layer}.attention.output.dense")
            x = self.norm(x + y, f"{layer}.attention.output.LayerNorm")
            y = F.gelu(self.linear(x, f"{layer}.intermediate.dense"))
            x = self.norm(x + self.linear(y, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
        return x


class Runner:
    def __init__(self, bert):
        self.bert = bert

    def batch(self, words):
        lengths = [int(word) for word in words]
        width = max(lengths)
        ids = torch.zeros(len(lengths), width, dtype=torch.int64)
        mask = torch.zeros(len(lengths), width)
        for row, length in enumerate(lengths):
            ids[row, :length] = 1000 + (torch.arange(length) * 7919 + row * 131) % 25000
            mask[row, :length] = 1
        self.ids, self.mask = ids, None if min(lengths) == width else mask
        return {"sequences": len(lengths), "tokens": sum(lengths)}

    def run(self, words):
        ns, cpu = [], []
        for _ in range(int(words[0])):
            start, began = time.perf_counter_ns(), time.process_time_ns()
            self.bert.forward(self.ids, self.mask)
            ns.append(time.perf_counter_ns() - start)
            cpu.append(time.process_time_ns() - began)
        return {"ns": ns, "cpu_ns": cpu}

    def forward(self, words):
        ids = torch.tensor([[int(word) for word in words]])
        return {"last_hidden_state": self.bert.forward(ids, None)[0].tolist()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("config")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    start = time.perf_counter_ns()
    with open(args.config) as file:
        config = json.load(file)
    runner = Runner(Bert(load(args.model), config))
    about = {"ready": True, "engine": f"torch {torch.__version__}", "threads": args.threads}
    print(json.dumps({**about, "load_ms": (time.perf_counter_ns() - start) / 1e6}), flush=True)
    with torch.inference_mode():
        for line in sys.stdin:
            command, *words = line.split() or [""]
            if command == "quit":
                break
            try:
                if command not in ("batch", "run", "forward"):
                    raise ValueError(f"unknown request: {command}")
                answer = getattr(runner, command)(words)
            except (ValueError, RuntimeError, IndexError) as error:
                answer = {"error": str(error)}
            print(json.dumps(answer), flush=True)


main()
