# shellcheck shell=bash
# A node: a machine with Offramp on it, at the paths of a real one.

declare -A SUBNET=([node-a]=lan [node-b]=lan [node-c]=wan)

node_start() {
    machine "$1"
    plug "$1" "${SUBNET[$1]}" "${NODE4[$1]}" "${NODE6[$1]}"
    peers_file >"$WORK/$1/peers.yaml"
    cat >"$WORK/$1/offrampd.yaml" <<YAML
cluster:
  source: standalone
  podCIDRs: [${PODS4[$1]}, "${PODS6[$1]}"]
  peersFile: $WORK/$1/peers.yaml
YAML
    daemon_start "$1"
    echo "${PODS4[$1]}, ${PODS6[$1]}"
}

# The same for all nodes: each skips its own entry.
peers_file() {
    local node
    for node in "${NODES[@]}"; do
        cat <<YAML
- name: $node
  endpoints: [${NODE4[$node]}, "${NODE6[$node]}"]
  podCIDRs: [${PODS4[$node]}, "${PODS6[$node]}"]
YAML
    done
}

offrampd() { on "$1" "$DIST/offrampd" "${@:2}"; }

daemon_start() {
    on "$1" "$DIST/offrampd" run --config "$WORK/$1/offrampd.yaml" </dev/null >>"$WORK/$1/offrampd.log" 2>&1 &
    (within 10 daemon_serves "$1") >/dev/null || fail "it does not serve: $(tail -n 3 "$WORK/$1/offrampd.log")"
    echo "process $(daemon_pid "$1")"
}

daemon_pid() { pgrep --full "^$DIST/offrampd run --config $WORK/$1/"; }

daemon_serves() { offrampd "$1" status; }

# The ways to peers whose state is ok, of all nodes.
peers_are_reached() {
    local node
    for node in "${NODES[@]}"; do
        offrampd "$node" status -o json |
            jq -e '[.overlay.peers[] | select(.health.state == "ok" and .path)] | length == 2' ||
            fail "$node: $(offrampd "$node" status -o json | jq -c .overlay.peers)"
    done
    echo "6 of 6"
}

# All that Offramp may have left on a node, as lines of text. What the kernel adds by itself as traffic passes
# (learned neighbours and MACs, multicast groups, the state of a link) is left out, and so are locks and the log.
node_state() {
    on "$1" bash -c '
        ip -o link | sed "s/^[0-9]*: \([^:@]*\).*/link \1/"
        ip -o address show scope global | sed "s/^[0-9]*: //; s/valid_lft.*//"
        { ip route show table all; ip -6 route show table all; } | grep -v " proto kernel" | sed "s/ linkdown//"
        ip neighbour show nud permanent
        bridge fdb show | grep permanent | grep -v "^33:33:\|^01:00:5e:"
        tc qdisc show
        nft list ruleset
        find /run/offramp -type f ! -path "*/locks/*" ! -name offramp.log ! -name offrampd.seen
        ip netns list' | sed 's/ *$//' | sort
}

# For whoever looks for the reason of a failure.
nodes_save() {
    local node
    for node in "${NODES[@]}"; do
        [[ -s $WORK/$node/pid ]] || continue
        {
            offrampd "$node" status
            offrampd "$node" attachments -o wide
            on "$node" bash -xc 'ip -d address; ip route; ip -6 route; ip neighbour; bridge fdb; tc -s qdisc'
            on "$node" nft list ruleset
        } >"$WORK/$node/state.txt" 2>&1 || true
        on "$node" cp -a /run/offramp "$WORK/$node/run" 2>/dev/null || true
    done
}
