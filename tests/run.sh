#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Install what the build needs (Debian 12), configure, build with warnings as errors, run every test.
#   bash tests/run.sh [--preset dev|asan|tsan|clang] [--expected-skips FILE] [ctest arguments]
# Lists the tests that were skipped, and why; with --expected-skips, fails on any that FILE does not expect.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=dev
if [ "${1:-}" = --preset ]; then
    preset=${2:?--preset needs a name: dev, asan, tsan or clang}
    shift 2
fi
skips=()
if [ "${1:-}" = --expected-skips ]; then
    skips=("${2:?--expected-skips needs a file}")
    shift 2
fi
needs=(--tests)
[ "$preset" != clang ] || needs+=(--clang)
bash broker/dependencies.sh "${needs[@]}"
# A leak alone leaves Criterion's exit code at 0; aborting does not.
export ASAN_OPTIONS=${ASAN_OPTIONS:-abort_on_error=1:detect_leaks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1}
cmake --preset "$preset" -DSW_TESTS=ON >/dev/null
cmake --build --preset "$preset"
report=build/$preset/tests.xml
rm -f "$report"
status=0
ctest --preset "$preset" --output-junit "$PWD/$report" --test-output-size-passed 1000000 "$@" || status=$?
python3 tests/tools/skips.py "$report" "${skips[@]}" || status=1
exit "$status"
