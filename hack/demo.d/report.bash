# shellcheck shell=bash
# What the demo and the cluster print: sections, steps, and a line per check with its outcome.

passed=0 failed=0
bold='' green='' red='' dim='' plain=''
if [[ (-t 1 || -n ${COLOR-}) && -z ${NO_COLOR-} ]]; then
    bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' dim=$'\e[2m' plain=$'\e[0m'
fi

die() {
    echo "hack/${PROGRAM:-demo}: $*" >&2
    exit 2
}

section() { printf '\n%s%s%s\n' "$bold" "$1" "$plain"; }

say() { printf '  %s\n' "$*"; }

# check TITLE COMMAND...: one line, with what the command printed last. All it printed goes to the log.
check() {
    judge "$@"
    return "$((status != 0))"
}

# As check, for what the demo can go on without.
try() { judge "$@"; }

# Sets status. `set -e` holds inside of the command, so this must not be called in a condition, where it would not.
judge() {
    local title=$1 out
    shift
    set +e
    out=$(
        set -e
        "$@" 2>&1
    )
    status=$?
    set -e
    printf '== %s (exit %s): %s\n%s\n' "$title" "$status" "$*" "$out" >>"$WORK/checks.log"
    if ((status == 0)); then
        ((++passed))
        printf '  %s✓%s %-44s %s%s%s\n' "$green" "$plain" "$title" "$dim" "${out##*$'\n'}" "$plain"
    else
        ((++failed))
        printf '  %s✗ %s%s\n' "$red" "$title" "$plain"
        tail -n 6 <<<"${out:-exit $status of: $*}" | sed 's/^/      /'
    fi
}

# shows MACHINE COMMAND...: the command as one would type it there, and what it prints.
shows() {
    printf '\n  %s%s# %s%s\n' "$dim" "$1" "${*:2}" "$plain"
    on "$@" 2>&1 | sed 's/^/  /'
}

# Ends the check it is called in.
fail() {
    echo "$*"
    exit 1
}

# within SECONDS COMMAND...: tries until the command succeeds, and prints what it printed last. An emulated machine
# gets PATIENCE times as long.
within() {
    local end=$((SECONDS + $1 * ${PATIENCE:-1})) out
    shift
    until out=$("$@" 2>&1); do
        ((SECONDS < end)) || fail "gave up waiting for: $* ${out:+($out)}"
        sleep 0.02
    done
    [[ -z $out ]] || echo "$out"
}

milliseconds() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

closing() {
    section "$((passed + failed)) checks: $passed passed, $failed failed, in $SECONDS s"
    ((failed == 0))
}
