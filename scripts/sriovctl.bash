# Completion of sriovctl where there is no argcomplete: commands, options, and names that it has seen.

_sriovctl() {
    local IFS=$'\n'
    # shellcheck disable=SC2207 # the words have no wildcards
    COMPREPLY=($(sriovctl __complete "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
    [ $? -ne 3 ] || compopt -o default
}

complete -F _sriovctl sriovctl
