# SPDX-License-Identifier: MIT
# bash completion for sw-exporter: its options.
_sw_exporter() {
    local current=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    case ${COMP_WORDS[COMP_CWORD - 1]} in
    --socket) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    --listen) ;;
    *)
        mapfile -t COMPREPLY < <(compgen -W "$("${COMP_WORDS[0]}" --help 2>/dev/null |
            sed -nE 's/^ +(-[a-zA-Z], )?(--[a-z-]+).*/\2/p')" -- "$current")
        ;;
    esac
}

complete -F _sw_exporter sw-exporter
