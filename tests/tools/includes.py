#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Check which folder includes which: the "may include" table of the tree, and include circles.

    includes.py [ROOT]             check the table and the circles; print each violation
    includes.py --circles [ROOT]   print the circles only, of a tree with any layout
    includes.py --lines [ROOT]     print the lines of C, and of everything else, per folder

A module is a path without its extension: broker/cache/evict.c and evict.h are one. A module includes
another when one of its files includes the other's header. A circle is a set of modules that include each
other, directly or through others. No circle may cross folders or have more than three modules.
"""
import collections
import pathlib
import re
import subprocess
import sys

# What each folder may include, besides itself. "sw/*" is every public header; a path with a file name
# permits that header only. Nothing else may be included.
CORE = "libsw/core include/sw/base.h"
MAY_INCLUDE = {
    "include/sw": "",
    "libsw/core": "include/sw/base.h include/sw/client.h",
    "libsw/cli": CORE,
    "libsw/client": CORE + " include/sw/client.h",
    "libsw/kernels": CORE,
    "libsw/tokenizer": CORE + " include/sw/tokenizer.h",
    "libsw/executor": CORE + " include/sw/executor.h",
    "libsw/encoder": CORE + " include/sw libsw/kernels libsw/tokenizer libsw/executor",
    "libsw/programs/bert": CORE + " include/sw libsw/cli libsw/tokenizer",
    "broker/stats": CORE,
    "broker/base": CORE + " broker/stats",
    "broker/handover": CORE + " broker/stats broker/base",
    "broker/memory": CORE + " broker/stats",
    "broker/policy": CORE + " broker/stats broker/memory",
    "broker/loader": CORE + " broker/stats",
    "broker/cache": CORE + " broker/stats broker/base broker/handover broker/memory broker/policy"
                    " broker/loader",
    "broker/catalog": CORE + " broker/stats broker/base broker/handover broker/cache",
    "broker/remote": CORE + " broker/stats broker/base broker/loader broker/cache broker/catalog",
    "broker/settings": CORE + " libsw/cli broker/stats broker/base broker/policy broker/loader",
    "broker/session": CORE + " broker/stats broker/base broker/handover broker/cache broker/catalog"
                      " broker/settings",
    "broker/ctl/lib": CORE + " broker/stats libsw/cli",
    "broker/ctl/doctor": CORE + " broker/stats libsw/cli broker/ctl/lib broker/memory/cgroup.h",
    "broker/ctl/watch": CORE + " broker/stats libsw/cli broker/ctl/lib broker/memory/cgroup.h",
    "broker/ctl": CORE + " broker/stats libsw/cli broker/ctl/lib broker/ctl/doctor broker/ctl/watch",
    "broker/exporter": CORE + " broker/stats libsw/cli broker/ctl/lib",
    "bench/lib": CORE + " include/sw libsw/cli libsw/kernels broker/ctl/lib",
    "bench/replay": CORE + " broker/cache broker/memory broker/policy broker/stats",
    "bench/commands": CORE + " include/sw libsw/cli libsw/kernels libsw/encoder bench/lib bench/replay"
                      " broker/cache broker/loader",
    "bench": CORE + " include/sw libsw/cli bench/lib bench/commands",
}
MAY_INCLUDE["broker/remote/redis"] = MAY_INCLUDE["broker/remote"] + " broker/remote"
MAY_INCLUDE["broker/operator"] = MAY_INCLUDE["broker/session"] + (
    " broker/memory broker/session broker/remote broker/remote/redis")
MAY_INCLUDE["broker/daemon"] = MAY_INCLUDE["broker/operator"] + (
    " broker/policy broker/loader broker/operator libsw/cli")
# The importers: readers of checkpoints, and the writer of chunk directories. Of the encoder they include
# the reader of descriptions only.
CHUNK = CORE + " include/sw libsw/tokenizer libsw/encoder/description.h libsw/encoder/model_tokenizer.h" \
               " libsw/programs/chunk/files.h libsw/programs/chunk/progress.h"
MAY_INCLUDE["libsw/programs/chunk"] = CHUNK + (
    " libsw/cli libsw/programs/chunk/source libsw/programs/chunk/family libsw/programs/chunk/write")
MAY_INCLUDE["libsw/programs/chunk/source"] = CHUNK + (
    " libsw/programs/chunk/chunk_directory.h libsw/programs/chunk/write/plan.h")
MAY_INCLUDE["libsw/programs/chunk/family"] = CHUNK + " libsw/programs/chunk/source"
MAY_INCLUDE["libsw/programs/chunk/write"] = CHUNK + " libsw/programs/chunk/source/source.h"

# Libraries that one folder hides from the others, by the beginning of their headers' names.
HIDDEN = {
    "blis.h": ["libsw/kernels", "bench/lib"],
    "hiredis/": ["broker/remote/redis"],
    "liburing": ["broker/loader", "bench/lib"],
    "microhttpd": ["broker/exporter"],
    "openssl/": ["broker/remote/redis"],
    "systemd/": ["broker/handover"],
    "utf8proc": ["libsw/tokenizer", "broker/ctl/lib"],
    "zip.h": ["libsw/programs/chunk/source"],
}

TOPS = ["include", "libsw", "broker", "bench", "tests"]
LARGEST_CIRCLE = 3


def read(root):
    """Yield (file, header, system) for each #include; header is a path of the tree where there is one."""
    files = {str(path.relative_to(root)) for top in TOPS for path in (root / top).rglob("*.[ch]")}
    for name in sorted(files):
        text = (root / name).read_text()
        for kind, header in re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', text, flags=re.M):
            bases = [*TOPS] if kind == "<" else [str(pathlib.Path(name).parent), *TOPS]
            for base in bases:
                path = str(pathlib.PurePath(base, header))
                if path in files:
                    yield name, path, False
                    break
            else:
                yield name, header, kind == "<"


