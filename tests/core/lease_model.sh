#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Checks the lease protocol's model with spin, and that spin catches each mutant of it.
set -euo pipefail
model=$(cd "$(dirname "$0")" && pwd)/lease.pml
command -v spin >/dev/null || {
    echo "skipped: spin is not installed"
    exit 77
}
scratch=$(mktemp -d /tmp/sw-lease-model.XXXXXX)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

# errors NAME [-D…]: how many errors spin finds in that variant
errors() {
    local name=$1
    shift
    mkdir "$name"
    (
        cd "$name"
        spin "$@" -a "$model" >spin.log
        cc -O2 -w -DSAFETY -DVECTORSZ=512 -o pan pan.c
        ./pan -m1000000 >pan.log
        grep -q 'Search not completed' pan.log && grep -q 'errors: 0' pan.log && {
            echo "lease model: the search of $name was not complete" >&2
            exit 1
        }
        sed -nE 's/.*errors: ([0-9]+).*/\1/p' pan.log
    )
}

status=0
found=$(errors protocol)
states=$(sed -nE 's/ *([0-9.e+]+) states, stored.*/\1/p' protocol/pan.log)
echo "protocol: $found errors in $states states"
[ "$found" = 0 ] || {
    cat protocol/pan.log
    status=1
}
for mutant in NO_BROKER_FENCE NO_CLIENT_FENCE NO_EPOCH_CHECK NO_RECHECK; do
    found=$(errors "$mutant" "-D$mutant")
    echo "$mutant: $found errors"
    [ "$found" -gt 0 ] || {
        echo "lease model: spin does not catch the mutant $mutant" >&2
        status=1
    }
done
exit $status
