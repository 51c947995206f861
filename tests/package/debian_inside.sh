#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs inside the root that tests/debian.sh makes: installs the packages, uses them by their autopkgtest,
# purges them, and fails when anything is left.
set -euo pipefail
fail() {
    echo "debian: $*" >&2
    exit 1
}
export DEBIAN_FRONTEND=noninteractive LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
ours=(swbroker libsw1 libsw-dev sw-tools python3-sw)
apt-get -qq install -y --no-install-recommends systemd gcc libc6-dev pkg-config ca-certificates >/dev/null 2>&1 ||
    fail "apt-get cannot install from the archive"
# their dependencies, so that everything that changes afterwards is theirs
apt-get -qq install -y --no-install-recommends $(for package in /packages/*.deb; do
    dpkg-deb -f "$package" Depends | tr ',' '\n' | sed 's/[|(].*//' | grep -vE 'libsw1'
done) >/dev/null 2>&1 || fail "apt-get cannot install what the packages depend on"
files() { find / -xdev -path /proc -prune -o -path /packages -prune -o -path '/var/lib/dpkg/*' -prune -o -path '/var/lib/apt/*' -prune -o \
    -path '/var/cache/*' -prune -o -path '/var/log/*' -prune -o -path /run/systemd -prune -o -path /tmp -prune -o -print | sort; }
files >/tmp/before

apt-get -qq install -y --no-install-recommends /packages/*.deb >/tmp/apt.log 2>&1 || fail "$(cat /tmp/apt.log)"
for package in "${ours[@]}"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package")" = installed ] || fail "$package is not installed"
    [ -f "/usr/share/doc/$package/copyright" ] || fail "$package has no copyright file"
    [ -f "/usr/share/doc/$package/changelog.Debian.gz" ] || fail "$package has no changelog"
done

# An upgrade restarts a broker that runs, and never the socket at which its clients wait.
scripts=$(cat /var/lib/dpkg/info/swbroker.p*)
grep -q "try-restart .*'swbrokerd.service'" <<<"$scripts" || fail "an upgrade does not restart the broker"
grep -qE "(restart|stop) .*'swbrokerd.socket'" /var/lib/dpkg/info/swbroker.postinst && fail "an upgrade restarts the socket"
[ ! -e /var/lib/dpkg/info/swbroker.preinst ] || fail "swbroker.preinst would stop something before an upgrade"

# ---- used, without NumPy and with it
bash /packages/installed || fail "the packages do not work without NumPy"
apt-get -qq install -y --no-install-recommends python3-numpy >/dev/null 2>&1 || fail "apt-get cannot install NumPy"
bash /packages/installed || fail "the packages do not work with NumPy"
apt-get -qq purge -y --autoremove python3-numpy >/dev/null 2>&1

# ---- the units, where they are when installed
units=$(dpkg -L swbroker sw-tools | sed -n 's#^/lib/systemd/system/##p' | sed 's/@\./@1./')
grep -q swbrokerd.service <<<"$units" || fail "the packages have no units"
said=$(systemd-analyze verify --man=no $units 2>&1) ||
    fail "systemd-analyze verify: $said"
[ -z "$said" ] || fail "systemd-analyze verify is not silent: $said"
[ -L /etc/systemd/system/sockets.target.wants/swbrokerd.socket ] || fail "swbrokerd.socket is not enabled"
[ ! -e /etc/systemd/system/sockets.target.wants/swbert.socket ] || fail "swbert.socket is enabled without being asked for"

# ---- purged
apt-get -qq purge -y "${ours[@]}" >/tmp/apt.log 2>&1 || fail "$(cat /tmp/apt.log)"
for package in "${ours[@]}"; do
    dpkg-query -W "$package" >/dev/null 2>&1 && fail "$package is not gone: $(dpkg-query -W "$package")"
done
files >/tmp/after
left=$(comm -13 /tmp/before /tmp/after | grep -vE '^/etc/(passwd|group|shadow|gshadow|subuid|subgid)-$|^/etc/\.pwd\.lock$' || true)
[ -z "$left" ] || fail "left after purging: $left"
lost=$(comm -23 /tmp/before /tmp/after)
[ -z "$lost" ] || fail "purged too much: $lost"
echo "debian: installed, run, purged: nothing is left"
