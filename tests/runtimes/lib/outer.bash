# shellcheck shell=bash
# The part of the run that stays outside of the sandboxes: packages, starting cases, counting.

passed=0 failed=0 skipped=0
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

# Runs one case in a sandbox and counts the lines it prints. The pid namespace dies with its
# first process, so that no runtime, shim or container outlives the case, nor its deadline.
run_case() {
    local here=$1 name=$2 line status=0 began=$SECONDS
    export CGROUP_PARENT=/offramp-runtimes.$$.$name
    echo "# case $name ($PLUGIN)"
    while IFS= read -r line; do
        case $line in
        'ok '*) ((++passed)) ;;
        'FAIL '*) ((++failed)) ;;
        'skip '*) ((++skipped)) ;;
        'exit '*)
            status=${line#exit }
            continue
            ;;
        esac
        printf '%s\n' "$line"
    done < <(
        timeout --foreground "$CASE_SECONDS" \
            unshare --net --mount --pid --ipc --uts --fork --mount-proc --kill-child -- \
            bash "$here/lib/inner.bash" "$here/cases/$name" 2>&1 </dev/null &&
            echo "exit 0" || echo "exit $?"
    )
    if ((status)); then
        ((++failed))
        echo "FAIL $name: the case ended early (exit $status)"
    fi
    remove_cgroups
    echo "# case $name took $((SECONDS - began)) s"
}

# Cgroups are not namespaced here: what the killed containers left is removed by name.
remove_cgroups() {
    local root
    [[ -n ${CGROUP_PARENT:-} ]] || return 0
    for root in /sys/fs/cgroup /sys/fs/cgroup/*; do
        [[ -d $root$CGROUP_PARENT ]] || continue
        find "$root$CGROUP_PARENT" -depth -type d -exec rmdir {} \; 2>/dev/null ||
            echo "FAIL cgroup $root$CGROUP_PARENT stays: it still holds processes"
    done
}

close_with_counts() {
    echo "$passed passed, $failed failed, $skipped skipped"
    ((failed == 0))
}
