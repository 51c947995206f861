#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# sw.pc names the right folders where CMAKE_INSTALL_LIBDIR is an absolute path, as some distributions give it.
#   bash tests/package/absolute_libdir.sh SOURCE_DIR CC
set -euo pipefail
source=$1 cc=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake -S "$source" -B "$work/build" -G Ninja -DCMAKE_C_COMPILER="$cc" -DSW_TESTS=OFF -DSW_BENCH=OFF \
    -DCMAKE_INSTALL_PREFIX="$work/p" -DCMAKE_INSTALL_LIBDIR="$work/p/lib" >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    exit 1
}
for name in sw sw-static; do
    for what in libdir=$work/p/lib includedir=$work/p/include; do
        found=$(PKG_CONFIG_PATH=$work/build/libsw pkg-config --variable="${what%%=*}" "$name")
        [ "$found" = "${what#*=}" ] || {
            echo "absolute_libdir: $name says ${what%%=*}=$found, not ${what#*=}" >&2
            exit 1
        }
    done
done
echo "sw.pc and sw-static.pc name absolute folders"
