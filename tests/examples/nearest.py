#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Semantic search: prints the sentences on standard input that are nearest to a query, best first.

    nearest.py MODEL QUERY [COUNT] < sentences

Needs NumPy, and sw.py in PYTHONPATH unless python3-sw is installed.
"""
import sys

import sw


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit("Usage: nearest.py MODEL QUERY [COUNT]")
    name, query = sys.argv[1:3]
    count = int(sys.argv[3]) if len(sys.argv) == 4 else 3
    sentences = [line.rstrip("\n") for line in sys.stdin if line.strip()]
    try:
        with sw.Client() as client, client.encoder(name) as encoder:
            corpus = encoder.embed(sentences, normalize=True)
            scores = corpus @ encoder.embed(query, normalize=True)
    except sw.Error as error:
        sys.exit(f"nearest.py: {error}")
    for number in scores.argsort()[::-1][:count]:
        print(f"{scores[number]:.4f} {sentences[number]}")


if __name__ == "__main__":
    main()
