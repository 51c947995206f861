#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds the Debian packages with dpkg-buildpackage, in a copy of the tree: debhelper writes into debian/.
#   bash broker/deploy/debian/build.sh OUT_DIR
# Needs dpkg-dev and what Build-Depends of control names.
set -euo pipefail
out=$(mkdir -p "${1:?usage: build.sh OUT_DIR}" && cd "$1" && pwd)
source=$(cd "$(dirname "$0")/../../.." && pwd)
scratch=$(mktemp -d /tmp/sw-packages.XXXXXX)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/surfing-weights"
tar -C "$source" --exclude=./build --exclude=./.git -cf - . | tar -C "$scratch/surfing-weights" -xf -
cd "$scratch/surfing-weights"
ln -s broker/deploy/debian debian
# what the packages need, without a second set of packages for their debugging symbols
DEB_BUILD_OPTIONS="noautodbgsym ${DEB_BUILD_OPTIONS:-}" dpkg-buildpackage -b -us -uc
mv "$scratch"/*.deb "$scratch"/*.changes "$scratch"/*.buildinfo "$out"
