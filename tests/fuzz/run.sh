#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Build the fuzzers (preset fuzz: clang, AddressSanitizer, UBSan) and run each of them.
#   bash tests/fuzz/run.sh [--seconds N] [--total N] [--jobs N] [--corpus DIR] [NAME…]
# --seconds N  per fuzzer (default 60); --total may shorten it
# --total N    seconds of wall-clock time for all fuzzers, without the build (default: no limit)
# --jobs N     fuzzers that run at once (default: the number of processors)
# --corpus DIR keep the inputs that reach new code for later runs (default: discard them)
# Any crash, leak, hang or excessive allocation fails the run and prints the input in base64. To reproduce:
#   base64 -d >input …; build/fuzz/fuzz-NAME input     Then add it to tests/fuzz/seeds/NAME.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=60 total=0 jobs=$(nproc) corpus= names=()
while [ $# -gt 0 ]; do
    case $1 in
    --seconds | --total | --jobs | --corpus)
        [ $# -gt 1 ] || { echo "run.sh: $1 needs a value" >&2; exit 2; }
        case $1 in
        --seconds) seconds=$2 ;;
        --total) total=$2 ;;
        --jobs) jobs=$2 ;;
        --corpus) corpus=$2 ;;
        esac
        shift 2
        ;;
    --help) sed -n '3,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    -*) echo "run.sh: unknown option $1; see --help" >&2; exit 2 ;;
    *) names+=("$1"); shift ;;
    esac
done
bash broker/dependencies.sh --tests --clang
cmake --preset fuzz -DSW_TESTS=ON >/dev/null
mapfile -t known <build/fuzz/fuzzers
for name in "${names[@]}"; do
    [[ " ${known[*]} " == *" $name "* ]] || { echo "run.sh: unknown fuzzer $name; known are ${known[*]}" >&2; exit 2; }
done
[ ${#names[@]} -gt 0 ] || names=("${known[@]}")
cmake --build --preset fuzz --target "${names[@]/#/fuzz-}"
if [ "$total" -gt 0 ]; then
    share=$((total * jobs / ${#names[@]} - 1)) # starting a fuzzer takes a moment
    [ "$share" -ge 1 ] || share=1
    [ "$seconds" -le "$share" ] || seconds=$share
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ASAN_OPTIONS=${ASAN_OPTIONS:-abort_on_error=1:detect_leaks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}

fuzz() {
    local name=$1
    local kept=${corpus:+$corpus/$name}
    kept=${kept:-$work/$name.corpus}
    mkdir -p "$kept" "$work/$name.found"
    # 90 s of wall-clock time for one input: a busy machine must not look like an endless loop
    timeout $((seconds + 120)) "build/fuzz/fuzz-$name" -max_total_time="$seconds" -timeout=90 -report_slow_units=90 \
        -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$work/$name.found/" \
        "$kept" "tests/fuzz/seeds/$name" >"$work/$name.log" 2>&1 || echo $? >"$work/$name.failed"
}

echo "fuzzing ${#names[@]} readers for $seconds s each, $jobs at once"
running=0
for name in "${names[@]}"; do
    if [ "$running" -ge "$jobs" ]; then
        wait -n
        running=$((running - 1))
    fi
    fuzz "$name" &
    running=$((running + 1))
done
wait

failed=0
for name in "${names[@]}"; do
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$name.log")
    coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$work/$name.log" | tail -1)
    printf '%-14s %10s inputs, %5s edges%s\n' "$name" "${runs:-?}" "${coverage:-?}" \
        "$([ -e "$work/$name.failed" ] && echo "  FAILED")"
    [ -e "$work/$name.failed" ] || continue
    failed=1
    echo "---- fuzz-$name exited with $(cat "$work/$name.failed"); end of its output:"
    tail -n 60 "$work/$name.log"
    for input in "$work/$name.found"/*; do
        [ -e "$input" ] || continue
        echo "---- the input ($(basename "$input")), in base64:"
        base64 "$input"
    done
done
exit $failed
