#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Compares this project with the libraries that say what is right, from PyPI.
#
#   bash tests/oracle/run.sh NAME [ARGUMENT…]
#
#   wild    directories of models as people have them: sentence-transformers and transformers
#
# NAME is a folder beside this script, with requirements.txt and main.py; ARGUMENTs go to main.py. The
# virtual environment is made once for each list of requirements, in build/oracle, and kept there. The
# programs are taken from build/release, or from $SW_BUILD_DIR.
set -euo pipefail
cd "$(dirname "$0")/../.."
usage() { sed -n '3,/^set /{/^set /d;s/^# \{0,1\}//;p}' tests/oracle/run.sh; }
case ${1:-} in
-h | --help)
    usage
    exit 0
    ;;
'' | -*)
    usage >&2
    exit 2
    ;;
esac
name=$1
shift
here=tests/oracle/$name
[ -f "$here/main.py" ] || {
    echo "oracle: there is no $here/main.py; see --help" >&2
    exit 2
}
build=${SW_BUILD_DIR:-$PWD/build/release}
for program in swbrokerd swctl swchunk swbert; do
    [ -x "$build/$program" ] || {
        echo "oracle: $build/$program is missing: cmake --preset release && cmake --build --preset release" >&2
        exit 1
    }
done
venv=$PWD/build/oracle/$name-$(sha256sum "$here/requirements.txt" | cut -c1-12)
if [ ! -f "$venv/ready" ]; then
    echo "oracle: installing $(tr '\n' ' ' <"$here/requirements.txt")into $venv" >&2
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
    touch "$venv/ready"
fi
# Nothing is loaded from a hub, and one thread is enough for models this small.
export HF_HUB_OFFLINE=1 HF_HUB_DISABLE_PROGRESS_BARS=1 TRANSFORMERS_VERBOSITY=error TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1
exec "$venv/bin/python" "$here/main.py" --build "$build" "$@"
