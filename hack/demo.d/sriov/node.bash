# shellcheck shell=bash disable=SC2034,SC2153,SC2154 # the other parts use what is set here, and set what is used
# A virtual machine as a node: its NIC's PF is the uplink, its VFs are for pods.

me=node-$NODE
NODES=(node-a node-b)
PF=nic0
declare -A NODE4=([node-a]=192.0.2.1 [node-b]=192.0.2.2)
declare -A NODE6=([node-a]=2001:db8:1::1 [node-b]=2001:db8:1::2)
declare -A PODS4=([node-a]=10.244.1.0/24 [node-b]=10.244.2.0/24)
declare -A PODS6=([node-a]=fd00:244:1::/64 [node-b]=fd00:244:2::/64)

draw() {
    section "Two nodes, dual stack, each with a NIC of 4 VFs (emulated Intel 82576, driver igb)"
    cat <<'DRAWING'

      node-a                                   node-b
      192.0.2.1  2001:db8:1::1                 192.0.2.2  2001:db8:1::2
    ┌─ pods 10.244.1.0/24 ────────────┐      ┌─ pods 10.244.2.0/24 ─┐
    │ plain  fallback     bridge      │      │ far      bridge      │
    │ fast-1  fast-2      VF as eth0  │      │ far-vf   VF as eth0  │
    │ left  right         VF as net1  │      │                      │
    └────────────────┬────────────────┘      └──────────┬───────────┘
                nic0 └─────────── one wire ─────────────┘ nic0
DRAWING
}

# The machine is the node: its first process has the namespaces.
machine_is_node() {
    mkdir -p "$WORK/$me"
    echo 1 >"$WORK/$me/pid"
}

vm_uplink() {
    machine_is_node
    ip address add "${NODE4[$me]}/24" dev "$PF"
    ip address add "${NODE6[$me]}/64" dev "$PF" nodad
    ip route add default via 192.0.2.254
    ip -6 route add default via 2001:db8:1::ff
    echo "$PF, $(<"/sys/class/net/$PF/device/sriov_numvfs") VFs, ${NODE4[$me]}, ${NODE6[$me]}"
}

vm_start() {
    peers_file >"$WORK/$me/peers.yaml"
    cat >"$WORK/$me/offrampd.yaml" <<YAML
cluster:
  source: standalone
  podCIDRs: [${PODS4[$me]}, "${PODS6[$me]}"]
  peersFile: $WORK/$me/peers.yaml
pools:
  - name: fast                      # for the pod network
    selectors: [{pfNames: ["$PF#0-1"]}]
    policy: {namespaces: [demo], eth0: true}
  - name: telco                     # for further interfaces
    selectors: [{pfNames: ["$PF#2-3"]}]
    policy: {namespaces: [demo], vlans: [100-199]}
YAML
    daemon_start "$me"
}

# All that the daemon does by itself is done. The first rules have the kernel load modules, which takes long here.
is_settled() {
    offrampd "$me" status -o json |
        jq -er '[.reconcile[] | select(.health.state == "ok").name] | select(contains(["bridge", "firewall", "nics"])) |
            "\(join(", ")): ok"' ||
        fail "$(offrampd "$me" status -o json | jq -c .problems)"
}

peer_is_reached() {
    offrampd "$me" status -o json |
        jq -er '.overlay.peers[0] | select(.health.state == "ok") | "\(.name): \(.path)"' ||
        fail "$(offrampd "$me" status -o json | jq -c .overlay.peers)"
}

# Node b's part.
other_node() {
    check "uplink" vm_uplink
    check "offrampd" vm_start
    check "bridge, rules, NIC" within 30 is_settled
    check "far" pod_add far
    check "far-vf" pod_add far-vf "$(annotated '{"offramp.dev/offload": "required"}')"
}

other_is_ready() {
    barrier ready
    [[ ! -e $WORK/node-b.failed ]] || fail "$(<"$WORK/node-b.out")"
    sed -n 's/.*✓ //p' "$WORK/node-b.out" | tail -n 2 | tr -s ' ' | paste -s -d ';'
}

# For whoever looks for the reason of a failure.
vm_save() {
    {
        offrampd "$me" status
        offrampd "$me" nics -o wide
        offrampd "$me" attachments -o wide
        vfs_state
        set -x
        ip -d address
        ip route
        ip -6 route
        ip neighbour
        bridge fdb
        nft list ruleset
        dmesg | tail -n 50
    } >"$WORK/$me/state.txt" 2>&1 || true
    cp -a /run/offramp "$WORK/$me/run" 2>/dev/null || true
}
