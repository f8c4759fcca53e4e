# shellcheck shell=bash disable=SC2154 # sourced by inside.bash
# docs/install.md, as it says; and hack/e2e.

scene_install() {
    section "docs/install.md"
    try "a node without a network is not ready" node_is_not_ready node-a
    try "another has a network by the plugin bridge, and a pod" other_network node-b
    check "kubectl apply -k manifests/base" apply_base
    check "the DaemonSet is rolled out" rolled_out
    for node in "${NODES[@]}"; do try "$node is Ready" within 60 node_is_ready "$node"; done
    try "every node tells the others of itself" offramp_nodes
    try "NetworkUnavailable is False" network_is_available
    try "offrampd status on each node: nothing is wrong" status_is_fine
    try "the daemon has the privileges that are asked for, no more" privileges
    try "the API server refused the daemon nothing" nothing_was_forbidden
    try "the pod of the plugin before can be deleted, and nothing of it stays" other_network_goes node-b
}

# As on a node that is migrated in place.
other_network() {
    lab_namespace
    cp /usr/lib/cni/{bridge,host-local} "$WORK/disk/$1/opt/cni/bin/"
    jq -n '{cniVersion: "1.0.0", name: "before", plugins: [{type: "bridge", bridge: "before0", isGateway: true,
        ipam: {type: "host-local", ranges: [[{subnet: "10.98.0.0/24"}]]}}]}' >"$WORK/disk/$1/etc/net.d/10-before.conflist"
    within 60 node_is_ready "$1" >/dev/null
    pod before "$1"
    pod_ready before
}

other_network_goes() {
    k delete pod before --wait=true --timeout 60s
    rm "$WORK/disk/$1/etc/net.d/10-before.conflist"
    on "$1" ip link delete before0
    pod anew "$1"
    pod_ready anew | grep '^10\.244\.'
    k delete pod anew >/dev/null
}

node_is_not_ready() {
    kubectl get node "$1" -o json |
        jq -er '.status.conditions[] | select(.type == "Ready" and .status == "False") | .message | match("[^:]*$").string'
}

# This API server does not know policies of its newer kind, nor appArmorProfile: passed over, as it passes over fields
# that it does not know.
apply_base() {
    kubectl kustomize "$ROOT/manifests/base" >"$WORK/base.yaml"
    python3 "$PARTS/without.py" admissionregistration.k8s.io <"$WORK/base.yaml" | kubectl apply --validate=false -f -
    echo "without ValidatingAdmissionPolicy, which 1.20 does not have"
}

rolled_out() { kubectl -n kube-system rollout status daemonset/offramp --timeout 180s; }

offramp_nodes() {
    local found
    found=$(kubectl get offrampnodes -o json | jq '[.items[] | select((.spec.endpoints | length) == 2 and
        (.spec.podCIDRs | length) == 2 and .metadata.ownerReferences[0].kind == "Node")] | length')
    ((found == ${#NODES[@]})) || fail "$found of ${#NODES[@]}: $(kubectl get offrampnodes -o json | jq -c '[.items[].spec]')"
    echo "$found OfframpNodes, each with two endpoints and two podCIDRs, owned by its Node"
}

network_is_available() {
    local bad
    bad=$(kubectl get nodes -o json | jq -r '.items[] | select(all(.status.conditions[];
        .type != "NetworkUnavailable" or .status != "False")) | .metadata.name')
    [[ -z $bad ]] || fail "not of: $bad"
}

daemon_of() {
    kubectl -n kube-system get pods -l app.kubernetes.io/name=offramp --field-selector "spec.nodeName=$1" -o name
}

offrampd_on() { kubectl -n kube-system exec "$(daemon_of "$1")" -c offrampd -- /usr/bin/offrampd "${@:2}"; }

status_is_fine() {
    local node
    for node in "${NODES[@]}"; do
        within 20 peers_are_reached "$node"
        offrampd_on "$node" status >"$WORK/$node/status.txt"
        offrampd_on "$node" status -o json | jq -e '(.problems // []) | length == 0' >/dev/null ||
            fail "$node: $(offrampd_on "$node" status -o json | jq -c .problems)"
    done
    echo "$((${#NODES[@]} - 1)) peers each"
}

peers_are_reached() {
    offrampd_on "$1" status -o json |
        jq -e --argjson n "$((${#NODES[@]} - 1))" '[.overlay.peers[] | select(.health.state == "ok" and .path)] | length == $n' \
            >/dev/null || fail "$1: $(offrampd_on "$1" status -o json | jq -c .overlay.peers)"
}

# NET_ADMIN is bit 12, SYS_ADMIN bit 21.
privileges() {
    local pid caps
    pid=$(on node-a pgrep --full '^/usr/bin/offrampd run')
    caps=$(on node-a sed -n 's/^CapEff:\s*//p' "/proc/$pid/status")
    [[ $((16#$caps)) -eq $((1 << 12 | 1 << 21)) ]] || fail "capabilities $caps"
    on node-a grep -Eq '^[0-9]+ [0-9]+ [0-9:]+ \S+ / ro[, ]' "/proc/$pid/mountinfo" ||
        fail "its root is writable"
    on node-a grep -q '^Seccomp:\s*2' "/proc/$pid/status" || fail "no seccomp profile"
    echo "NET_ADMIN, SYS_ADMIN; read-only root, seccomp filter"
}

nothing_was_forbidden() {
    local node log
    for node in "${NODES[@]}"; do
        log=$(kubectl -n kube-system logs "$(daemon_of "$node")" -c offrampd)
        ! grep -i 'forbidden\|may not' <<<"$log" || fail "$node"
    done
}

scene_e2e() {
    section "hack/e2e"
    try "hack/e2e" e2e
    grep -E '^(passed|failed|skipped) ' "$WORK/e2e.txt" | sed 's/^/    /'
}

e2e() {
    "$ROOT/hack/e2e" --kubeconfig "$KUBECONFIG" --image "$IMAGE" --outside "http://$API/" 2>&1 | tee "$WORK/e2e.txt"
}
