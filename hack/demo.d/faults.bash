# shellcheck shell=bash
# What goes wrong on a real node, and what becomes of it.

scene_daemon_killed() {
    section "offrampd of node-a is killed (SIGKILL) and comes back"
    local pinging adding
    in_pod client ping -c 120 -i 0.02 "$(address far 6)" >"$WORK/ping.log" 2>&1 &
    pinging=$!
    within 5 grep -q 'bytes from' "$WORK/ping.log"
    check "killed" daemon_kill node-a
    pod_add late >"$WORK/late.log" 2>&1 &
    adding=$!
    try "new connections while it is away" seen_as client "$(address far 4)" 80 far "$(address client 4)"
    check "it starts again" daemon_start node-a
    wait "$adding" || true
    try "an ADD that began meanwhile has waited" has_been_added late
    wait "$pinging" || true
    try "a ping from client to far went on through it" lost_nothing "$WORK/ping.log"
    try "its four attachments are known again" knows_attachments node-a 4
}

daemon_kill() {
    local pid
    pid=$(daemon_pid "$1")
    kill -KILL "$pid"
    ! offrampd "$1" status || fail "it still answers"
    echo "process $pid"
}

has_been_added() {
    address "$1" 4 >/dev/null || fail "$(<"$WORK/$1.log")"
    cat "$WORK/$1.log"
}

lost_nothing() {
    grep -q ' 0% packet loss' "$1" || fail "$(tail -n 3 "$1")"
    grep 'packets transmitted' "$1" | sed 's/, time.*//'
}

knows_attachments() {
    local ready
    ready=$(offrampd "$1" attachments -o json | jq '[.. | .state? | select(. == "ready")] | length')
    ((ready == $2)) || fail "$(offrampd "$1" attachments)"
    echo "$ready ready"
}

scene_repair() {
    section "Somebody deletes what node-a needs; offrampd puts it back"
    try "the route to far's node" repaired ip route delete "${PODS4[node-c]}"
    try "the route to near's node" repaired ip -6 route delete "${PODS6[node-b]}"
    try "the VXLAN device" repaired ip link delete offramp-vxlan
    try "the pods' bridge" repaired ip link delete offramp0
    try "a gateway's address" repaired ip address delete 10.244.1.1/24 dev offramp0
    try "all nftables rules" repaired nft flush ruleset
    try "IPv4: client -> far" pings client "$(address far 4)"
    try "IPv4: client -> web" pings client "$(address web 4)"
    try "IPv6: client -> near" pings client "$(address near 6)"
    try "CNI CHECK of web" pod_check web
    try "CNI CHECK of slow" pod_check slow
    try "hostPort" seen_as outside "${NODE4[node-a]}" 8080 web "$OUTSIDE4"
}

# repaired COMMAND...: on node-a; afterwards all is as it was.
repaired() {
    local before start
    before=$(node_state node-a)
    on node-a "$@"
    start=$(milliseconds)
    within 10 is_as_before node-a "$before"
    echo "back after $(($(milliseconds) - start)) ms"
}

scene_doctor() {
    section "Somebody's firewall on node-a drops what it does not know; offrampd doctor tells"
    try "nothing is wrong with node-a" doctor_says 0 'Nothing is wrong.'
    on node-a nft 'table ip filter { chain FORWARD { type filter hook forward priority filter; policy drop; }; }'
    shows node-a offrampd doctor --config "$WORK/node-a/offrampd.yaml" || true
    echo
    try "that is a fault, by the exit code too" doctor_says 1 'FAULT  pod-traffic-dropped'
    on node-a nft delete table ip filter
    try "nothing is wrong again" doctor_says 0 'Nothing is wrong.'
}

# doctor_says CODE TEXT: of node-a.
doctor_says() {
    local out code=0
    out=$(offrampd node-a doctor --config "$WORK/node-a/offrampd.yaml") || code=$?
    [[ $code == "$1" && $out == *"$2"* ]] || fail "exit code $code: $out"
    echo "exit code $code"
}
