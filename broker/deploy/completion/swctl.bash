# SPDX-License-Identifier: MIT
# bash completion for swctl: commands and options from its --help, models and components from the running
# broker. A broker that does not answer delays completion by a second.

# Offers the candidates on stdin, one per line, that begin with $1. Names come from directories and may
# hold anything: they are never evaluated, and are quoted on output.
_swctl_offer() {
    local word
    while IFS= read -r word; do
        [[ $word == "$1"* ]] && COMPREPLY+=("$(printf '%q' "$word")")
    done
}

# Runs swctl with the program and the --socket of the command line.
_swctl_ask() {
    local i socket=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ ${COMP_WORDS[i]} == --socket ]] && socket=(--socket "${COMP_WORDS[i + 1]}")
    done
    "${COMP_WORDS[0]}" "${socket[@]}" "$@" 2>/dev/null
}

_swctl() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} verb='' i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --socket | --timeout) ((i++)) ;;
        -*) ;;
        *) verb=${COMP_WORDS[i]} && break ;;
        esac
    done
    case $before in
    --socket)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    --timeout | --interval | --size) return ;;
    --sort) _swctl_offer "$current" < <(printf '%s\n' name state size hits pins last next place) && return ;;
    --format) _swctl_offer "$current" < <(printf '%s\n' table json prometheus) && return ;;
    esac
    if [[ $current == -* ]]; then
        _swctl_offer "$current" < <(
            { _swctl_ask --help; [[ -n $verb ]] && _swctl_ask "$verb" --help; } |
                sed -nE 's/^ +(-[a-zA-Z], )?(--[a-z-]+).*/\2/p' | sort -u)
        return
    fi
    case $verb in
    '') _swctl_offer "$current" < <(_swctl_ask --help | awk '/^  [a-z]/ {print $1}') ;;
    trace) _swctl_offer "$current" < <(echo status) ;;
    *)
        case $(_swctl_ask "$verb" --help | head -n 1) in
        *'MODEL[/COMPONENT]'*)
            if [[ $current == */* ]]; then
                _swctl_offer "$current" < <(_swctl_ask --timeout 1 ls --names)
            else
                _swctl_offer "$current" < <(_swctl_ask --timeout 1 models --names)
            fi
            ;;
        *MODEL*) _swctl_offer "$current" < <(_swctl_ask --timeout 1 models --names) ;;
        esac
        ;;
    esac
}

complete -F _swctl swctl
