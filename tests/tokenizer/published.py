#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make tests/tokenizer/published-*: texts in many scripts, and the part of a published vocabulary they need.

    published.py DATA_DIR      the directory with the full vocabularies ($SW_TEST_DATA)

A vocabulary is cut down to the tokens that the texts use, and the ids are renumbered. That changes no
tokenization: WordPiece takes the longest token that matches, and a shorter list holds no longer one.
"""
import json
import pathlib
import sys

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SETS = {
    "uncased": ("models/bert-tiny/vocab.txt", "tokenization/bert-base-uncased.jsonl"),
    "cased": ("tokenization/bert-base-multilingual-cased-vocab.txt",
              "tokenization/bert-base-multilingual-cased.jsonl"),
}
# Lines where the program that made the files departs from Hugging Face's tokenizers; vectors.c says why.
CORRECTED = {
    ("uncased", 13): [101, 9960, 1104, 14540, 4817, 1096, 1096, 1173, 18199, 29733, 29735, 29736, 15297, 1173,
                      14608, 29733, 102],
    ("uncased", 20): [101, 100, 100, 100, 100, 100, 4012, 4502, 2102, 102],
    ("cased", 20): [101, 100, 100, 100, 100, 7398, 10212, 18115, 102],
}


def main(data):
    here = pathlib.Path(__file__).parent
    for name, (vocabulary, texts) in SETS.items():
        tokens = (data / vocabulary).read_bytes().decode().split("\n")
        lines = [json.loads(line) for line in (data / texts).read_bytes().splitlines()]
        for number, line in enumerate(lines, 1):
            line["ids"] = CORRECTED.get((name, number), line["ids"])
        used = {i for line in lines for i in line["ids"]} | {tokens.index(token) for token in SPECIAL}
        renumbered = {old: new for new, old in enumerate(sorted(used))}
        (here / f"published-{name}-vocab.txt").write_text("".join(tokens[i] + "\n" for i in sorted(used)))
        with open(here / f"published-{name}.jsonl", "w") as file:
            for number, line in enumerate(lines, 1):
                ids = [renumbered[i] for i in line["ids"]]
                file.write(json.dumps({"rule": f"line {number}", "text": line["text"], "ids": ids},
                                      ensure_ascii=False) + "\n")


main(pathlib.Path(sys.argv[1]))
