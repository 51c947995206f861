#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds the Debian packages with Debian's paths and compiler flags.
#   bash broker/deploy/debian/build.sh OUT_DIR [BUILD_DIR]      default: build/debian
set -euo pipefail
out=$(mkdir -p "${1:?build.sh needs a directory for the packages}" && cd "$1" && pwd)
source=$(cd "$(dirname "$0")/../../../.." && pwd)
build=${2:-$source/build/debian}
for tool in dpkg-buildflags dpkg-shlibdeps fakeroot; do
    command -v "$tool" >/dev/null || {
        echo "build.sh: $tool is missing: apt-get install dpkg-dev fakeroot" >&2
        exit 1
    }
done
# hardening as Debian has it; paths of this machine stay out of what is built
eval "$(cd "$source" && DEB_BUILD_MAINT_OPTIONS=hardening=+all dpkg-buildflags --export=sh)"
SOURCE_DATE_EPOCH=$(date -d "$(sed -n 's/^ -- .*>  //p' "$source/broker/deploy/debian/changelog")" +%s)
export SOURCE_DATE_EPOCH
cmake -G Ninja -S "$source" -B "$build" -DCMAKE_BUILD_TYPE=None -DCMAKE_INSTALL_PREFIX=/usr \
    -DCMAKE_INSTALL_SYSCONFDIR=/etc -DCMAKE_SKIP_RPATH=ON -DSW_TESTS=OFF >/dev/null
cmake --build "$build"
cd "$build"
rm -f ./*.deb
fakeroot cpack -G DEB
mv ./*.deb "$out"
