# shellcheck shell=bash
# One line per check: `ok NAME`, `FAIL NAME: reason`, `skip NAME: reason`.

# check NAME COMMAND...: the command's last lines are the reason when it fails. `set -e` holds
# inside of it, which it would not in a condition.
check() {
    local name=$1 out status
    shift
    set +e
    out=$(
        set -e
        "$@" 2>&1
    )
    status=$?
    set -e
    if ((status == 0)); then
        echo "ok $name"
    else
        echo "FAIL $name: $(tail -n 4 <<<"${out:-exit $status of: $*}" | tr '\n' ' ')"
    fi
    return 0
}

# As check, but the case cannot go on after a failure: the logs follow and the case ends.
need() {
    local line log
    line=$(check "$@")
    echo "$line"
    [[ $line == ok\ * ]] && return
    for log in "$LOG" /run/offramp/offramp.log; do
        [[ ! -s $log ]] || tail -n 20 "$log" | sed 's/^/    /'
    done
    exit 1
}

skip() { echo "skip $1: $2"; }

# Ends the check it is called in, even where `set -e` is off because a condition encloses it.
fail() {
    echo "$*"
    exit 1
}

# refused PATTERN COMMAND...: the command must fail, and say why in words that match PATTERN.
refused() {
    local pattern=$1 out
    shift
    if out=$("$@" 2>&1); then fail "expected a refusal, but this succeeded: $*"; fi
    grep -Eq -- "$pattern" <<<"$out" || fail "refused, but not for /$pattern/: $out"
}

# Tries a command for up to SECONDS; its last output is what a failure shows.
within() {
    local end=$((SECONDS + $1)) out
    shift
    until out=$("$@" 2>&1); do
        ((SECONDS < end)) || fail "gave up waiting for: $* ($out)"
        sleep 0.05
    done
    printf '%s' "$out"
}
