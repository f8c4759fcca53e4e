# shellcheck shell=bash disable=SC2034,SC2154 # the other parts use what is set here, and set what is used
# VFs: what pods ask for, and what a VF is, told by iproute2 and sysfs.

POD_NODE+=([plain]=node-a [fast-1]=node-a [fast-2]=node-a [fallback]=node-a [left]=node-a [right]=node-a
    [hopeful]=node-a [foreign]=node-a [far]=node-b [far-vf]=node-b)

# annotated ANNOTATIONS: a runtimeConfig, as containerd and CRI-O hand a pod's annotations on.
annotated() { jq -nc --argjson all "$1" '{"io.kubernetes.cri.pod-annotations": $all}'; }

# net1 VLAN ADDRESS4 ADDRESS6: the annotation for a VF of the pool telco.
net1() {
    annotated "$(jq -nc --arg list "- {name: net1, pool: telco, vlan: $1, ips: [$2/24, '$3/64']}" \
        '{"offramp.dev/interfaces": $list}')"
}

# The device of VF N.
vf_device() { readlink -f "/sys/class/net/$PF/device/virtfn$1"; }

# All VFs, a line for each field that a release has to put back.
vfs_state() {
    local n device netdev
    for n in 0 1 2 3; do
        device=$(vf_device "$n")
        echo "VF $n: driver $(basename "$(readlink -f "$device/driver")")"
        ip -j -d link show dev "$PF" | jq -r --argjson n "$n" '.[0].vfinfo_list[$n] | to_entries[] | "VF \($n): \(.)"'
        for netdev in "$device"/net/*; do
            ip -j -d link show dev "${netdev##*/}" | jq -r --argjson n "$n" '.[0] |
                {ifname, address, mtu, ifalias, altnames, promiscuity, allmulti, up: (.flags | index("UP") != null)} |
                to_entries[] | "VF \($n): \(.)"'
        done
    done
}

# vfs_are_as_before STATE
vfs_are_as_before() {
    local now
    now=$(vfs_state)
    [[ $now == "$1" ]] || fail "$(diff <(echo "$1") <(echo "$now"))"
    echo "$(wc -l <<<"$now") fields of 4 VFs compared"
}

# has_vf POD IFNAME N: the interface is that VF.
has_vf() {
    local pci
    pci=$(jq -er --arg name "$2" '.interfaces[] | select(.name == $name) | .pciID // "no VF"' "$WORK/$1.result")
    [[ $pci == "$(basename "$(vf_device "$3")")" ]] || fail "$2 of $1 is $pci"
    echo "$pci, VF $3 of $PF"
}

# is_veth POD: and the daemon says why.
is_veth() {
    jq -e 'all(.interfaces[]; .pciID == null)' "$WORK/$1.result" >/dev/null || fail "$(<"$WORK/$1.result")"
    offrampd node-a explain "demo/$1" | grep -m 1 -i 'pool' | sed 's/^ *//'
}

# is_refused POD CODE WORD RUNTIME_CONFIG: what the pod's events would show of it.
is_refused() {
    local answer
    in_pod "$1" true 2>/dev/null || ip netns add "$1"
    ! answer=$(cni ADD "$1" "$4") || fail "it was let in: $answer"
    [[ $(jq .code <<<"$answer") == "$2" && $answer == *"$3"* ]] || fail "$answer"
    ip netns delete "$1"
    printf 'code %s\n%s\n' "$2" "$(jq -r .msg <<<"$answer")" >"$WORK/$1.refusal"
    echo "code $2"
}

# refusal POD: shown in full.
refusal() { sed '1d; s/^/      /' "$WORK/$1.refusal" | fold -s -w 110 | sed '2,$s/^ */      /'; }
