# shellcheck shell=bash
# What hack/test and its tiers share: counting, and installing what is missing.
set -o pipefail # a command has failed though its output is piped on

PATH=$PATH:/usr/sbin:/sbin:$HOME/.cargo/bin
export PATH CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
profile=gate
# A fresh clone gains nothing from what the next build could use again.
[[ -z ${CI-} ]] || export CARGO_INCREMENTAL=0

say() { printf -- '-- %s\n' "$*"; }

# count passed|failed|skipped N NAME: N results of this tier. What must not be skipped has failed.
count() {
    local kind=$1 word words
    if [[ $kind == skipped ]]; then
        read -ra words <<<"${OFFRAMP_MUST_NOT_SKIP-}"
        for word in "${words[@]}"; do
            # shellcheck disable=SC2053 # a pattern is meant
            [[ $TIER == "$word" || $3 == $word ]] || continue
            say "FAILED: $3 was skipped, but must not be (OFFRAMP_MUST_NOT_SKIP has $word)"
            kind=failed
            break
        done
    fi
    echo "$TIER $kind $2 $3" >>"$OFFRAMP_TEST_WORK/counts"
}

# sum passed|failed|skipped [TIER]
sum() {
    awk -v kind="$1" -v tier="${2-}" '$2 == kind && (tier == "" || $1 == tier) { n += $3 } END { print n + 0 }' \
        "$OFFRAMP_TEST_WORK/counts"
}

# check NAME COMMAND...: one check; its output is shown if it fails.
check() {
    local began=$SECONDS log=$OFFRAMP_TEST_WORK/check.log
    if "${@:2}" >"$log" 2>&1; then
        count passed 1 "$1"
        printf '   ok      %s (%d s)\n' "$1" "$((SECONDS - began))"
    else
        count failed 1 "$1"
        printf '   FAILED  %s (%d s)\n' "$1" "$((SECONDS - began))"
        sed 's/^/           /' "$log"
    fi
}

# tally NAME COMMAND...: a command that counts by itself, by its last `N passed, N failed[, N skipped]` or, a
# Rust test binary, by each `test result:`. One that counted nothing has failed.
tally() {
    local log=$OFFRAMP_TEST_WORK/tally.log code=0 passed failed skipped line
    say "$1"
    "${@:2}" 2>&1 | tee "$log" || code=$?
    while read -r line; do count skipped 1 "$line"; done < <(skips "$log")
    read -r passed failed skipped < <(awk '
        { gsub(/\033\[[0-9;]*m/, "") }
        /^test result: / { p += $4; f += $6; s += $8 }
        match($0, /[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?/) {
            split(substr($0, RSTART, RLENGTH), n, /[^0-9]+/)
            ours = 1; op = n[1]; of = n[2]; os = n[3]
        }
        END { if (ours) { p += op; f += of; s += os }; print p + 0, f + 0, s + 0 }' "$log")
    ((failed == 0)) || count failed "$failed" "$1: $failed of its tests"
    if ((code != 0 && failed == 0)); then count failed 1 "$1: exit code $code"; fi
    if ((code == 0 && passed + skipped == 0)); then count failed 1 "$1: it ran no test"; fi
    # A Rust test that says SKIP has passed, as far as its binary knows.
    count passed "$((passed - $(skips "$log" | wc -l)))" "$1"
    ((skipped == 0)) || count skipped "$skipped" "$1"
}

# beside FUNCTION WORD...: the function for each word, one beside the other, since an emulated machine keeps one CPU busy.
# What they print and count comes when all have ended.
beside() {
    local word all=$OFFRAMP_TEST_WORK pids=() pid
    for word in "${@:2}"; do
        mkdir -p "$all/$word"
        OFFRAMP_TEST_WORK=$all/$word "$1" "$word" >"$all/$word/log" 2>&1 &
        pids+=("$!")
    done
    for pid in "${pids[@]}"; do wait "$pid" || count failed 1 "a run of VMs ended with exit code $?"; done
    for word in "${@:2}"; do
        cat "$all/$word/log"
        [[ ! -s $all/$word/counts ]] || cat "$all/$word/counts" >>"$all/counts"
    done
}

# A test that cannot run prints `SKIP NAME: REASON`.
skips() { sed -n 's|^\(.*[> ]\)\{0,1\}SKIP \([^ ]*\): .*|\2|p' "$1" | sort -u; }

# nextest NAME ARGUMENT...: runs Rust tests by cargo nextest, and counts by its report, which is in the workspace wherever
# cargo's target folder is.
nextest() {
    local code=0 report=$PWD/target/nextest/$profile/junit.xml tests failures skip skipped=0
    say "$1"
    rm -f "$report"
    cargo nextest run --locked --profile "$profile" --status-level fail --no-tests fail "${@:2}" || code=$?
    if [[ ! -s $report ]]; then
        count failed 1 "$1: no report, exit code $code"
        return
    fi
    tests=$(grep -c '<testcase ' "$report" || true)
    failures=$(sed -n 's/.*<testcase name="\([^"]*\)".*/\1/;t keep;b;:keep;h;n;/<failure\|<error/{x;p}' "$report")
    while read -r skip; do
        [[ -n $skip ]] || continue
        count failed 1 "$skip"
    done <<<"$failures"
    while read -r skip; do
        say "skipped: $skip"
        count skipped 1 "$skip"
        skipped=$((skipped + 1))
    done < <(skips "$report")
    failures=$(grep -c . <<<"$failures" || true)
    count passed "$((tests - failures - skipped))" "$1"
    if ((code != 0 && failures == 0)); then count failed 1 "$1: exit code $code"; fi
}

# need COMMAND:PACKAGE...: installs Debian packages for commands that are missing.
need() {
    local pair missing=()
    for pair; do command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}"); done
    ((${#missing[@]})) || return 0
    say "installs with apt: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get -o DPkg::Lock::Timeout=300 -q -y --no-install-recommends install "${missing[@]}" ||
        { apt-get -q update && apt-get -q -y --no-install-recommends install "${missing[@]}"; }; } \
        >"$OFFRAMP_TEST_WORK/apt.log" 2>&1 || { tail -n 20 "$OFFRAMP_TEST_WORK/apt.log"; return 1; }
}

# need_cargo_tool NAME VERSION: unless some version is there, builds and installs this one; minutes, but once for a
# machine. Unoptimised, since building it would take longer than all its runs.
need_cargo_tool() {
    ! command -v "$1" >/dev/null || return 0
    say "installs $1 $2 with cargo"
    CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=$OFFRAMP_TEST_WORK/$1 \
        cargo install --quiet --locked --debug --version "$2" "$1"
    rm -rf "${OFFRAMP_TEST_WORK:?}/$1"
}
need_nextest() { need_cargo_tool cargo-nextest 0.9.143; }

need_root() {
    ((EUID == 0)) || { say "needs root"; count skipped 1 "$TIER"; exit 0; }
}
