#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds the table of atomic accesses in libsw/core/lease.h and the code in lease.c together.

Every atomic access in lease.c carries a tag (SYNC[tag] in the comment before it); every tag is in the
table and every row of the table in the code; the memory order in the code is the table's; pairs name
rows that exist. Prints what is wrong and exits 1, else one line and 0.
"""
import re
import sys

ATOMIC = re.compile(r"\batomic_\w+\s*\(")
ORDER = re.compile(r"memory_order_(\w+)")
TAG = re.compile(r"SYNC\[([\w-]+)\]")


def rows(header):
    """tag -> (order, pairs) from the table's lines."""
    table = {}
    for line in header.splitlines():
        cells = [cell.strip() for cell in line.strip(" *").strip("|").split("|")]
        if len(cells) == 5 and re.fullmatch(r"[a-z-]+", cells[0]) and cells[0] != "tag" \
                and not set(cells[0]) <= {"-"}:
            table[cells[0]] = (cells[2], re.split(r"\s*,\s*", cells[3]))
    return table


def accesses(code):
    """(line number, tags in force, memory orders) of each atomic access; a comment's tags hold until
    the next comment with tags or the end of the function."""
    tags, comment_open, collected = [], False, []
    text = code.splitlines()
    for number, line in enumerate(text, 1):
        if line == "}":
            tags = []
        found = TAG.findall(line)
        if found:
            starts_comment = "/*" in line
            tags = found if starts_comment or not comment_open else tags + found
        comment_open = ("/*" in line or comment_open) and "*/" not in line
        for match in ATOMIC.finditer(line):
            call = line[match.start():]
            extra = number
            while call.count("(") > call.count(")"):
                call += " " + text[extra].strip()
                extra += 1
            collected.append((number, list(tags), ORDER.findall(call)))
    return collected


def main():
    header_path, code_path = sys.argv[1:3]
    with open(header_path, encoding="utf-8") as file:
        table = rows(file.read())
    with open(code_path, encoding="utf-8") as file:
        code = file.read()
    wrong = []
    if len(table) < 10:
        wrong.append(f"{header_path}: the table of tags was not found")
    for tag, (_, pairs) in table.items():
        for other in pairs:
            if other not in table:
                wrong.append(f"{header_path}: {tag} pairs with {other}, which has no row")
    used = set(TAG.findall(code))
    for tag in sorted(used - set(table)):
        wrong.append(f"{code_path}: SYNC[{tag}] has no row in the table")
    for tag in sorted(set(table) - used):
        wrong.append(f"{header_path}: {tag} is nowhere in {code_path}")
    for number, tags, orders in accesses(code):
        where = f"{code_path}:{number}"
        if not tags:
            wrong.append(f"{where}: an atomic access without a tag")
        elif not orders:
            wrong.append(f"{where}: an atomic access without an explicit memory order")
        elif not any(table.get(tag, ("",))[0] == orders[0] for tag in tags):
            wrong.append(f"{where}: memory order {orders[0]} is not that of {', '.join(tags)}")
    for line in wrong:
        print(line)
    if not wrong:
        print(f"{len(table)} tags, {len(accesses(code))} accesses")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
