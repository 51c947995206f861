#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Lint the manual pages with mandoc, compare the options of each program's --help with its page, resolve
# references between the pages, and check sw-errors(7) against the header and sw-internals(7) against the tree.
#   bash tests/tools/man_pages.sh SOURCE_DIR BUILD_DIR PAGE...
set -euo pipefail
source_dir=$1 build_dir=$2
shift 2
command -v mandoc >/dev/null || {
    echo "man_pages: skipped: mandoc is not installed"
    exit 77
}
failed=0
complain() {
    echo "man_pages: $*" >&2
    failed=1
}

# --word, as a program's help or a page spells options
options_of_help() {
    grep -oE -e '(^|[ ,|[(])--[a-z][a-z0-9-]*' | grep -oE -e '--[a-z][a-z0-9-]*' | sort -u
}
options_of_page() {
    grep -oE -e '(Fl|\|) -[a-z][a-z0-9-]*' "$1" | sed -E 's/^[^ ]+ -/--/' | sort -u
}

known=" $(sed -n 's/^\.Fo \(sw_[a-z_]*\)/\1.3/p' "$source_dir"/man/*.3 | tr '\n' ' ')$* "
for page in "$@"; do
    file=$source_dir/man/$page
    [ -f "$file" ] || { complain "$page is listed but does not exist"; continue; }
    # The project's other pages need not be installed here.
    lint=$(mandoc -Tlint "$file" 2>/dev/null | grep -v 'referenced manual not found' || true)
    [ -z "$lint" ] || complain "$lint"
    while read -r reference; do
        [[ $known == *" $reference "* ]] || complain "$page refers to $reference, which does not exist"
    done < <(sed -nE 's/^\.Xr (libsw|sw[a-z_.-]*) ([1-8]).*/\1.\2/p' "$file" | sort -u)
    program=$build_dir/${page%.*}
    [ -f "$program" ] && [ -x "$program" ] || continue
    help=$("$program" --help)
    # A program with commands has a help text for each.
    while read -r command; do
        help+=$'\n'$("$program" "$command" --help 2>/dev/null || true)
    done < <(awk '/^  [a-z]/ {print $1}' <<<"$help")
    missing=$(comm -23 <(options_of_help <<<"$help") <(options_of_page "$file"))
    [ -z "$missing" ] || complain "$page lacks" $missing
    unknown=$(comm -13 <(options_of_help <<<"$help") <(options_of_page "$file"))
    [ -z "$unknown" ] || complain "$page has options that ${page%.*} --help lacks:" $unknown
done

# ---- every error code is explained, and every path exists
in_header=$(grep -oE '^    SW_E[A-Z]+ = -[0-9]+' "$source_dir/include/sw/base.h" | sed -E 's/^ *//; s/ = / /' | sort)
in_page=$(sed -nE 's/^\.It Dv (SW_E[A-Z]+) Pq \\(-[0-9]+)$/\1 \2/p' "$source_dir/man/sw-errors.7" | sort)
[ "$(wc -l <<<"$in_header")" -ge 17 ] || complain "base.h: few error codes found: the search itself is broken"
[ "$in_header" = "$in_page" ] ||
    complain "sw-errors.7 and include/sw/base.h differ:" $'\n'"$(diff <(echo "$in_header") <(echo "$in_page"))"
internals=$source_dir/man/sw-internals.7
while read -r path; do
    [ -e "$source_dir/$path" ] || complain "sw-internals.7 names $path, which does not exist"
done < <(sed -nE 's/^\.(It )?Pa ([^ ]+).*/\2/p' "$internals")
while read -r file; do
    compgen -G "$source_dir/*/$file" >/dev/null || compgen -G "$source_dir/*/*/$file" >/dev/null ||
        complain "sw-internals.7 draws $file, which does not exist"
done < <(sed '/^\./d' "$internals" | grep -oE '[a-z_]+(/[a-z_]+)*\.[ch]' | sort -u)
exit $failed
