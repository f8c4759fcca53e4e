# shellcheck shell=bash
# The part of the run that stays outside of the sandboxes: packages, starting cases, counting.

passed=0 failed=0 skipped=0 sandbox=
CASE_SECONDS=${CASE_SECONDS:-120}

die() {
    echo "tests/runtimes: $*" >&2
    exit 2
}

# Debian packages by a file that each brings.
install_packages() {
    local missing=() package file
    while read -r package file; do
        [[ -e $file ]] || missing+=("$package")
    done <<'LIST'
podman /usr/bin/podman
containerd /usr/bin/containerd
runc /usr/sbin/runc
containernetworking-plugins /usr/lib/cni/host-local
busybox-static /bin/busybox
nftables /usr/sbin/nft
iptables /usr/sbin/iptables
iproute2 /usr/sbin/ip
jq /usr/bin/jq
socat /usr/bin/socat
python3-grpcio /usr/lib/python3/dist-packages/grpc/__init__.py
LIST
    ((${#missing[@]})) || return 0
    echo "installing missing packages: ${missing[*]}"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        "${missing[@]}" >&2 || die "apt-get install ${missing[*]} failed"
}

# Runs one case in a sandbox and counts the lines it prints. The pid namespace dies with the
# sandbox, and the sandbox with this process: no runtime, shim or container outlives the case.
run_case() {
    local here=$1 name=$2 lines status=0 began=$SECONDS
    export CGROUP_PARENT=/offramp-runtimes.$$.$name
    echo "# case $name ($PLUGIN)"
    exec {lines}< <(
        exec setpriv --pdeathsig KILL \
            unshare --net --mount --pid --ipc --uts --fork --mount-proc --kill-child -- \
            bash "$here/lib/inner.bash" "$here/cases/$name" 2>&1 </dev/null
    )
    sandbox=$!
    count_lines "$lines" "$((began + CASE_SECONDS))" ||
        echo "    nothing more was heard within the $CASE_SECONDS s that a case may take"
    sandbox_end || status=$?
    exec {lines}<&-
    if ((status)); then
        ((++failed))
        echo "FAIL $name: the case ended early (exit $status)"
    fi
    echo "# case $name took $((SECONDS - began)) s"
}

# Prints and counts the lines of a file descriptor up to its end; fails at the deadline.
count_lines() {
    local lines=$1 deadline=$2 left line
    while left=$((deadline - SECONDS)); ((left > 0)) && IFS= read -r -t "$left" -u "$lines" line; do
        case $line in
        'ok '*) ((++passed)) ;;
        'FAIL '*) ((++failed)) ;;
        'skip '*) ((++skipped)) ;;
        esac
        printf '%s\n' "$line"
    done
    ((SECONDS < deadline))
}

# Ends the sandbox if it still runs and answers its exit status.
sandbox_end() {
    local status=0
    [[ -n $sandbox ]] || return 0
    kill -KILL "$sandbox" 2>/dev/null || true
    wait "$sandbox" 2>/dev/null || status=$?
    sandbox=
    remove_cgroups
    return "$status"
}

# Cgroups are not namespaced here: what the killed containers left is removed by name, as soon as
# the last of them is gone.
remove_cgroups() {
    local root tries
    for root in /sys/fs/cgroup /sys/fs/cgroup/*; do
        for tries in {1..20}; do
            [[ -d $root$CGROUP_PARENT ]] || continue 2
            find "$root$CGROUP_PARENT" -depth -type d -exec rmdir {} \; 2>/dev/null || true
            sleep "0.0$((tries / 2))"
        done
        echo "FAIL cgroup $root$CGROUP_PARENT stays: it still holds processes"
    done
}

close_with_counts() {
    echo "$passed passed, $failed failed, $skipped skipped"
    ((failed == 0))
}
