#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# From a fresh clone to several workers computing on one shared copy of a model's weights.
#
#   bash broker/quickstart.sh [--model DIR] [--workers N] [--cache-size SIZE]
#
#   --model DIR   a Hugging Face directory (config.json, model.safetensors, vocab.txt) or a chunk
#                 directory; without it a small random model is made
#   --workers N   worker processes (default 4)
#   --cache-size  the broker's budget, such as 512M (default: a little more than the model)
#
# Installs the Debian packages it needs, builds into build/release, starts a broker on a private socket,
# runs the workers, prints what they computed, the memory they share and the cache's statistics, and stops
# and removes everything it started.
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD

usage() { sed -n '3,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p}' broker/quickstart.sh; }
fail() {
    echo "quickstart: $*" >&2
    exit 1
}

model=
workers=4
cache_size=
while [ $# -gt 0 ]; do
    case $1 in
    --model | --workers | --cache-size)
        [ $# -ge 2 ] || fail "$1 needs a value; see --help"
        case $1 in
        --model) model=$2 ;;
        --workers) workers=$2 ;;
        --cache-size) cache_size=$2 ;;
        esac
        shift 2
        ;;
    --help | -h)
        usage
        exit 0
        ;;
    *) fail "unknown argument $1; see --help" ;;
    esac
done
case $workers in '' | *[!0-9]* | 0) fail "--workers takes a number from 1 to 64, not '$workers'" ;; esac
[ "$workers" -le 64 ] || fail "--workers takes a number from 1 to 64, not '$workers'"
if [ -n "$model" ]; then
    [ -d "$model" ] || fail "--model $model is not a directory"
    [ -f "$model/config.json" ] || fail "--model $model holds no config.json; give a Hugging Face or chunk directory"
    model=$(cd "$model" && pwd)
fi

scratch=$(mktemp -d /tmp/sw-quickstart.XXXXXX)
broker=
worker_pids=()
clean_up() {
    local status=$?
    trap - EXIT INT TERM
    for pid in "${worker_pids[@]}" $broker; do kill "$pid" 2>/dev/null || true; done
    for pid in "${worker_pids[@]}" $broker; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$scratch"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step() { printf '\n== %s\n' "$*"; }

step "Building"
bash broker/dependencies.sh
cmake --preset release -DSW_TESTS=OFF >"$scratch/build.log" 2>&1 &&
    cmake --build --preset release >>"$scratch/build.log" 2>&1 || {
    tail -n 40 "$scratch/build.log" >&2
    fail "the build failed; its last lines are above"
}
bin=$here/build/release
echo "programs are in build/release"

step "Model"
if [ -n "$model" ] && grep -qs '"format_version"' "$model/chunk_info.json"; then
    catalog=$model
    name=$(basename "$model")
    echo "$name: taking the chunk directory as it is"
elif [ -n "$model" ]; then
    catalog=$scratch/catalog
    name=$(basename "$model")
    mkdir "$catalog"
    "$bin/swchunk" import "$model" "$catalog/$name"
else
    catalog=$scratch/catalog
    name=minilm-l6-random
    mkdir "$catalog"
    "$bin/swchunk" synth minilm-l6 "$catalog/$name" --seed 1
    echo "$name: random weights, so the numbers below mean nothing; --model DIR takes a real one"
fi
chunks=$catalog
[ -f "$chunks/chunk_info.json" ] || chunks=$catalog/$name
"$bin/swchunk" info "$chunks"
[ -n "$cache_size" ] || cache_size=$(du -smL "$chunks" | awk '{print $1 + 16}')M

step "Broker"
export SW_SOCKET=$scratch/broker.sock
"$bin/swbrokerd" --chunks-dir "$catalog" --cache-size "$cache_size" --socket "$SW_SOCKET" 2>"$scratch/broker.log" &
broker=$!
for ((tries = 0; ; tries++)); do
    "$bin/swctl" ping >/dev/null 2>&1 && break
    if [ "$tries" -ge 200 ] || ! kill -0 "$broker" 2>/dev/null; then
        cat "$scratch/broker.log" >&2
        fail "the broker did not become ready; its messages are above"
    fi
    sleep 0.05
done
echo "swbrokerd is process $broker, cache $cache_size, socket $SW_SOCKET"

texts=(
    "The tide comes in twice a day, and the boats rise with it."
    "She paddled out before sunrise to catch the first wave."
    "A shared library is mapped once and used by every process."
    "The committee postponed its decision until next spring."
    "Fresh bread smells best in the early morning."
    "Memory that is shared need not be copied."
    "The old lighthouse has been dark since 1974."
    "He rides every wave as if it were the last one."
    "How do I return a pair of shoes that does not fit?"
    "Interest rates rose for the third time this year."
    "The boats in the harbour move up and down with the water."
    "Many programs can read the same page of memory."
)

step "$workers workers, each a process of its own"
for ((w = 0; w < workers; w++)); do
    mkfifo "$scratch/in.$w"
    "$bin/swbert" embed --model "$name" --normalize <"$scratch/in.$w" >"$scratch/out.$w" 2>"$scratch/err.$w" &
    worker_pids+=($!)
    exec {feed}>"$scratch/in.$w"
    feeds[w]=$feed
    expected[w]=0
done
for ((t = 0; t < ${#texts[@]}; t++)); do
    w=$((t % workers))
    printf '%s\n' "${texts[t]}" >&"${feeds[w]}"
    expected[w]=$((expected[w] + 1))
done
for ((w = 0; w < workers; w++)); do
    for ((tries = 0; $(wc -l <"$scratch/out.$w") < expected[w]; tries++)); do
        if [ "$tries" -ge 1200 ] || ! kill -0 "${worker_pids[w]}" 2>/dev/null; then
            cat "$scratch/err.$w" >&2
            fail "worker $w did not answer; its messages are above"
        fi
        sleep 0.05
    done
    sed -E "s/^\{\"text\": ?(\".*\"), ?\"embedding\": ?\[([^,]*),([^,]*),([^,]*),.*/  worker ${worker_pids[w]}  \1 -> [\2, \3, \4, ...]/" \
        "$scratch/out.$w"
done

step "Memory, while all of them are loaded (PSS: shared pages divided among their users)"
pss_kb() { awk '/^Pss:/ {print $2}' "/proc/$1/smaps_rollup" 2>/dev/null || echo 0; }
total=$(pss_kb "$broker")
printf '  %-8s %8d  %7d KiB\n' broker "$broker" "$total"
for pid in "${worker_pids[@]}"; do
    kb=$(pss_kb "$pid")
    total=$((total + kb))
    printf '  %-8s %8d  %7d KiB\n' worker "$pid" "$kb"
done
resident=$("$bin/swctl" stats --json | sed -nE 's/.*"resident_bytes": *([0-9]+).*/\1/p')
printf '  %-17s  %7d KiB\n' "sum" "$total"
printf '  %-17s  %7d KiB, one copy for all of them\n' "weights resident" $((resident / 1024))

step "Cache"
"$bin/swctl" stats

step "Stopping"
for ((w = 0; w < workers; w++)); do exec {feeds[w]}>&-; done
for pid in "${worker_pids[@]}"; do wait "$pid" || fail "worker $pid ended with status $?"; done
worker_pids=()
kill -TERM "$broker"
wait "$broker" || fail "the broker ended with status $?"
broker=
[ ! -e "$SW_SOCKET" ] || fail "the broker left its socket behind"
echo "all workers and the broker have ended; nothing is left behind"
