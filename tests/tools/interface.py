#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Check that include/sw, libsw.map, libsw.so, libsw.a and the manual list the same public interface.

    interface.py SOURCE_DIR BUILD_DIR CC CXX

Also compiles each public header alone, as C99 and as C++17, and each example of the manual that begins with
an #include. Warnings are errors.
"""
import pathlib
import re
import subprocess
import sys

STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wundef", "-Wconversion", "-Wsign-conversion", "-Werror",
          "-fsyntax-only"]


def declared(headers):
    """Names of the functions that the headers mark with SW_API."""
    names = set()
    for header in headers:
        text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
        names.update(re.findall(r"^SW_API\b[^;{]*?\b(sw_\w+)\s*\(", text, flags=re.M))
    return names


def defined(arguments):
    """Global symbols that nm finds, versions cut off; the version node itself left out."""
    output = subprocess.run(["nm", "-g", "--defined-only", *arguments], check=True,
                            capture_output=True, text=True).stdout
    lines = [line.split() for line in output.splitlines()]
    return {line[2].split("@")[0] for line in lines if len(line) == 3 and line[1] != "A"}


def manual(pages):
    """Functions whose prototype (.Fo) a page of section 3 gives."""
    names = set()
    for page in pages:
        names.update(re.findall(r"^\.Fo (sw_\w+)", page.read_text(), flags=re.M))
    return names


def examples(page):
    """The programs in a page's .Bd -literal blocks, roff's escapes undone."""
    for block in re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", page.read_text(), flags=re.M | re.S):
        if block.startswith("#include"):
            yield block.replace(r"\e", "\\").replace(r"\-", "-").replace(r"\&", "")


def compare(faults, what, found, expected):
    for name in sorted(expected - found):
        faults.append(f"{what} lacks {name}, which include/sw declares")
    for name in sorted(found - expected):
        faults.append(f"{what} has {name}, which include/sw does not declare")


def compile_alone(faults, what, command, source, text):
    run = subprocess.run([*command, *STRICT, f"-I{source}/include", "-"], input=text,
                         capture_output=True, text=True)
    if run.returncode:
        faults.append(f"{what} does not compile with {' '.join(command)}:\n{run.stderr}")


def main():
    source, build = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    as_c = [sys.argv[3], "-std=c99", "-x", "c", "-Wstrict-prototypes"]
    as_cxx = [sys.argv[4], "-std=c++17", "-x", "c++"]
    headers = sorted((source / "include/sw").glob("*.h"))
    pages = sorted((source / "man").glob("*.3"))
    names = declared(headers)
    faults = []
    if len(names) < 40:
        faults.append(f"only {len(names)} declarations found: the search itself is broken")

    mapped = set(re.findall(r"^\s+(sw_\w+);", (source / "libsw/libsw.map").read_text(), flags=re.M))
    compare(faults, "libsw.map", mapped, names)
    compare(faults, "libsw.so", defined(["-D", build / "libsw.so"]), names)
    compare(faults, "libsw.a", defined([build / "libsw.a"]), names)
    compare(faults, "the manual (man/*.3)", manual(pages), names)

    for header in headers:
        for command in (as_c, as_cxx):
            # included, because a header as the main file draws warnings of its own
            compile_alone(faults, header.name, command, source, f"#include <sw/{header.name}>\n")
    programs = 0
    for page in pages:
        for text in examples(page):
            compile_alone(faults, f"an example of {page.name}", as_c, source, text)
            programs += 1
    if programs < 2:
        faults.append(f"only {programs} examples found in the manual: the search itself is broken")

    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{len(names)} functions, {len(headers)} headers, {len(pages)} pages, {programs} examples: "
          f"{'agree' if not faults else f'{len(faults)} faults'}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
