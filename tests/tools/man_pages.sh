#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Holds the manual pages to mandoc's lint, and the options of each program's --help to its page and back.
#   bash tests/tools/man_pages.sh SOURCE_DIR BUILD_DIR PAGE...
set -euo pipefail
source_dir=$1 build_dir=$2
shift 2
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

for page in "$@"; do
    file=$source_dir/man/$page
    [ -f "$file" ] || { complain "$page is listed and does not exist"; continue; }
    if command -v mandoc >/dev/null; then
        # Other pages of the project are not installed where this runs.
        lint=$(mandoc -Tlint "$file" 2>/dev/null | grep -v 'referenced manual not found' || true)
        [ -z "$lint" ] || complain "$lint"
    else
        echo "man_pages: no mandoc here: $page is not linted"
    fi
    program=$build_dir/${page%.*}
    [ -f "$program" ] && [ -x "$program" ] || continue
    help=$("$program" --help)
    # Programs with commands of their own have help on each of them.
    while read -r command; do
        help+=$'\n'$("$program" "$command" --help 2>/dev/null || true)
    done < <(awk '/^  [a-z]/ {print $1}' <<<"$help")
    missing=$(comm -23 <(options_of_help <<<"$help") <(options_of_page "$file"))
    [ -z "$missing" ] || complain "$page does not tell of" $missing
    unknown=$(comm -13 <(options_of_help <<<"$help") <(options_of_page "$file"))
    [ -z "$unknown" ] || complain "$page tells of what ${page%.*} --help does not:" $unknown
done
exit $failed
