# shellcheck shell=bash disable=SC2154 # the other parts set what is used
# What pods with VFs are promised, one scene each.

scene_inventory() {
    section "What offrampd knows of the NIC"
    shows node-a offrampd nics -o wide
}

scene_pods() {
    section "Pods: CNI ADD, what they want by annotation"
    local required preferred
    required=$(annotated '{"offramp.dev/offload": "required"}')
    preferred=$(annotated '{"offramp.dev/offload": "preferred"}')
    check "plain: nothing" pod_add plain
    check "fast-1: offload required" pod_add fast-1 "$required"
    check "fast-2: offload required" pod_add fast-2 "$required"
    check "fallback: offload preferred" pod_add fallback "$preferred"
    check "left: net1 of pool telco, VLAN 100" pod_add left "$(net1 100 192.168.10.1 fd10::1)"
    check "right: likewise" pod_add right "$(net1 100 192.168.10.2 fd10::2)"
    try "eth0 of fast-1" has_vf fast-1 eth0 0
    try "eth0 of fast-2" has_vf fast-2 eth0 1
    try "net1 of left" has_vf left net1 2
    try "net1 of right" has_vf right net1 3
    try "eth0 of fallback is a veth, since" is_veth fallback
}

# talks FROM TO: both families; that TO saw FROM's own address shows that nothing was masqueraded.
talks() {
    local from=$1 to=$2 family
    for family in 4 6; do
        try "IPv$family: $from -> $to, ping" pings "$from" "$(address "$to" "$family")"
        try "IPv$family: $from -> $to, TCP" seen_as "$from" "$(address "$to" "$family")" 80 "$to" \
            "$(address "$from" "$family")"
    done
}

scene_vf_talks() {
    section "VF as eth0 <-> bridge pod of this node"
    talks fast-1 plain
    talks plain fast-1
    section "VF as eth0 <-> VF as eth0: the NIC's switch is the wire"
    talks fast-1 fast-2
    section "VF as eth0 <-> the node"
    local address
    answers_its_name node-a >/dev/null
    for address in "${NODE4[node-a]}" "${NODE6[node-a]}"; do
        try "fast-1 -> $address, TCP" seen_as fast-1 "$address" 80 node-a
    done
    try "IPv4: node -> fast-1, TCP" seen_as node-a "$(address fast-1 4)" 80 fast-1
    try "IPv6: node -> fast-1, TCP" seen_as node-a "$(address fast-1 6)" 80 fast-1
    section "VF as eth0 -> pods of node-b, over the wire"
    talks fast-1 far
    talks fast-1 far-vf
    talks plain far-vf
}

scene_vlan() {
    section "VF as net1: left <-> right in VLAN 100, which the NIC tags"
    shows node-a ip link show dev "$PF"
    try "IPv4: left -> right, ping" pings left 192.168.10.2
    try "IPv4: left -> right, TCP" seen_as left 192.168.10.2 80 right 192.168.10.1
    try "IPv6: right -> left, ping" pings right fd10::1
    try "IPv6: right -> left, TCP" seen_as right fd10::1 80 left fd10::2
}

scene_refusals() {
    section "What is refused, as the pod's events show it"
    try "required, but the pool is empty" is_refused hopeful 11 "pool fast" \
        "$(annotated '{"offramp.dev/offload": "required"}')"
    refusal hopeful
    try "VLAN 300, which the pool's policy forbids" is_refused foreign 107 "300" "$(net1 300 192.168.10.3 fd10::3)"
    refusal foreign
}

scene_looks() {
    section "What node-a says of itself"
    shows node-a offrampd nics
    shows node-a offrampd attachments
    shows node-a offrampd explain demo/fast-1
    shows node-a offrampd explain demo/fallback
    shows node-a offrampd explain demo/left
}

# scene_delete NODE_STATE VFS_STATE: of node-a before the first pod.
scene_delete() {
    section "DEL, twice for each pod"
    local pod
    for pod in plain fast-1 fast-2 fallback left right; do
        try "$pod" pod_del "$pod"
    done
    try "no VF is claimed" within 20 no_claims
    try "every VF is as before" vfs_are_as_before "$2"
    try "nothing is left on node-a" within 5 is_as_before node-a "$1"
}

no_claims() {
    [[ -z $(find /run/offramp/vfs -type f) ]] || fail "$(offrampd node-a nics -o wide)"
    echo "none in /run/offramp/vfs"
}
