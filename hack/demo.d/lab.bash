# shellcheck shell=bash
# The namespaces that all of the demo lives in. A process outside holds them: when it ends, so does everything inside.

lab=

# Unless it is to be kept, the lab ends with this process, however that ends.
lab_start() {
    local tie=(setpriv --pdeathsig KILL)
    [[ -z $KEEP ]] || tie=(setsid)
    "${tie[@]}" unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private -- \
        bash -c 'mount -t tmpfs tmpfs /run && ip link set lo up && exec -a offramp-demo sleep infinity' \
        </dev/null >"$WORK/lab.log" 2>&1 &
    local holder=$!
    within 10 lab_is_up "$holder" >/dev/null
    lab=$(pgrep --parent "$holder")
}

# Its first process has the name once the namespaces are there.
lab_is_up() {
    kill -0 "$1" || die "cannot make namespaces: $(cat "$WORK/lab.log")"
    pgrep --parent "$1" --full '^offramp-demo infinity$'
}

lab_run() { nsenter --target "$lab" --net --mount --pid -- bash "$@"; }

lab_end() {
    [[ -z $lab ]] || kill -KILL "$lab" 2>/dev/null || true
    wait
}

# The node's process as this side of the pid namespace numbers it.
lab_node() { pgrep --ns "$lab" --nslist pid --full "^$1 infinity\$"; }

lab_help() {
    local node
    section "It stands. Look inside"
    for node in node-a node-b node-c; do
        say "nsenter --target $(lab_node "$node") --net --mount --uts --pid    # a shell on $node"
    done
    say "nsenter --target $lab --net --mount --pid          # a shell on the router"
    say "There: $DIST/offrampd status | attachments | explain demo/web"
    say "       ip netns list; ip netns exec web ip address; ip route; nft list ruleset; bridge fdb"
    say "Configurations and logs: $WORK"
    section "End it"
    say "kill -KILL $lab; rm -r $WORK"
}
