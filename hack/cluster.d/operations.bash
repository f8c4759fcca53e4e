# shellcheck shell=bash disable=SC2034,SC2154 # sourced by inside.bash
# docs/operations.md: upgrade, what else happens to nodes, uninstall.

scene_upgrade() {
    section "docs/operations.md: upgrade, while pods come and go"
    lab_namespace
    kubectl get nodes --watch --output-watch-events -o json >"$WORK/nodes.watch" 2>/dev/null &
    local watch=$!
    touch "$WORK/churning"
    (churn >"$WORK/churn.txt" 2>&1; echo $? >"$WORK/churn.status") &
    try "pods come and go" within 120 test -e "$WORK/churn.1"
    try "the DaemonSet is restarted, and rolled out" restarted
    rm "$WORK/churning"
    try "all pods that were made meanwhile started, and went" churned
    kill "$watch"
    try "no node was not ready" never_not_ready
    try "no DEL failed" no_failed_del
    try "offrampd status is fine again" status_is_fine
    try "no attachment stays" within 60 nobody_is_attached churn-
}

restarted() {
    kubectl -n kube-system rollout restart daemonset/offramp
    rolled_out
}

# A pod on each node, again and again, and from node to node.
churn() {
    local round=0 node
    set -e
    while [[ -e $WORK/churning ]]; do
        for node in "${NODES[@]}"; do pod "churn-$node-$round" "$node"; done
        for node in "${NODES[@]}"; do pod_ready "churn-$node-$round" 120 >/dev/null; done
        for node in "${NODES[@]}"; do k delete pod "churn-$node-$round" --wait=false >/dev/null; done
        round=$((round + 1))
        touch "$WORK/churn.$round"
    done
    within 60 churn_is_gone
    echo "$((round * ${#NODES[@]})) pods"
}

churned() {
    within 240 test -e "$WORK/churn.status"
    cat "$WORK/churn.txt"
    return "$(<"$WORK/churn.status")"
}

churn_is_gone() { ! k get pods -o name | grep churn-; }

never_not_ready() {
    [[ -s $WORK/nodes.watch ]] || fail "the watch told nothing"
    jq -es '[.[].object | select(any(.status.conditions[]; .type == "Ready" and .status != "True")) | .metadata.name] | length == 0' \
        "$WORK/nodes.watch" >/dev/null || fail "some were: $WORK/nodes.watch"
}

no_failed_del() {
    local bad
    bad=$(kubectl get events -A -o json | jq -r '[.items[] | select(.reason == "FailedKillPod") | .message] | unique | join("; ")')
    [[ -z $bad ]] || fail "$bad"
}

scene_node() {
    section "What happens to nodes"
    lab_namespace
    pod stays node-b
    try "a pod" pod_ready stays
    try "kubelet is restarted: the pod is reached as before" service_comes_back kubelet
    try "containerd is restarted: the pod is reached as before" service_comes_back containerd
    try "the API server is away: the pod is reached, the daemon is ready" api_is_away
    try "the node is rebooted: its pods come back, from another node they are reached" rebooted
    k delete pod stays >/dev/null
}

service_comes_back() {
    service_restart node-b "$1"
    within 60 node_is_ready node-b >/dev/null
    pod after node-b
    pod_ready after
    reached stays
    reached after
    k delete pod after >/dev/null
}

# From a pod network of another node, by each address.
reached() {
    local address
    for address in $(k get pod "$1" -o json | jq -r '.status.podIPs[].ip'); do
        [[ $address != *:* ]] || address="[$address]"
        within 20 fetch "http://$address/" "$1"
    done
}

fetch() {
    local got
    got=$(on node-a timeout 3 busybox wget -q -O - "$1" 2>&1) || fail "$1: $got"
    [[ $got == "$2" ]] || fail "$1 answered '$got'"
}

