# shellcheck shell=bash
# The demo itself, in the lab's namespaces.
set -euo pipefail
for part in report topology nodes pods traffic scenes faults; do
    # shellcheck source=/dev/null
    source "$DEMO/$part.bash"
done
export PATH=$DIST:$PATH
trap '(($? == 0)) || nodes_save' EXIT

draw
check "router and the outside world" make_underlay
for node in "${NODES[@]}"; do
    check "$node: offrampd runs" node_start "$node"
done
check "every node has a way to the two others" within 10 peers_are_reached
empty=$(node_state node-a)

scene_pods
scene_same_node
scene_direct
scene_vxlan
scene_outside
scene_host_port
scene_bandwidth
scene_looks
scene_daemon_killed
scene_repair
scene_doctor
scene_delete "$empty"
[[ -z ${KEEP-} ]] || scene_pods
closing
