#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Test abi.py: make one change at a time to a copy of the public headers and the map, and check its verdict.

    abi_rules.py SOURCE_DIR CC
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile

ADDED, BREAKS = "added", "breaks"
# description, file, old text, new text, expected verdict
CHANGES = [
    ("a comment", "include/sw/client.h", "/* a session with the broker */", "/* one */", None),
    ("a parameter's name", "include/sw/encoder.h", "float *embeddings,\n",
     "float *vectors,\n", None),
    ("a new function", "include/sw/base.h", "SW_API const char *sw_version(void);",
     "SW_API const char *sw_version(void);\nSW_API int sw_more(int a);", ADDED),
    ("a function is gone", "include/sw/base.h", "SW_API const char *sw_version(void);", "", BREAKS),
    ("a parameter's type", "include/sw/base.h", "sw_strerror(int code)", "sw_strerror(long code)", BREAKS),
    ("a parameter loses its const", "include/sw/client.h", "const uint32_t *components, size_t count",
     "uint32_t *components, size_t count", BREAKS),
    ("a result's type", "include/sw/base.h", "SW_API size_t sw_dtype_size", "SW_API int sw_dtype_size", BREAKS),
    ("a function's node", "libsw/libsw.map", "    sw_version;\n", "", BREAKS),
    ("a number is given to another name", "include/sw/base.h", "SW_DTYPE_BF16 = 2", "SW_DTYPE_BF16 = 4",
     BREAKS),
    ("a new number", "include/sw/base.h", "SW_DTYPE_I64 = 3", "SW_DTYPE_I64 = 3, SW_DTYPE_I8 = 4", ADDED),
    ("a constant", "include/sw/client.h", "#define SW_RANK_MAX 4", "#define SW_RANK_MAX 5", BREAKS),
    ("a sized struct grows at its end", "include/sw/encoder.h",
     "nothing can be submitted */\n",
     "nothing can be submitted */\n    void (*done)(void *context, int result);\n", ADDED),
    ("a member in padding", "include/sw/client.h", "    int resident;", "    int fresh;\n    int resident;",
     BREAKS),
    ("a member in the padding at the end", "include/sw/encoder.h", "    int has_pooler;\n",
     "    int has_pooler;\n    int more;\n", BREAKS),
    ("a member in the middle", "include/sw/client.h", "    uint64_t hits;         /* leases",
     "    uint64_t more;\n    uint64_t hits;         /* leases", BREAKS),
    ("members change places", "include/sw/encoder.h", "uint32_t layers, hidden_size", "uint32_t hidden_size, layers",
     BREAKS),
    ("a struct without a size grows", "include/sw/tokenizer.h", "    void *scratch; ",
     "    void *scratch;\n    void *more; ", BREAKS),
]


def main():
    source, compiler = pathlib.Path(sys.argv[1]), sys.argv[2]
    faults = 0
    for what, name, old, new, expected in CHANGES:
        with tempfile.TemporaryDirectory() as place:
            copy = pathlib.Path(place)
            shutil.copytree(source / "include", copy / "include")
            (copy / "libsw").mkdir()
            for file in ("libsw.map", "libsw.abi"):
                shutil.copy(source / "libsw" / file, copy / "libsw" / file)
            text = (copy / name).read_text()
            if old not in text:
                sys.exit(f"abi_rules: {name} has no '{old}' any more: this test needs another example of {what}")
            (copy / name).write_text(text.replace(old, new, 1))
            command = [sys.executable, source / "tests/tools/abi.py", copy, compiler]
            if expected == ADDED and subprocess.run(command, capture_output=True).returncode == 0:
                print(f"{what}: abi.py does not notice it", file=sys.stderr)
                faults += 1
            run = subprocess.run([*command, "--record"], capture_output=True, text=True)
            if run.returncode == 77:
                print(run.stdout, end="")
                return 77
            found = (BREAKS if "abi: breaks" in run.stderr else ADDED if "abi: added" in run.stderr else
                     None if run.returncode == 0 else "a failure")
            recorded = (copy / "libsw/libsw.abi").read_text() != (source / "libsw/libsw.abi").read_text()
            if found != expected or recorded != (expected == ADDED):
                print(f"{what}: abi.py says {found}, not {expected}; recorded: {recorded}\n{run.stderr}",
                      file=sys.stderr)
                faults += 1
    print(f"{len(CHANGES)} changes: {faults} with a wrong verdict")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
