# shellcheck shell=bash
# Pods, attached as a container runtime does it: a network namespace, and a call of the plugin by the CNI specification
# (https://www.cni.dev/docs/spec/), version 1.1.0.

declare -A POD_NODE=([web]=node-a [client]=node-a [slow]=node-a [near]=node-b [far]=node-c [late]=node-a)

# The network's configuration names no bridge, no IPAM, nothing: the plugin asks the daemon.
NETWORK='{"cniVersion": "1.1.0", "name": "pods", "type": "offramp",
          "capabilities": {"portMappings": true, "bandwidth": true}}'

# cni VERB POD [RUNTIME_CONFIG] [PREV_RESULT]: what the plugin answers.
cni() {
    local verb=$1 pod=$2 runtime=${3:-null} node=${POD_NODE[$2]}
    jq -n --argjson network "$NETWORK" --argjson runtime "$runtime" --argjson previous "${4:-null}" '
        ($network | del(.capabilities)) + if $runtime then {runtimeConfig: $runtime} else {} end
        + if $previous then {prevResult: $previous} else {} end' |
        on "$node" env CNI_COMMAND="$verb" CNI_CONTAINERID="$(pod_id "$pod")" CNI_IFNAME=eth0 \
            CNI_NETNS="/run/netns/$pod" CNI_PATH="$DIST" \
            CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME=$pod" \
            "$DIST/offramp" 2>>"$WORK/$node/plugin.stderr"
}

# As long as a runtime's, and the same at each call.
pod_id() { sha256sum <<<"$1" | cut -d ' ' -f 1; }

# pod_add POD [RUNTIME_CONFIG]: prints its addresses and the time that the plugin took.
pod_add() {
    local pod=$1 runtime=${2:-} result=$WORK/$1.result
    on "${POD_NODE[$pod]}" ip netns add "$pod"
    in_pod "$pod" ip link set lo up
    cni ADD "$pod" "$runtime" >"$result" || fail "ADD: $(jq -r '.msg + " " + (.details // "")' "$result")"
    printf '%s' "$runtime" >"$WORK/$pod.runtime"
    echo "$(jq -r '[.ips[].address] | join(", ")' "$result") in $(took "$pod" 1)"
    pod_serves "$pod"
}

# pod_check POD: as runtimes ask whether all is still as ADD left it.
pod_check() {
    local answer
    answer=$(cni CHECK "$1" "$(<"$WORK/$1.runtime")" "$(<"$WORK/$1.result")") ||
        fail "CHECK: $(jq -r '.msg + " " + (.details // "")' <<<"$answer")"
    took "$1" 1
}

# took POD CALLS: the time of the plugin's last calls, by its own log.
took() {
    local micros
    micros=$(on "${POD_NODE[$1]}" tail -n "$2" /run/offramp/offramp.log | jq -s 'map(.micros) | add')
    echo "$(decimal "$micros") ms"
}

# pod_del POD: as runtimes do, with what ADD answered, and once more for the call that comes too late.
pod_del() {
    local pod=$1 node=${POD_NODE[$1]}
    on "$node" ip netns pids "$pod" | xargs kill
    for _ in once "and again"; do
        cni DEL "$pod" "$(<"$WORK/$pod.runtime")" "$(<"$WORK/$pod.result")" || fail "DEL of $pod failed"
    done
    took "$pod" 2
    on "$node" ip netns delete "$pod"
}

# in_pod POD COMMAND...; the outside world counts as one.
in_pod() {
    local pod=$1 machine=${POD_NODE[$1]-$1} netns
    netns=/proc/$(<"$WORK/$machine/pid")
    [[ $pod == "$machine" ]] && netns+=/ns/net || netns+=/root/run/netns/$pod
    shift
    nsenter --net="$netns" -- "$@"
}

# address POD 4|6: of the result that the runtime would tell kubelet.
address() {
    local colon=false
    [[ $2 == 4 ]] || colon=true
    jq -er --argjson v6 "$colon" 'first(.ips[].address | select(contains(":") == $v6)) | sub("/.*"; "")' "$WORK/$1.result"
}
