#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs into a directory, moves it, and builds programs outside the project from there: C and C++, shared
# and static, by pkg-config and by CMake's find_package.
#   package.sh BUILD_DIR SOURCE_DIR CC CXX VERSION
set -euo pipefail
shopt -s extglob
build=$(cd "$1" && pwd) source=$(cd "$2" && pwd) cc=$3 cxx=$4 version=$5
work=$(mktemp -d /tmp/sw-package.XXXXXX)
trap 'rm -rf "$work"' EXIT
fail() {
    echo "package: $*" >&2
    exit 1
}

cmake --install "$build" --prefix "$work/first" >/dev/null
outside=$(grep -v "^$work/first/" "$build/install_manifest.txt" || true)
[ -z "$outside" ] || fail "installed outside the prefix: $outside"

# ---- every file is in exactly one Debian package, whose patterns know only /usr and /etc
declare -A packages
for list in "$source"/broker/deploy/debian/*.install; do
    while read -r pattern _; do
        packages[${pattern/#usr\/lib\/\*/usr\/lib}]+=" ${list##*/}"
    done <"$list"
done
while read -r file; do
    path=${file#"$work/first/"}
    [[ $path == etc/* ]] || path=usr/${path/#lib\/*-linux-*([!\/])\//lib\/}
    found=
    for pattern in "${!packages[@]}"; do
        # shellcheck disable=SC2053 # a pattern
        if [[ $path == $pattern || $path == $pattern/* ]]; then found+=" ${packages[$pattern]}"; fi
    done
    [ "$(wc -w <<<"$found")" -eq 1 ] || fail "$path must be in one .install file of Debian's, and is in:${found:- none}"
done < <(grep . "$build/install_manifest.txt")

mv "$work/first" "$work/prefix" # nothing may remember where it was installed
pc=$(find "$work/prefix" -name sw.pc)
export PKG_CONFIG_PATH=${pc%/*}
libraries=$(cd "${pc%/*}/.." && pwd)

# ---- pkg-config
cflags=$(pkg-config --cflags sw)
shared=$(pkg-config --libs sw)
static=$(pkg-config --libs sw-static)
whole=$(pkg-config --static --libs sw)
strict="-Wall -Wextra -Wpedantic -Werror"
# shellcheck disable=SC2086 # flags are words
{
    "$cc" -std=c99 $strict -o "$work/c-shared" "$source/tests/package/consumer.c" $cflags $shared
    "$cc" -std=c99 $strict -o "$work/c-static" "$source/tests/package/consumer.c" $cflags $static
    "$cc" -std=c99 $strict -static -o "$work/c-whole" "$source/tests/package/consumer.c" $cflags $whole
    "$cxx" -std=c++17 $strict -x c++ -o "$work/cxx-shared" "$source/tests/package/consumer.c" -x none $cflags $shared
    "$cxx" -std=c++17 $strict -x c++ -o "$work/cxx-static" "$source/tests/package/consumer.c" -x none $cflags $static
}

# ---- CMake
mkdir "$work/project"
cat >"$work/project/CMakeLists.txt" <<EOF
cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES C CXX)
find_package(sw ${version%%.*} REQUIRED)
configure_file($source/tests/package/consumer.c consumer.cc COPYONLY)
foreach(kind sw static)
  add_executable(c-\${kind} $source/tests/package/consumer.c)
  add_executable(cxx-\${kind} \${CMAKE_CURRENT_BINARY_DIR}/consumer.cc)
  set_target_properties(cxx-\${kind} PROPERTIES CXX_STANDARD 17)
  target_link_libraries(c-\${kind} sw::\${kind})
  target_link_libraries(cxx-\${kind} sw::\${kind})
endforeach()
EOF
cmake -G Ninja -S "$work/project" -B "$work/project/build" -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" \
    -DCMAKE_PREFIX_PATH="$work/prefix" >"$work/cmake.log" 2>&1 &&
    cmake --build "$work/project/build" >>"$work/cmake.log" 2>&1 || fail "$(cat "$work/cmake.log")"

# ---- what came out
expected="$version 1 1"
for program in "$work"/{c,cxx}-{shared,static} "$work/c-whole" "$work"/project/build/{c,cxx}-{sw,static}; do
    said=$(LD_LIBRARY_PATH=$libraries "$program") || fail "$program failed"
    [ "$said" = "$expected" ] || fail "$program said $said, not $expected"
done
for program in "$work"/{c,cxx}-static "$work/c-whole" "$work"/project/build/{c,cxx}-static; do
    readelf -d "$program" | grep -q 'NEEDED.*libsw' && fail "$program needs libsw.so"
    nm -g --defined-only "$program" | grep -Eq ' (sgemm_|cblas_sgemm|bli_|swi_)' &&
        fail "$program got symbols of BLIS, or internal ones"
done
readelf -d "$work/c-shared" | grep -q 'NEEDED.*\[libsw\.so\.1\]' || fail "c-shared does not need libsw.so.1"
readelf -V "$work/c-shared" | grep -q 'Name: SW_1 ' || fail "c-shared does not ask for a version of the symbols"
readelf -d "$libraries/libsw.so" | grep -q 'SONAME.*\[libsw\.so\.1\]' || fail "libsw.so has another SONAME"
nm -D --defined-only "$libraries/libsw.so" | grep -Eq ' (sgemm_|cblas_sgemm)' && fail "libsw.so exports BLAS"

# ---- the manual, a page by each function's name
manual=$work/prefix/share/man
functions=0
while read -r function; do
    page=$manual/man3/$function.3
    [ -f "$page" ] || fail "there is no page $function(3)"
    target=$manual/$(sed -n 's/^\.so //p' "$page")
    grep -q "^\.Fo $function\$" "$target" || fail "$function(3) leads to ${target#"$manual"/}, which does not tell of it"
    functions=$((functions + 1))
done < <(nm -D --defined-only "$libraries/libsw.so" | sed -n 's/.* T \(sw_[a-z_]*\).*/\1/p')
[ "$functions" -ge 40 ] || fail "only $functions functions found: the search itself is broken"

# ---- Python, which is to find the library beside itself
python=$work/prefix/lib/python3/dist-packages
said=$(cd / && env -u SW_LIBRARY PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$python" python3 -c \
    'import sw, _sw; print(sw.version(), _sw.library._name)') || fail "sw.py cannot be imported"
[[ $said == "$version $work/prefix/"* ]] || fail "sw.py said $said"
echo "package: 9 consumers of $version built and ran; $functions functions have a page"