def folder(name):
    return str(pathlib.PurePath(name).parent)


def in_tests(name):
    return name.startswith("tests/")


def allowed(name, header):
    """Whether the table lets the file include the header, both paths of the tree."""
    if in_tests(name) or folder(header) == folder(name):
        return True
    permitted = MAY_INCLUDE.get(folder(name), "").split()
    return folder(header) in permitted or header in permitted


def check_table(includes):
    for name, header, system in includes:
        if system:
            for prefix, folders in HIDDEN.items():
                if header.startswith(prefix) and folder(name) not in folders and not in_tests(name):
                    yield f"{name} includes <{header}>, which is for {' and '.join(folders)} only"
        elif "/" not in header:
            yield f'{name} includes "{header}", which is not in the tree'
        elif folder(name) not in MAY_INCLUDE and not in_tests(name):
            yield f"{folder(name)} has no line in the table of includes.py ({name})"
        elif not allowed(name, header):
            yield f"{name} may not include {header}"


def strongly_connected(graph):
    """Tarjan's algorithm: the components with more than one node, largest first."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            component = []
            while not component or component[-1] != node:
                component.append(stack.pop())
            if len(component) > 1:
                found.append(sorted(component))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return sorted(found, key=lambda component: (-len(component), component))


def circles(includes):
    graph = collections.defaultdict(set)
    for name, header, _ in includes:
        source, target = (str(pathlib.PurePath(path).with_suffix("")) for path in (name, header))
        if source != target and "/" in header and header.endswith(".h"):
            graph[source].add(target)
            graph[target] |= set()
    return strongly_connected(graph)


def faults_of_circles(found):
    for circle in found:
        if len({folder(module) for module in circle}) > 1:
            yield "an include circle crosses folders: " + " ".join(circle)
        elif len(circle) > LARGEST_CIRCLE:
            yield f"an include circle of {len(circle)} modules: " + " ".join(circle)


def print_lines(root):
    listed = subprocess.run(["git", "-C", str(root), "ls-files"], check=True, capture_output=True, text=True)
    lines = collections.defaultdict(lambda: [0, 0, 0])
    for name in listed.stdout.splitlines():
        data = (root / name).read_bytes()
        if b"\0" in data:
            continue
        parts = pathlib.PurePath(name).parts[:-1]
        for depth in range(min(len(parts), 3) + 1):
            count = lines["/".join(parts[:depth]) or "."]
            is_c = name.endswith((".c", ".h"))
            count[0] += is_c
            count[1 if is_c else 2] += data.count(b"\n")
    print(f"{'folder':<32} {'C files':>8} {'C lines':>8} {'other lines':>12}")
    for name, count in sorted(lines.items()):
        print(f"{name:<32} {count[0]:>8} {count[1]:>8} {count[2]:>12}")


def main(arguments):
    mode = arguments.pop(0) if arguments and arguments[0] in ("--circles", "--lines") else ""
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        sys.exit(__doc__)
    root = pathlib.Path(arguments[0]) if arguments else pathlib.Path(__file__).resolve().parents[2]
    if mode == "--lines":
        return print_lines(root)
    includes = list(read(root))
    if not includes:
        sys.exit(f"includes.py: no C files in {root}")
    found = circles(includes)
    if mode == "--circles":
        for circle in found:
            print(f"{len(circle)} modules in {len({folder(module) for module in circle})} folders:",
                  " ".join(circle))
        return print(len(found), "circles")
    table = {source: {entry for entry in permitted.split() if entry in MAY_INCLUDE}
             for source, permitted in MAY_INCLUDE.items()}
    faults = [*("the table itself has a circle: " + " ".join(circle) for circle in strongly_connected(table)),
              *sorted(set(check_table(includes))), *faults_of_circles(found)]
    if faults:
        sys.exit("\n".join([*faults, f"includes.py: {len(faults)} violations"]))
    print(f"{len(includes)} includes follow the table; {len(found)} circles, within folders")


main(sys.argv[1:])
