#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds what libsw/python/_sw.py declares to the headers: structs as the C compiler lays them out, the
arguments of functions, the values of constants.

    python/abi.py SOURCE_DIR BUILD_DIR CC
"""
import ctypes
import os
import pathlib
import re
import subprocess
import sys
import tempfile

SOURCE, BUILD = [pathlib.Path(word).resolve() for word in sys.argv[1:3]]
CC = sys.argv[3]
os.environ["SW_LIBRARY"] = str(BUILD / "libsw.so")
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # for children; nothing is to appear in the source
sys.dont_write_bytecode = True
sys.path.insert(0, str(SOURCE / "libsw/python"))
import _sw  # noqa: E402

faults = []


def layouts():
    """{struct: (size, {member: (offset, size)})} as CC sees it, of the members that Python lists."""
    lines = []
    for name, struct in _sw.STRUCTS.items():
        lines.append(f'printf("{name} . %zu 0\\n", sizeof(struct {name}));')
        for member, _ in struct._fields_:
            at = f"offsetof(struct {name}, {member}), sizeof(((struct {name} *)0)->{member})"
            lines.append(f'printf("{name} {member} %zu %zu\\n", {at});')
    program = "#include <stddef.h>\n#include <stdio.h>\n#include <sw/sw.h>\nint main(void)\n{\n" + \
              "\n".join(lines) + "\nreturn 0;\n}\n"
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([CC, f"-I{SOURCE}/include", "-x", "c", "-", "-o", f"{place}/layouts"], input=program,
                       text=True, check=True)
        output = subprocess.run([f"{place}/layouts"], capture_output=True, text=True, check=True).stdout
    found = {}
    for line in output.splitlines():
        name, member, first, second = line.split()
        if member == ".":
            found[name] = (int(first), {})
        else:
            found[name][1][member] = (int(first), int(second))
    return found


def members(header, name):
    """The members of a struct in the order of the header."""
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
    body = re.search(r"^struct %s \{(.*?)^\};" % name, text, flags=re.M | re.S).group(1)
    names = []
    for declaration in body.split(";"):
        for part in declaration.split(","):
            word = re.search(r"(\w+)(\[\w+\])?\s*$", part)
            if word:
                names.append(word.group(1))
    return names


def kind_of_ctype(ctype):
    if ctype is None:
        return "none"
    if ctype in (ctypes.c_void_p, ctypes.c_char_p) or issubclass(ctype, ctypes._Pointer):
        return "pointer"
    return f"{ctypes.sizeof(ctype)} bytes"


def kind_of_c(text):
    if "*" in text:
        return "pointer"
    words = text.split()
    if words == ["void"]:
        return "none"
    return "8 bytes" if words[-1] in ("size_t", "uint64_t") or "uint64_t" in words or "size_t" in words \
        else "4 bytes"


def functions(header):
    """{name: (result, [arguments])} as kinds."""
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
    found = {}
    for result, name, arguments in re.findall(r"^SW_API\b([^;{(]*?)\b(sw_\w+)\s*\(([^;]*)\);", text,
                                              flags=re.M):
        listed = [kind_of_c(argument) for argument in arguments.split(",")]
        found[name] = (kind_of_c(result + ("*" if result.rstrip().endswith("*") else "")),
                       [kind for kind in listed if kind != "none"])
    return found


header = "".join(path.read_text() for path in sorted((SOURCE / "include/sw").glob("*.h")))
for name, (size, offsets) in layouts().items():
    struct = _sw.STRUCTS[name]
    for member, _ in struct._fields_:
        field = getattr(struct, member)
        if (field.offset, field.size) != offsets[member]:
            faults.append(f"{name}.{member} is {field.size} bytes at {field.offset} in Python, "
                          f"{offsets[member][1]} at {offsets[member][0]} in C")
    listed, declared = [member for member, _ in struct._fields_], members(header, name)
    if listed != declared[:len(listed)]:
        faults.append(f"{name} has the members {listed} in Python, {declared} in C")
    # A sized struct of an older release is a beginning of the newer one; any other is the same or wrong.
    sized = issubclass(struct, _sw._Sized)
    if ctypes.sizeof(struct) != size if not sized or listed == declared else ctypes.sizeof(struct) > size:
        faults.append(f"{name} is {ctypes.sizeof(struct)} bytes in Python, {size} in C")
    if sized and listed[0] != "size":
        faults.append(f"{name} does not begin with its size")

declared = functions(header)
for name, (result, *arguments) in _sw.FUNCTIONS.items():
    if name not in declared:
        faults.append(f"{name} is not in the headers")
    elif (kind_of_ctype(result), [kind_of_ctype(argument) for argument in arguments]) != declared[name]:
        faults.append(f"{name} takes {[kind_of_ctype(a) for a in arguments]} and gives "
                      f"{kind_of_ctype(result)} in Python, {declared[name]} in C")

constants = dict(re.findall(r"\b(SW_\w+) = (-?\d+)", header))
for prefix, values in (("SW_", _sw.Code), ("SW_DTYPE_", _sw.Dtype), ("SW_LAYOUT_", _sw.Layout),
                       ("SW_POOLING_", _sw.Pooling), ("SW_NORMALIZE_", _sw.Normalize), ("SW_WORK_", _sw.Work)):
    for value in values:
        if constants.get(prefix + value.name) != str(value.value):
            faults.append(f"{prefix}{value.name} is {value.value} in Python, "
                          f"{constants.get(prefix + value.name)} in C")

codes = re.findall(r"^\s*SW_(E\w+) = -\d+", header, flags=re.M)
for missing in set(codes) - set(_sw.Code.__members__):
    faults.append(f"SW_{missing} is not known in Python")

if len(codes) < 15 or len(_sw.STRUCTS) < 10 or len(declared) < 40 or len(constants) < 25:
    faults.append("hardly anything was found: the search itself is broken")
for fault in faults:
    print(fault, file=sys.stderr)
print(f"{len(_sw.STRUCTS)} structs, {len(_sw.FUNCTIONS)} functions: {'agree' if not faults else 'differ'}")
sys.exit(bool(faults))
