#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compare the binary interface of libsw with its record, libsw/libsw.abi.

    abi.py SOURCE_DIR CC [--record [--break]]

The record lists what a program compiled against include/sw relies on: each function with its types and its
node in libsw.map, the size and members of each public struct, and each constant. Any difference fails;
--record writes the current state. By the rules in libsw.map some changes break existing programs; --record
refuses those unless --break is given.

Offsets are those of 64-bit machines; on others the comparison is skipped.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

RECORD = "libsw/libsw.abi"
HEADING = """\
# The binary interface of libsw on 64-bit machines, as tests/tools/abi.py reads it from include/sw and libsw.map.
# Never edited by hand: python3 tests/tools/abi.py . cc --record
# function: node, type; typedef: type; struct: size, alignment; member: offset, size, type; constant: value
"""


def spaced(text):
    """C text in one spelling: single spaces, none inside brackets, pointers to the right."""
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"\s*\*\s*", " *", text)
    text = re.sub(r"\* (?=\*)", "*", text)
    return re.sub(r"\*(?=const\b)", "* ", text).replace("( ", "(").replace(" )", ")")


def split(text, at):
    """text cut at a character, where that is not inside brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == at and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def nameless(declarator):
    """(the name that a declaration gives, its type)."""
    pointer = re.search(r"\(\s*\*\s*(\w+)\s*\)", declarator)
    if pointer:  # of a function; what that takes has names of its own
        before, after = declarator[:pointer.start()], declarator[pointer.end():]
        takes = ", ".join(nameless(one)[1] for one in split(after.strip()[1:-1], ","))
        return pointer.group(1), spaced(f"{before} (*)({takes})")
    named = re.fullmatch(r"(.*[\s*])(\w+)\s*((?:\[[^]]*\])*)", declarator.strip(), flags=re.S)
    if not named:
        return "", spaced(declarator)  # (void)
    return named.group(2), spaced(named.group(1) + named.group(3))


class Interface:
    """What the headers say, as a list of (key, C expressions whose values belong to it, text)."""

    def __init__(self, source):
        self.entries = []
        nodes = self.nodes(source / "libsw/libsw.map")
        for header in sorted((source / "include/sw").glob("*.h")):
            text = re.sub(r"/\*.*?\*/", " ", header.read_text(), flags=re.S)
            self.macros(text)
            text = re.sub(r"^[ \t]*#(?:.*\\\n)*.*$", "", text, flags=re.M)
            self.typedefs(text)
            self.enums(text)
            self.structs(text)
            self.functions(text, nodes)

    @staticmethod
    def nodes(path):
        """The version node of each function."""
        text = re.sub(r"#.*", "", path.read_text())
        return {name: node for node, body in re.findall(r"^(\w+) \{(.*?)^\}", text, flags=re.M | re.S)
                for name in re.findall(r"\b(sw_\w+);", body)}

    def add(self, key, expressions, text):
        self.entries.append((key, expressions, text))

    def macros(self, text):
        for name in re.findall(r"^#define (SW_\w+) +[^\s].*$", text, flags=re.M):
            if not name.startswith("SW_VERSION_") and name != "SW_API":
                self.add(f"constant {name}", [name], "")

    def typedefs(self, text):
        for declarator in re.findall(r"^typedef\b([^;{]*);", text, flags=re.M):
            name, kept = nameless(declarator)
            self.add(f"typedef {name}", [], kept)

    def enums(self, text):
        for body in re.findall(r"\benum \w+\s*\{(.*?)\}", text, flags=re.S):
            for constant in split(body, ","):
                name = constant.split("=")[0].strip()
                self.add(f"constant {name}", [name], "")

    def structs(self, text):
        for name, body in re.findall(r"^struct (\w+)\s*\{(.*?)^\};", text, flags=re.M | re.S):
            if "{" in body:
                sys.exit(f"abi: struct {name} holds a nested definition, which this script cannot read")
            kind = f"struct {name}"
            self.add(kind, [f"sizeof({kind})", f"_Alignof({kind})"], "")
            for statement in split(body, ";"):
                first, *others = split(statement, ",")
                base = re.match(r"[\w\s]*(?=[\s*]+\w+\s*(?:\[|$))", first)
                for declarator in [first, *(f"{base.group(0)} {other}" for other in others)]:
                    member, kept = nameless(declarator)
                    self.add(f"member {name}.{member}",
                             [f"offsetof({kind}, {member})", f"sizeof((({kind} *)0)->{member})"], kept)

    def functions(self, text, nodes):
        for returns, name, takes in re.findall(r"^SW_API\b([^;{]*?)\b(sw_\w+)\s*\((.*?)\)\s*;", text,
                                               flags=re.M | re.S):
            types = ", ".join(nameless(one)[1] for one in split(takes, ","))
            self.add(f"function {name}", [], f"{nodes.get(name, '?')} {spaced(returns)} ({types})")

    def measured(self, source, compiler):
        """{key: (numbers, text)}, the numbers by compiling and running a program that prints them."""
        lines = [f'printf("%lld\\n", (long long)({expression}));'
                 for _, expressions, _ in self.entries for expression in expressions]
        program = ("#include <stdio.h>\n#include <sw/sw.h>\nint main(void)\n{\n"
                   'printf("%zu\\n", sizeof(void *));\n' + "\n".join(lines) + "\nreturn 0;\n}\n")
        with tempfile.TemporaryDirectory() as place:
            path = f"{place}/measure"
            subprocess.run([compiler, "-std=c11", f"-I{source}/include", "-x", "c", "-o", path, "-"],
                           input=program, text=True, check=True)
            output = subprocess.run([path], check=True, capture_output=True, text=True).stdout
        pointer, *numbers = [int(line) for line in output.split()]
        if pointer != 8:
            print("abi: skipped: pointers do not have 64 bits here")
            sys.exit(77)
        found = {}
        for key, expressions, text in self.entries:
            if key in found:
                sys.exit(f"abi: {key} is declared twice")
            found[key] = (tuple(numbers[:len(expressions)]), text)
            del numbers[:len(expressions)]
        return found


def written(found):
    return HEADING + "".join(
        " ".join([key, *map(str, numbers), text]).rstrip() + "\n" for key, (numbers, text) in found.items())


def read(path):
    """The record, as Interface.measured gives the present."""
    counts = {"function": 0, "typedef": 0, "struct": 2, "member": 2, "constant": 1}
    recorded = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            kind, name, *rest = line.split(" ")
            count = counts[kind]
            recorded[f"{kind} {name}"] = (tuple(map(int, rest[:count])), " ".join(rest[count:]))
    return recorded


def compare(recorded, found):
    """(breaks, additions), in words."""
    breaks, additions = [], []
    for key, old in recorded.items():
        new = found.get(key)
        if new is None:
            breaks.append(f"{key} is gone")
        elif new != old:
            # a struct that says its own size may grow
            grew = (key.startswith("struct ") and new[0][0] > old[0][0] and new[0][1] == old[0][1] and
                    recorded.get(f"member {key[7:]}.size", ((1, 0), ""))[0][0] == 0)
            (additions if grew else breaks).append(f"{key} was {old}, is {new}")
    for key in found.keys() - recorded.keys():
        struct = f"struct {key[7:].split('.')[0]}" if key.startswith("member ") else None
        # in what was padding, a new member cannot be told from an old caller's garbage
        if struct in recorded and found[key][0][0] < recorded[struct][0][0]:
            breaks.append(f"{key} is new and does not lie behind the struct's old end")
        else:
            additions.append(f"{key} is new")
    return sorted(breaks), sorted(additions)


def main():
    source, compiler = pathlib.Path(sys.argv[1]), sys.argv[2]
    options = sys.argv[3:]
    interface = Interface(source)
    found = interface.measured(source, compiler)
    declared = sum(header.read_text().count("\nSW_API ") for header in (source / "include/sw").glob("*.h"))
    functions = sum(key.startswith("function ") for key in found)
    if functions != declared or functions < 40:
        sys.exit(f"abi: read {functions} of {declared} functions: the reading itself is broken")
    record = source / RECORD
    breaks, additions = compare(read(record) if record.exists() else {}, found)
    for line in breaks:
        print(f"abi: breaks existing programs: {line}", file=sys.stderr)
    for line in additions if record.exists() else []:
        print(f"abi: added: {line}", file=sys.stderr)
    if "--record" in options:
        if breaks and "--break" not in options:
            sys.exit("abi: not recorded: see the rules in libsw/libsw.map; before a first release, or with a new "
                     "SONAME, --break records it all the same")
        record.write_text(written(found))
    elif breaks or additions:
        sys.exit(f"abi: the interface is not what {RECORD} says. If that is meant: "
                 "python3 tests/tools/abi.py . cc --record")
    elif record.read_text() != written(found):
        sys.exit(f"abi: {RECORD} was edited by hand, or is in another order: record it again")
    print(f"abi: {functions} functions, {len(found)} entries")


if __name__ == "__main__":
    main()
