# shellcheck shell=bash
# What pods are promised, one scene each.

scene_pods() {
    section "Pods: the plugin is called as a container runtime calls it (CNI 1.1.0, ADD)"
    local pod
    check "web on node-a, hostPort 8080" pod_add web \
        '{"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}'
    check "slow on node-a, 20 Mbit/s in, 10 out" pod_add slow \
        '{"bandwidth": {"ingressRate": 20000000, "ingressBurst": 1000000,
                        "egressRate": 10000000, "egressBurst": 1000000}}'
    for pod in client near far; do
        check "$pod on ${POD_NODE[$pod]}" pod_add "$pod"
    done
}

# talk FROM TO: both families; that TO saw FROM's own address shows that nothing was masqueraded.
talk() {
    local from=$1 to=$2 family
    for family in 4 6; do
        try "IPv$family: ping" pings "$from" "$(address "$to" "$family")"
        try "IPv$family: largest packet" pings_full "$from" "$(address "$to" "$family")"
        try "IPv$family: TCP, sender's address kept" seen_as "$from" "$(address "$to" "$family")" 80 "$to" \
            "$(address "$from" "$family")"
        try "IPv$family: TCP" tcp "$from" "$(address "$to" "$family")"
    done
}

scene_same_node() {
    section "Same node: client -> web"
    talk client web
}

scene_direct() {
    section "Another node on the same subnet, direct: client (node-a) -> near (node-b)"
    local before
    before=$(tunnelled node-a)
    talk client near
    try "nothing of it went through the tunnel" tunnelled_since "$before" -eq
}

scene_vxlan() {
    section "A node behind a router, VXLAN: client (node-a) -> far (node-c)"
    local before
    before=$(tunnelled node-a)
    talk client far
    try "all of it went through the tunnel" tunnelled_since "$before" -gt
}

# tunnelled_since BEFORE -eq|-gt
tunnelled_since() {
    local packets=$(($(tunnelled node-a) - $1))
    test "$packets" "$2" 0 || fail "$packets packets went through the tunnel"
    echo "offramp-vxlan sent $packets packets"
}

scene_outside() {
    section "To the outside, which has no route to pods: masqueraded"
    try "IPv4: client -> outside" seen_as client "$OUTSIDE4" 80 outside "${NODE4[node-a]}"
    try "IPv6: client -> outside" seen_as client "$OUTSIDE6" 80 outside "${NODE6[node-a]}"
    try "IPv4: far -> outside" seen_as far "$OUTSIDE4" 80 outside "${NODE4[node-c]}"
}

scene_host_port() {
    section "hostPort: port 8080 of node-a leads to port 80 of web"
    try "IPv4: from the outside, its address kept" seen_as outside "${NODE4[node-a]}" 8080 web "$OUTSIDE4"
    try "IPv6: from the outside, its address kept" seen_as outside "${NODE6[node-a]}" 8080 web "$OUTSIDE6"
    try "IPv4: from the node itself" seen_as node-a "${NODE4[node-a]}" 8080 web
    try "IPv6: from the node itself" seen_as node-a "${NODE6[node-a]}" 8080 web
    try "IPv4: from the node itself, by 127.0.0.1" seen_as node-a 127.0.0.1 8080 web
    try "IPv4: from a pod of another node" seen_as far "${NODE4[node-a]}" 8080 web
    try "IPv4: from web itself" seen_as web "${NODE4[node-a]}" 8080 web
}

scene_bandwidth() {
    section "Bandwidth limits of slow, by a second of TCP each"
    try "into the pod, limit 20 Mbit/s" limited 20 client "$(address slow 4)"
    try "out of the pod, limit 10 Mbit/s" limited 10 client "$(address slow 6)" --reverse
}

# limited MBITS FROM ADDRESS [OPTION...]: what the burst lets pass at first counts too.
limited() {
    local limit=$1 kbits
    shift
    kbits=$(rate "$@") || fail "$kbits"
    ((kbits >= limit * 600 && kbits <= limit * 1250)) || fail "iperf3: $(decimal "$kbits") Mbit/s"
    echo "iperf3: $(decimal "$kbits") Mbit/s"
}

scene_looks() {
    section "What node-a says of itself"
    shows node-a offrampd status
    shows node-a offrampd nics
    shows node-a offrampd attachments
    shows node-a offrampd explain demo/web
}

# scene_delete STATE: of node-a before the first pod.
scene_delete() {
    section "DEL, twice for each pod"
    local pod
    for pod in web client slow late near far; do
        try "$pod" pod_del "$pod"
    done
    try "nothing is left on node-a" is_as_before node-a "$1"
}

# is_as_before NODE STATE
is_as_before() {
    local now
    now=$(node_state "$1")
    [[ $now == "$2" ]] || fail "$(diff <(echo "$2") <(echo "$now"))"
    echo "links, routes, neighbours, qdiscs, nftables, records as before"
}
