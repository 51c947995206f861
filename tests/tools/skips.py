#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""List the tests that a run of ctest skipped, from the report of ctest --output-junit.

    skips.py REPORT [EXPECTED]

Finds whole programs (exit code 77, "skipped: why" in their output) and single tests of Criterion
("[SKIP] suite::test: why"). EXPECTED holds one regular expression per line, to be found in "test: why";
with it, any other skip is an error.
"""
import re
import sys
import xml.etree.ElementTree


def skips(report):
    for case in xml.etree.ElementTree.parse(report).getroot().iter("testcase"):
        name, output = case.get("name"), case.findtext("system-out") or ""
        for test, why in re.findall(r"^\[SKIP\] (\S+): (.*)", output, flags=re.M):
            yield f"{name} {test}: {why}"
        if case.find("skipped") is not None:
            why = re.search(r"\bskipped: (.*)", output)
            yield f"{name}: {why.group(1) if why else 'no reason given'}"


def main(report, expected_file=None):
    found = list(skips(report))
    print(len(found), "tests skipped" + (":" if found else ""))
    expected = None
    if expected_file:
        with open(expected_file) as file:
            expected = [line.rstrip("\n") for line in file if line.strip() and not line.startswith("#")]
    unexpected = 0
    for skip in found:
        is_expected = expected is None or any(re.search(pattern, skip) for pattern in expected)
        print("  " + skip + ("" if is_expected else "   <- NOT EXPECTED"))
        unexpected += not is_expected
    return f"{unexpected} skips not listed in {expected_file}" if unexpected else 0


sys.exit(main(*sys.argv[1:]))
