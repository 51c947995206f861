#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds a fresh clone and shows several workers computing on one shared copy of a model's weights.
#
#   bash broker/quickstart.sh [--model DIR] [--workers N] [--cache-size SIZE]
#
#   --model DIR       a Hugging Face directory (config.json, model.safetensors, vocab.txt) or a chunk
#                     directory; default: a small model with random weights
#   --workers N       number of worker processes, 1 to 64; default 4
#   --cache-size SIZE the broker's memory for weights, such as 512M; default: the size of the model
#
# Installs missing Debian packages, builds into build/release, starts a broker on a private socket, runs the
# workers, prints their results, the memory they share and the cache statistics, and then stops and removes
# everything it started.
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
    *) fail "unknown argument '$1'; see --help" ;;
    esac
done
case $workers in '' | *[!0-9]* | 0) fail "--workers must be 1 to 64, not '$workers'" ;; esac
[ "$workers" -le 64 ] || fail "--workers must be 1 to 64, not '$workers'"
if [ -n "$model" ]; then
    [ -d "$model" ] || fail "--model $model is not a directory"
    [ -f "$model/config.json" ] || fail "--model $model has no config.json; give a Hugging Face or chunk directory"
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

# Shows how far ninja has got, on a terminal only; the line disappears at the end.
show_progress() {
    if [ -t 2 ]; then
        awk -F'[][/]' -v start="$(date +%s)" '/^\[[0-9]+\/[0-9]+\]/ {
            "date +%s" | getline now; close("date +%s"); took = now - start
            rate = took > 0 ? $2 / took : 0
            printf "\r\033[Kbuilding: %d of %d files", $2, $3
            if (rate > 0) printf ", %.1f/s, %d s left", rate, ($3 - $2) / rate
            fflush()
        } END { printf "\r\033[K" }' >&2
    else
        cat >/dev/null
    fi
}

step "Build"
bash broker/dependencies.sh
{
    cmake --preset release -DSW_TESTS=OFF >"$scratch/build.log" 2>&1 &&
        cmake --build --preset release 2>&1 | tee -a "$scratch/build.log" | show_progress
} || {
    tail -n 40 "$scratch/build.log" >&2
    fail "the build failed; the last lines of its log are above"
}
bin=$here/build/release
echo "programs are in build/release"

step "Model"
if [ -n "$model" ] && grep -qs '"format_version"' "$model/chunk_info.json"; then
    catalog=$model
    name=$(basename "$model")
    echo "$name: a chunk directory, used as it is"
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
    echo "$name: random weights, so the results below are meaningless; use --model DIR for a real model"
fi
chunks=$catalog
[ -f "$chunks/chunk_info.json" ] || chunks=$catalog/$name
"$bin/swchunk" info "$chunks"
# whole blocks of 2 MiB, the unit in which the broker reserves memory
[ -n "$cache_size" ] || cache_size=$(du -smL "$chunks" | awk '{print $1 + 2 - $1 % 2}')M

step "Broker"
export SW_SOCKET=$scratch/broker.sock
"$bin/swbrokerd" --chunks-dir "$catalog" --cache-size "$cache_size" --socket "$SW_SOCKET" 2>"$scratch/broker.log" &
broker=$!
for ((tries = 0; ; tries++)); do
    "$bin/swctl" ping >/dev/null 2>&1 && break
    if [ "$tries" -ge 200 ] || ! kill -0 "$broker" 2>/dev/null; then
        cat "$scratch/broker.log" >&2
        fail "the broker did not start; its messages are above"
    fi
    sleep 0.05
done
echo "swbrokerd: pid $broker, cache size $cache_size, socket $SW_SOCKET"

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

step "Workers ($workers processes)"
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

step "Memory, with every worker loaded"
# Of shared memory each process is charged its share, so that the sum is what the machine spends.
charged_kb() { awk '/^Pss:/ {all = $2} /^Pss_Shmem:/ {shared = $2} END {print shared + 0, all - shared}' "/proc/$1/smaps_rollup"; }
row() { printf '  %-7s %8s  %14s  %14s\n' "$@"; }
row "" pid "weights" "own memory"
weights=0 own=0
for pid in "$broker" "${worker_pids[@]}"; do
    read -r share private < <(charged_kb "$pid")
    weights=$((weights + share)) own=$((own + private))
    role=worker
    [ "$pid" != "$broker" ] || role=broker
    row "$role" "$pid" "$share KiB" "$private KiB"
done
row sum "" "$weights KiB" "$own KiB"
echo "The weights are in memory once: all processes map the same arena, and each is charged a share of it."

step "Cache statistics"
"$bin/swctl" stats

step "Stop"
for ((w = 0; w < workers; w++)); do exec {feeds[w]}>&-; done
for pid in "${worker_pids[@]}"; do wait "$pid" || fail "worker $pid ended with status $?"; done
worker_pids=()
kill -TERM "$broker"
wait "$broker" || fail "the broker ended with status $?"
broker=
[ ! -e "$SW_SOCKET" ] || fail "the broker left its socket behind"
echo "The workers and the broker have stopped, and nothing is left behind."
