#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Install the Debian 12 packages that the build needs, if any is missing.
#   bash broker/dependencies.sh [--tests] [--clang]
# --tests  also what the tests need
# --clang  also clang, its sanitizers and libFuzzer
set -euo pipefail
packages=(gcc cmake ninja-build pkg-config liburing-dev libxxhash-dev libblis-serial-dev
    libjansson-dev libinih-dev libutf8proc-dev libzip-dev libsystemd-dev libhiredis-dev libssl-dev
    libmicrohttpd-dev)
for option in "$@"; do
    case $option in
    --tests) packages+=(g++ libcriterion-dev mandoc python3 python3-numpy spin redis-server redis-tools
        openssl strace systemd clang-format) ;;
    --clang) packages+=(clang libclang-rt-14-dev) ;;
    *) echo "dependencies: unknown option $option" >&2; exit 2 ;;
    esac
done
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
# Debian starts a newly installed redis-server as a service; the tests start their own.
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
