# shellcheck shell=bash
# containerd as kubelet drives it, by CRI: pod sandboxes with host ports, bandwidth and DNS.

# Debian's own Python, which python3-grpcio is for.
cri() { /usr/bin/python3 "$LIB/cri.py" "$@"; }

# pod_config NAME [JSON]: a sandbox's config, with more fields in JSON.
pod_config() {
    jq -n --arg name "$1" --arg cgroup "$CGROUP_PARENT" --argjson more "${2:-{\}}" '{
        metadata: {name: $name, uid: "uid-\($name)", namespace: "lab"}, hostname: $name,
        log_directory: "/run/pod-logs", linux: {cgroup_parent: $cgroup}} + $more'
}

pod_start() { cri run "$(pod_config "$@")" >"/run/$1.id"; }

pod_id() { cat "/run/$1.id"; }

pod_pid() { ctr -n k8s.io task ls | awk -v id="$(pod_id "$1")" '$1 == id { print $2 }'; }

export RICH_POD='{
  "port_mappings": [{"container_port": 80, "host_port": 8080},
                    {"protocol": 1, "container_port": 53, "host_port": 5353}],
  "annotations": {"kubernetes.io/ingress-bandwidth": "10M",
                  "kubernetes.io/egress-bandwidth": "10M"},
  "dns_config": {"servers": ["192.0.2.53"], "searches": ["lab.example"]}}'

reports_addresses() {
    local told found
    told=$(cri ips "$(pod_id "$1")" | sort)
    found=$(for family in 4 6; do pod_address "$(pod_pid "$1")" "$family"; done | sort)
    [[ $told == "$found" ]] || fail "CRI tells $told, eth0 has $found"
}

is_shaped() {
    local link
    link=$(pod_host_link "$(pod_pid "$1")")
    grep -q 'rate 10Mbit' < <(tc qdisc show dev "$link" && tc class show dev "$link") ||
        fail "no rate of 10Mbit on $link: $(tc qdisc show dev "$link")"
}

# two_pods LABEL: from ADD to DEL, with everything that a pod may ask for.
two_pods() {
    local a b words
    need "$1: ADD" pod_start a
    need "$1: ADD with host ports and bandwidth" pod_start b "$RICH_POD"
    a=$(pod_pid a) b=$(pod_pid b)
    check "$1: addresses and default routes" pod_is_addressed "$b"
    check "$1: the runtime reports the addresses" reports_addresses b
    check "$1: pods reach each other" pods_talk "$a" "$b" pod
    check "$1: pods reach the outside" pod_reaches_outside "$b"
    check "$1: host port" port_is_mapped pod "$b" "$a"
    check "$1: host port, UDP" udp_port_is_mapped "$b"
    check "$1: bandwidth" is_shaped b
    words=$(pod_words "$a" && pod_words "$b" && printf '%s\n' 8080 5353 "$(pod_id a)" "$(pod_id b)")
    check "$1: the node knows the pods" node_knows "$words"
    check "$1: DEL" cri stop "$(pod_id a)"
    check "$1: DEL with host ports" cri stop "$(pod_id b)"
    check "$1: nothing is left" node_forgot "$words"
    check "$1: DEL again" cri stop "$(pod_id b)"
    check "$1: DEL at removal" cri remove "$(pod_id a)"
    check "$1: DEL at removal, host ports" cri remove "$(pod_id b)"
}

# burst LABEL: many pods at once, as kubelet does after a node's start.
burst() {
    local name names=(p1 p2 p3 p4 p5 p6 p7 p8)
    need "$1: 8 ADDs at once" at_once pod_start "${names[@]}"
    check "$1: 8 pods have addresses of their own" addresses_differ "${names[@]}"
    check "$1: 8 DELs at once" at_once pod_stop "${names[@]}"
    check "$1: nothing is left of 8 pods" \
        node_forgot "$(for name in "${names[@]}"; do pod_id "$name"; done)"
}

pod_stop() { cri stop "$(pod_id "$1")"; }

# at_once FUNCTION NAME...: in parallel; fails if any fails.
at_once() {
    local function=$1 name jobs=() job
    shift
    for name in "$@"; do
        "$function" "$name" &
        jobs+=($!)
    done
    for job in "${jobs[@]}"; do wait "$job"; done
}

addresses_differ() {
    local name family
    for name in "$@"; do
        for family in 4 6; do pod_address "$(pod_pid "$name")" "$family"; done
    done | sort | uniq -c |
        awk '$1 > 1 { print "given twice: " $2 } END { exit NR != n }' n=$((2 * $#))
}
