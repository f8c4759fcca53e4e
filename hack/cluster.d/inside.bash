# shellcheck shell=bash disable=SC2154 # the other parts set some
# The cluster, in namespaces of its own: this one is the router between the nodes' subnets, with the control plane.
set -euo pipefail
export API=203.0.113.9 OUTSIDE6=2001:db8:3::9
# shellcheck source=SCRIPTDIR/../demo.d/report.bash
source "$ROOT/hack/demo.d/report.bash"
for part in certs control nodes install pods networks operations; do
    # shellcheck source=/dev/null
    source "$PARTS/$part.bash"
done
export KUBECONFIG=$pki/admin.conf TMPDIR=$WORK

# What a scene leaves is no use to anybody; what nodes say is.
finish() {
    local status=$?
    set +e
    ((status == 0 && failed == 0)) || state_save
    closing || status=1
    echo "$status" >"$WORK/result"
    [[ -z $KEEP ]] || while :; do wait -n || sleep 1; done
}
trap finish EXIT

state_save() {
    local node
    kubectl get all,nodes,events,offrampnodes -A -o yaml >"$WORK/objects.yaml" 2>&1
    kubectl get events -A --sort-by .lastTimestamp >"$WORK/events.txt" 2>&1
    for node in "${NODES[@]}"; do
        [[ -s $WORK/$node/pid ]] || continue
        on "$node" bash -xc 'ip -d address; ip route; ip -6 route; nft list ruleset; ls -R /run/offramp /etc/cni' \
            >"$WORK/$node/state.txt" 2>&1
        on "$node" cp -a /run/offramp "$WORK/$node/run" 2>/dev/null
        cp -a "$WORK/disk/$node/log" "$WORK/$node/pod-logs" 2>/dev/null
    done
}

wanted() { [[ -z $SCENES || " $SCENES " == *" $1 "* ]]; }

read -ra NODES <<<"$NODE_NAMES"
mkdir -p "$WORK/disk"
ip link set lo up
mount -t tmpfs tmpfs /run

section "A cluster of ${#NODES[@]} nodes"
check "router" router_start
check "control plane" control_start
for node in "${NODES[@]}"; do check "$node: containerd, kubelet, kube-proxy" node_start "$node"; done
scene_install
for scene in e2e pods networks upgrade node uninstall; do
    if wanted "$scene"; then "scene_$scene"; fi
done
