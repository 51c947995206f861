#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Measures this project's BERT beside ONNX Runtime, and PyTorch on request, on the same weights; prints one table.
#
#   bash bench/peers/run.sh [--check] [--torch] [--json] [--rounds N] [--models A,B] [--shapes 1x16,8x128] [--threads 1,2]
#                           [--text FILE] [--no-text] [--peers-only] [--keep]
#
#   --check       compare numbers instead of speeds: swbert forward beside ONNX Runtime
#   --torch       also Debian's PyTorch, as one more column
#   --text FILE   real text, one a line (default: sentences of /usr/share/common-licenses)
#   --peers-only  without this project's side: what the others do on this machine
#   --keep        leave the models in bench/peers/work (4 GB) for the next run
#
# Needs nodejs and npm; installs onnxruntime-node into bench/peers/node_modules, without running any package's scripts.
# Everything it makes is in bench/peers/work; neither folder is committed. The programs are taken from build/release
# and built when they are not there.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=bench/peers work=$PWD/bench/peers/work bin=$PWD/build/release
models=minilm-l6,bert-base keep="" torch="" ours=yes check=""
pass=()
while [ $# -gt 0 ]; do
    case $1 in
    --help | -h) sed -n '3,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    --keep) keep=yes ;;
    --torch) torch=yes pass+=("$1") ;;
    --check) check=yes pass+=("$1") ;;
    --peers-only) ours="" pass+=("$1") ;;
    --json | --no-text) pass+=("$1") ;;
    --models) models=${2:?--models needs names} pass+=("$1" "$2") && shift ;;
    --rounds | --shapes | --threads | --text) pass+=("$1" "${2:?$1 needs a value}") && shift ;;
    *) echo "run.sh: unknown option $1; see --help" >&2; exit 2 ;;
    esac
    shift
done

die() { echo "run.sh: $*" >&2; exit 1; }

install_debian() {
    local missing=() package as_root=
    for package in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    [ "$(id -u)" -eq 0 ] || as_root=sudo
    echo "installing ${missing[*]}" >&2
    $as_root apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

{ command -v node && command -v npm; } >/dev/null || install_debian nodejs npm
[ -z "$torch" ] || install_debian python3-torch libopenblas0-pthread
wanted=$(node -p "require('./$here/package.json').dependencies['onnxruntime-node']")
found=$(node -p "require('./$here/node_modules/onnxruntime-node/package.json').version" 2>/dev/null || true)
[ "$found" = "$wanted" ] || (cd "$here" && npm install --ignore-scripts --silent >/dev/null) ||
    die "npm could not install onnxruntime-node $wanted; see: cd $here && npm install --ignore-scripts"

for program in swchunk ${ours:+swbench swbert swbrokerd swctl}; do
    [ -x "$bin/$program" ] && continue
    bash broker/dependencies.sh
    cmake --preset release >/dev/null
    cmake --build --preset release >&2
    break
done

mkdir -p "$work/models"
broker=
run=$(mktemp -d /tmp/sw-peers.XXXXXX) # a Unix socket's path has to be short
cleanup() {
    if [ -n "$broker" ] && kill "$broker" 2>/dev/null; then wait "$broker" || true; fi
    rm -rf "$run"
    [ -n "$keep" ] || rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# make MODEL DTYPE VARIANT…: chunk directory, one safetensors file, ONNX files; what is already there is kept
make() {
    local name=$1-$2 shape=$1 dtype=$2 variant missing=()
    shift 2
    [ -d "$work/models/$name" ] || "$bin/swchunk" synth "$shape" "$work/models/$name" --dtype "$dtype" --seed 1 >&2
    for variant in "$@"; do
        [ -f "$work/onnx/$name/$variant.onnx" ] || missing+=("$variant")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "writing ONNX files of $name" >&2
    mkdir -p "$work/onnx/$name"
    "$bin/swchunk" export --force "$work/models/$name" "$work/$name.safetensors" >&2
    node "$here/bert_onnx.js" "$work/$name.safetensors" "$work/models/$name/config.json" "$work/onnx/$name" "${missing[@]}"
}

for model in ${models//,/ }; do
    if [ -n "$check" ]; then
        make "$model" f32 eager
        make "$model" f16 eager
    else
        make "$model" f32 eager eager-nomask attention attention-nomask mha mha-nomask
        make "$model" f16
    fi
done

if [ -n "$ours" ]; then
    export SW_SOCKET=$run/socket
    "$bin/swbrokerd" --chunks-dir "$work/models" --cache-size 2G --socket "$SW_SOCKET" &
    broker=$!
    for _ in $(seq 100); do
        "$bin/swctl" --socket "$SW_SOCKET" ping >/dev/null 2>&1 && break
        kill -0 "$broker" 2>/dev/null || die "the broker did not start"
        sleep 0.1
    done
fi
node "$here/compare.js" --work "$work" --bin "$bin" "${pass[@]}"
