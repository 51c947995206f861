#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What tests/debian.sh runs inside the new root: installs the packages, uses them, purges them, and looks for
# what is left.
set -euo pipefail
fail() {
    echo "debian: $*" >&2
    exit 1
}
export DEBIAN_FRONTEND=noninteractive LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
ours=(swbroker libsw1 libsw-dev sw-tools python3-sw)
apt-get -qq install -y --no-install-recommends systemd gcc libc6-dev pkg-config ca-certificates >/dev/null 2>&1 ||
    fail "apt-get cannot install from the archive"
# what our packages need, so that all that changes afterwards is ours
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
    [ -f "/usr/share/doc/$package/changelog.gz" ] || fail "$package has no changelog"
done

# ---- used as an operator would, under the broker's own user
id swbroker >/dev/null || fail "there is no user swbroker"
[ "$(stat -c %U:%G:%a /var/lib/swbroker)" = root:swbroker:2750 ] || fail "/var/lib/swbroker: $(stat /var/lib/swbroker)"
swchunk synth bert-tiny /var/lib/swbroker/tiny >/dev/null
[ "$(stat -c %G /var/lib/swbroker/tiny/config.json)" = swbroker ] || fail "the broker cannot read the models"
useradd --groups swbroker worker
useradd stranger
setpriv --reuid=swbroker --regid=swbroker --clear-groups swbrokerd --cache-size 64 2>/tmp/broker.log &
broker=$!
for _ in $(seq 300); do
    swctl ping >/dev/null 2>&1 && break
    kill -0 $broker 2>/dev/null || fail "the broker ended: $(cat /tmp/broker.log)"
    sleep 0.1
done
swctl ping >/dev/null || fail "the broker does not answer: $(cat /tmp/broker.log)"
as() { setpriv --reuid="$1" --regid="$1" --init-groups "${@:2}"; }
vector=$(echo "Hello world" | as worker swbert embed --model tiny --normalize) || fail "swbert failed"
[[ $vector == *'"embedding":['* ]] || fail "swbert said $vector"
echo "Hello world" | as stranger swbert embed --model tiny >/dev/null 2>&1 && fail "a stranger may read the models"
swctl stats --json | grep -q '"clients"' || fail "swctl stats says nothing"

# ---- as a developer would
cat >/tmp/worker.c <<'END'
#include <stdio.h>
#include <sw/sw.h>
int main(void)
{
    sw_client *client;
    sw_model *model;
    if (sw_client_open(NULL, &client) || sw_model_open(client, "tiny", &model))
        return 1;
    printf("%u\n", (unsigned)sw_model_component_count(model));
    sw_model_close(model);
    sw_client_close(client);
    return 0;
}
END
for kind in sw sw-static; do
    gcc -o /tmp/worker /tmp/worker.c $(pkg-config --cflags --libs $kind)
    [ "$(as worker /tmp/worker)" -ge 3 ] || fail "a program linked with $kind does not work"
done

# ---- as a user of Python would, without NumPy and with it
cat >/tmp/worker.py <<'END'
import sw
with sw.Client() as client, client.model("tiny") as model, model.component("layer_0") as layer:
    bias = layer["output.dense.bias"]
    print(sw.version(), type(bias).__module__, len(bias))
    del bias
END
said=$(cd / && as worker python3 /tmp/worker.py) || fail "python3-sw does not work without NumPy"
[[ $said == "$(dpkg-query -W -f='${Version}' libsw1) builtins "* ]] || fail "python3 said $said"
[ -f /usr/lib/python3/dist-packages/__pycache__/sw.cpython-*.pyc ] || fail "python3-sw is not compiled"
apt-get -qq install -y --no-install-recommends python3-numpy >/dev/null 2>&1 || fail "apt-get cannot install NumPy"
said=$(cd / && as worker python3 /tmp/worker.py) || fail "python3-sw does not work with NumPy"
[[ $said == *" numpy "* ]] || fail "python3 said $said"
apt-get -qq purge -y --autoremove python3-numpy >/dev/null 2>&1
kill $broker
wait $broker || fail "the broker ended with $?: $(cat /tmp/broker.log)"

# ---- the units, where they are when installed
units=$(dpkg -L swbroker sw-tools | sed -n 's#^/usr/lib/systemd/system/##p' | sed 's/@\./@1./')
grep -q swbrokerd.service <<<"$units" || fail "the packages have no units"
said=$(systemd-analyze verify --man=no $units 2>&1) ||
    fail "systemd-analyze verify: $said"
[ -z "$said" ] || fail "systemd-analyze verify is not silent: $said"
[ -L /etc/systemd/system/sockets.target.wants/swbrokerd.socket ] || fail "swbrokerd.socket is not enabled"
[ ! -e /etc/systemd/system/sockets.target.wants/swbert.socket ] || fail "swbert.socket is enabled, unasked"

# ---- away with it
rm -r /var/lib/swbroker/tiny /tmp/worker /tmp/worker.c /tmp/worker.py
userdel worker
userdel stranger
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
