#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs the Debian 12 packages that building needs, when any is missing.
#   bash broker/dependencies.sh [--tests] [--fuzz]
set -euo pipefail
packages=(gcc g++ cmake ninja-build pkg-config liburing-dev libxxhash-dev libblis-serial-dev
    libjansson-dev libinih-dev libutf8proc-dev libzip-dev libsystemd-dev libhiredis-dev libssl-dev
    libmicrohttpd-dev)
if [ "${1:-}" = --tests ]; then
    packages+=(libcriterion-dev mandoc python3 python3-numpy spin redis-server redis-tools openssl strace
        systemd clang-format)
fi
case " $* " in # libFuzzer and clang's sanitizers
*" --fuzz "*) packages+=(clang libclang-rt-14-dev) ;;
esac
missing=()
for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] ||
        missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
as_root=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        echo "dependencies: these packages are missing, and installing them needs root: ${missing[*]}" >&2
        exit 1
    }
    as_root=sudo
fi
# Debian starts a freshly installed redis-server as a service; the tests start their own.
quiet=
if [[ " ${missing[*]} " == *" redis-server "* ]] && [ -d /run/systemd/system ]; then
    quiet=redis-server
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
$as_root apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
if [ -n "$quiet" ]; then
    $as_root systemctl disable --now --quiet "$quiet"
fi
