#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds the Debian packages, checks them with lintian, and installs, runs and purges them in a root of their
# own: a minimal Debian 12, made by debootstrap. Does not change this machine.
#   bash tests/debian.sh            needs root, debootstrap, lintian, debhelper, dh-python, and the archive
set -euo pipefail
cd "$(dirname "$0")/.."
skip() {
    echo "debian: skipped: $*"
    exit 77
}
fail() {
    echo "debian: $*" >&2
    exit 1
}
[ "$(id -u)" -eq 0 ] || skip "it needs root, for debootstrap"
for tool in debootstrap lintian dpkg-buildpackage dh dh_python3; do
    command -v "$tool" >/dev/null ||
        skip "it needs $tool (apt-get install debootstrap lintian dpkg-dev debhelper dh-python)"
done
unshare --mount true 2>/dev/null || skip "this machine allows no mount namespaces"
work=$(mktemp -d /tmp/sw-debian.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
began=$SECONDS
step() {
    echo "== $* ($((SECONDS - began)) s)"
}

step "building"
bash broker/deploy/debian/build.sh "$work/packages" >"$work/build.log" 2>&1 || fail "$(tail -40 "$work/build.log")"
packages=(swbroker libsw1 libsw-dev sw-tools python3-sw)
for package in "${packages[@]}"; do
    compgen -G "$work/packages/${package}_*.deb" >/dev/null || fail "no package $package was built"
done
compgen -G "$work/packages/python3-sw_*_all.deb" >/dev/null || fail "python3-sw is not architecture-independent"

step "lintian"
lintian --fail-on error --tag-display-limit 0 --allow-root \
    "$work"/packages/*.deb || fail "lintian finds errors"

# ---- a root from the archive that this machine uses
mirror=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb  *\(\[[^]]*\] *\)\{0,1\}\([^ ]*\) .*/\2/p' \
    $(find /etc/apt/sources.list /etc/apt/sources.list.d -type f 2>/dev/null | sort) |
    grep -E '/debian/?$' | head -1)
[ -n "$mirror" ] || skip "no Debian archive is configured in /etc/apt"
step "debootstrap from $mirror"
root=$work/root
debootstrap --variant=minbase bookworm "$root" "$mirror" >"$work/debootstrap.log" 2>&1 ||
    fail "debootstrap: $(tail -20 "$work/debootstrap.log")"
cp /etc/apt/apt.conf.d/*proxy* "$root/etc/apt/apt.conf.d/" 2>/dev/null || true
cp /etc/resolv.conf "$root/etc/resolv.conf"
mkdir "$root/packages"
cp "$work"/packages/*.deb "$root/packages/"
cp tests/package/debian_inside.sh broker/deploy/debian/tests/installed "$root/packages/"

step "installing, running, purging"
# in namespaces of its own: every process in there ends with it
unshare --mount --pid --fork --kill-child --mount-proc="$root/proc" bash -c '
    mount -t tmpfs -o size=512m tmpfs "$0/dev/shm"
    exec chroot "$0" bash /packages/debian_inside.sh' "$root" || fail "the packages do not work there"
step "done"
