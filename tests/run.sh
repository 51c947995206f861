#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Install what the build needs (Debian 12), configure, build with warnings as errors, run every test.
#   bash tests/run.sh [--preset dev|asan|tsan|clang] [ctest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
preset=dev
if [ "${1:-}" = --preset ]; then
    preset=${2:?--preset needs a name: dev, asan, tsan or clang}
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
exec ctest --preset "$preset" "$@"
