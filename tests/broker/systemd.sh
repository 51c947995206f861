#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs into a directory and holds the units there to systemd's own checks: verify must say nothing, and
# the exposure of each service be at most 2.0 of 10. Every directive of the hardening has its reason.
#   systemd.sh BUILD_DIR SOURCE_DIR
set -euo pipefail
build=$(cd "$1" && pwd) source=$(cd "$2" && pwd)
command -v systemd-analyze >/dev/null || {
    echo "systemd: skipped: systemd-analyze is not installed (apt-get install systemd)"
    exit 77
}
work=$(mktemp -d /tmp/sw-systemd.XXXXXX)
trap 'rm -rf "$work"' EXIT
failed=0
complain() {
    echo "systemd: $*" >&2
    failed=1
}

cmake --install "$build" --prefix "$work" >/dev/null
units=$work/lib/systemd/system
[ -d "$units" ] || {
    echo "systemd: skipped: built without libsystemd, so there are no units"
    exit 77
}
prefix=$(sed -n 's/^CMAKE_INSTALL_PREFIX:PATH=//p' "$build/CMakeCache.txt")
sed -i "s|^\(Exec[A-Za-z]*=\)$prefix/|\1$work/|" "$units"/*.service
cd "$units"

# ---- verify
manual=no
if command -v man >/dev/null && MANPATH=$work/share/man man -w swbrokerd >/dev/null 2>&1; then
    manual=yes
    export MANPATH=$work/share/man
fi
verify() { systemd-analyze verify --man=$manual "$@" 2>&1; }
said=$(verify ./*.service ./*.socket) || complain "verify exits with $?"
[ -z "$said" ] || complain "verify is not silent: $said"
# a unit with a mistake in it must be found, else the silence means nothing
sed 's/^WatchdogSec=.*/WatchdogSec=soon/' swbrokerd.service >"$work/broken.service"
[ -n "$(verify "$work/broken.service" || true)" ] || complain "verify finds no mistake where there is one"

# ---- exposure
for unit in *.service; do
    said=$(systemd-analyze security --offline=true --threshold=20 --no-pager "./$unit" 2>&1) ||
        complain "$unit: $(tail -1 <<<"$said"); see systemd-analyze security --offline=true"
    echo "${said##*$'\n'}"
done

# ---- the drop-ins that the manual shows: accepted, and naming no directory that the unit hides
awk '/^\.Li \[Service\]/ { number++; inside = 1; next }
    inside && /^\.Li / { print number, substr($0, 5); next }
    $0 != ".br" { inside = 0 }' "$source/man/swbrokerd.8" \
    >"$work/dropins"
[ "$(cut -d' ' -f1 "$work/dropins" | sort -u | wc -l)" -ge 3 ] ||
    complain "swbrokerd(8) shows these drop-ins only: $(cat "$work/dropins")"
mkdir -p swbrokerd.service.d
for number in $(cut -d' ' -f1 "$work/dropins" | sort -un); do
    { echo "[Service]"; sed -n "s/^$number //p" "$work/dropins"; } >swbrokerd.service.d/shown.conf
    said=$(verify ./swbrokerd.service ./swbrokerd.socket) || complain "verify refuses a drop-in of swbrokerd(8)"
    [ -z "$said" ] || complain "a drop-in of swbrokerd(8): $said"
    grep -E 'Paths=-?/(var/)?tmp' swbrokerd.service.d/shown.conf &&
        complain "a drop-in of swbrokerd(8) needs a directory that PrivateTmp= hides"
done
rm -r swbrokerd.service.d

# ---- reasons: the line before a directive of the hardening, or of the group that it stands in, is a comment
for unit in "$source"/broker/deploy/systemd/*.service.in; do
    awk -v unit="${unit##*/}" '
        /^#/ { reason = 1; next }
        /^$/ { reason = 0; next }
        /^\[/ { section = $0; reason = 0; next }
        section == "[Service]" && /^[A-Z]/ && !reason {
            split($0, part, "="); print unit ": " part[1] "= has no reason beside it"; bad = 1 }
        END { exit bad }' "$unit" >&2 || failed=1
done

# ---- the user and the directories that they name
if command -v systemd-sysusers >/dev/null; then
    mkdir -p "$work/root/etc"
    systemd-sysusers --root="$work/root" "$work/lib/sysusers.d/swbroker.conf" >/dev/null 2>&1 ||
        complain "sysusers.d is refused"
    systemd-tmpfiles --root="$work/root" --create "$work/lib/tmpfiles.d/swbroker.conf" ||
        complain "tmpfiles.d is refused"
    user=$(sed -n 's/^User=//p' swbrokerd.service)
    grep -q "^$user:" "$work/root/etc/passwd" || complain "sysusers.d does not make the user $user"
    grep -q "^$(sed -n 's/^SocketGroup=//p' swbrokerd.socket):" "$work/root/etc/group" ||
        complain "sysusers.d does not make the socket's group"
    [ -d "$work/root/run/swbroker" ] || complain "tmpfiles.d does not make /run/swbroker"
fi
exit $failed
