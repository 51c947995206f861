#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds the fuzzers (preset fuzz: clang, AddressSanitizer, UBSan) and lets each run for a while.
#   bash tests/fuzz/run.sh [--seconds N] [--total N] [--jobs N] [--corpus DIR] [NAME…]
# --seconds  for each (default 60); less where --total, for all of them together, leaves less
# --total    seconds of the clock that fuzzing may take in all, building apart (default: no bound)
# --jobs     how many run at once (default: as many as there are processors)
# --corpus   where what was found interesting is kept from run to run (default: thrown away)
# Every crash, leak, hang and overlong allocation fails the run; the input is printed in base64:
#   base64 -d >input …; build/fuzz/fuzz-NAME input     and it belongs among tests/fuzz/seeds/NAME.
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
    -*) echo "run.sh: $1 is no option; see --help" >&2; exit 2 ;;
    *) names+=("$1"); shift ;;
    esac
done
bash broker/dependencies.sh --tests --clang
cmake --preset fuzz -DSW_TESTS=ON >/dev/null
mapfile -t known <build/fuzz/fuzzers
for name in "${names[@]}"; do
    [[ " ${known[*]} " == *" $name "* ]] || { echo "run.sh: no fuzzer $name; there are ${known[*]}" >&2; exit 2; }
done
[ ${#names[@]} -gt 0 ] || names=("${known[@]}")
cmake --build --preset fuzz --target "${names[@]/#/fuzz-}"
if [ "$total" -gt 0 ]; then
    share=$((total * jobs / ${#names[@]} - 1)) # starting one takes part of a second
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
    # 90 s for one input, by the clock: so that a machine which does much else is no loop without end
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
    echo "---- fuzz-$name ended with $(cat "$work/$name.failed"); its last words:"
    tail -n 60 "$work/$name.log"
    for input in "$work/$name.found"/*; do
        [ -e "$input" ] || continue
        echo "---- the input ($(basename "$input")), in base64:"
        base64 "$input"
    done
done
exit $failed
