#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Fail on every C file that clang-format would change.
#   format.sh SOURCE_DIR
set -euo pipefail
cd "$1"
command -v clang-format >/dev/null || {
    echo "format: skipped: clang-format is not installed"
    exit 77
}
# Other versions format some constructs differently, and the tree can only follow one.
version=$(clang-format --version | sed -n 's/.*version \([0-9]*\)\..*/\1/p')
[ "$version" = 14 ] || {
    echo "format: skipped: the tree is formatted by clang-format 14, not by $version"
    exit 77
}
mapfile -t files < <(find include libsw broker bench tests -name '*.[ch]')
[ "${#files[@]}" -gt 400 ] || {
    echo "format: found only ${#files[@]} C files" >&2
    exit 1
}
faults=$(clang-format --dry-run --Werror "${files[@]}" 2>&1) || {
    echo "format: run these commands:"
    sed -n 's/:[0-9]*:[0-9]*: error: .*//p' <<<"$faults" | sort -u | sed 's/^/clang-format -i /'
    exit 1
}
