#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs what the build needs (Debian 12), configures, builds with warnings as errors, runs every test.
#   bash tests/run.sh [--preset release|asan|tsan|clang] [ctest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
preset=release
if [ "${1:-}" = --preset ]; then
    preset=${2:?--preset needs a name: release, asan, tsan or clang}
    shift 2
fi
bash broker/dependencies.sh --tests
# A leak alone leaves Criterion's exit code at 0; aborting does not.
export ASAN_OPTIONS=${ASAN_OPTIONS:-abort_on_error=1:detect_leaks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1}
cmake --preset "$preset" -DSW_TESTS=ON >/dev/null
cmake --build --preset "$preset"
exec ctest --preset "$preset" "$@"