api_is_away() {
    local pid addresses
    addresses=$(k get pod stays -o json | jq -r '.status.podIPs[0].ip')
    pid=$(pgrep --full '^kube-apiserver ')
    kill -STOP "$pid"
    sleep 15
    (fetch "http://$addresses/" stays && on node-a timeout 3 busybox wget -q -O - http://127.0.0.1:9810/readyz) || { kill -CONT "$pid"; fail "not reached"; }
    kill -CONT "$pid"
    within 60 kubectl get --raw /readyz
}

rebooted() {
    local name=node-b lan last address4 address6
    node_addresses "$name"
    node_kill "$name"
    node_boot
    within 120 node_is_ready "$name" >/dev/null
    within 120 rolled_out
    within 90 pod_runs_anew stays
    reached stays
    within 30 peers_are_reached "$name"
}

# The runtime has made it a new sandbox since.
pod_runs_anew() {
    k get pod "$1" -o json | jq -e '.status.containerStatuses[0] | .ready and .restartCount > 0' >/dev/null
}

scene_uninstall() {
    section "docs/operations.md: uninstall, for the next plugin"
    lab_namespace
    pod old node-a
    pod older node-b
    try "two pods of Offramp" eval 'pod_ready old && pod_ready older'
    try "1. the next plugin is installed" next_plugin
    try "2. the DaemonSet is deleted; a pod can be deleted meanwhile" daemonset_deleted
    try "3. kubectl apply -k manifests/uninstall" uninstall_applied
    try "the network configuration is gone from each node" within 60 no_conflist
    try "the log names the pods that are to be restarted" within 30 names_pods lab/old
    k delete pod old >/dev/null
    pod new node-a
    try "4. a new pod is the next plugin's" pod_of_the_next new
    try "5. all uninstall pods run" uninstalled
    try "nothing of Offramp is left on any node" nothing_is_left
    try "6. its objects are deleted" objects_deleted
    k delete pod new >/dev/null
    try "a pod can be deleted after all" within 60 pods_are_gone app=new
}

# By the reference plugin; each node has addresses of its own.
next_plugin() {
    local node last lan address4 address6
    for node in "${NODES[@]}"; do
        node_addresses "$node"
        cp /usr/lib/cni/{bridge,host-local,portmap} "$WORK/disk/$node/opt/cni/bin/"
        jq -n --arg subnet "10.99.$last.0/24" '{cniVersion: "1.0.0", name: "next", plugins: [{type: "bridge", bridge: "next0",
            isGateway: true, ipMasq: true, ipam: {type: "host-local", ranges: [[{subnet: $subnet}]],
            routes: [{dst: "0.0.0.0/0"}]}}, {type: "portmap", capabilities: {portMappings: true}}]}' \
            >"$WORK/disk/$node/etc/net.d/10-next.conflist"
    done
}

daemonset_deleted() {
    kubectl -n kube-system delete daemonset offramp
    within 60 daemons_are_gone
    k delete pod older >/dev/null
    within 60 pods_are_gone app=older
}

daemons_are_gone() { [[ -z $(kubectl -n kube-system get pods -l app.kubernetes.io/name=offramp -o name) ]]; }

uninstall_applied() {
    kubectl kustomize "$ROOT/manifests/uninstall" | kubectl apply --validate=false -f -
    within 60 kubectl -n kube-system get daemonset offramp-uninstall
}

no_conflist() {
    local node
    for node in "${NODES[@]}"; do [[ ! -e $WORK/disk/$node/etc/net.d/05-offramp.conflist ]] || fail "$node has it"; done
}

names_pods() {
    local found
    found=$(kubectl -n kube-system get pods -l app.kubernetes.io/name=offramp-uninstall -o name |
        xargs -n 1 kubectl -n kube-system logs -c uninstall)
    grep -F -- "$1" <<<"$found" || fail "$found"
}

pod_of_the_next() { pod_ready "$1" | grep '10\.99\.'; }

uninstalled() {
    kubectl -n kube-system rollout status daemonset/offramp-uninstall --timeout 120s ||
        fail "$(kubectl -n kube-system logs ds/offramp-uninstall -c uninstall | tail -n 5)"
}

nothing_is_left() {
    local node left
    for node in "${NODES[@]}"; do
        left=$(on "$node" bash -c 'ip -o link | grep -o "offramp[^:@ ]*"; nft list tables | grep offramp
            ls /opt/cni/bin/offramp /etc/cni/net.d/*offramp* /run/offramp/attachments/* 2>/dev/null; ip route | grep 10.244' || true)
        [[ -z $left ]] || fail "$node: $left"
    done
}

objects_deleted() {
    kubectl kustomize "$ROOT/manifests/uninstall" | kubectl delete -f -
    kubectl delete -f <(python3 "$PARTS/without.py" admissionregistration.k8s.io <"$WORK/base.yaml" |
        python3 "$PARTS/without.py" apps) --ignore-not-found
}
