# shellcheck shell=bash
# The demo of VFs, in each of the two virtual machines: node a shows, node b is whom it talks with.
set -euo pipefail
export WORK=$SHARE
for part in report topology nodes pods traffic scenes sriov/node sriov/vfs sriov/scenes; do
    # shellcheck source=/dev/null
    source "$DEMO/$part.bash"
done
export PATH=$DIST:$PATH:/usr/sbin:/sbin

if [[ $NODE == b ]]; then
    # Node a reads what comes of it.
    other_node >"$WORK/node-b.out" 2>&1 || touch "$WORK/node-b.failed"
    barrier ready
    [[ -e $WORK/node-b.failed ]] || barrier talked
    exit
fi

trap '(($? == 0)) || vm_save' EXIT
draw
check "node-a: PF with its VFs" vm_uplink
vfs_before=$(vfs_state)
check "node-a: offrampd runs, with two pools" vm_start
check "node-a: bridge, rules, NIC" within 30 is_settled
check "node-b: the same, and two pods" other_is_ready
check "node-a knows the way to node-b" within 20 peer_is_reached
empty=$(node_state node-a)

scene_inventory
scene_pods
scene_vf_talks
scene_vlan
scene_refusals
scene_looks
scene_delete "$empty" "$vfs_before"
barrier talked
closing
