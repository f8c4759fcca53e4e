# shellcheck shell=bash
# After DEL the node is as it was before ADD; the bridge may stay.

STATE_DIRS=(/var/lib/cni /run/cni /run/offramp /var/lib/offramp)

# State files of plugins and libcni, without what a node keeps: locks, logs, which address of a
# range was given last, and when the daemon was there last.
state_files() {
    find "${STATE_DIRS[@]}" -type f ! -name lock ! -path '*/locks/*' ! -name 'last_reserved_ip*' \
        ! -name 'last.[0-9]*' ! -name '*.log*' ! -name offrampd.seen 2>/dev/null || true
}

# Everything on the node that could name a container, as lines of text.
node_state() {
    nft list ruleset 2>/dev/null # it warns of the rules of iptables that it cannot read
    ip route show table all
    ip -6 route show table all
    ip neighbour show nud permanent
    bridge fdb show
    tc qdisc show
    state_files
    state_files | xargs -r cat
}

# Words by which the node knows a pod: its addresses and the host's end of its link.
pod_words() {
    pod_address "$1" 4
    pod_address "$1" 6
    pod_host_link "$1"
}

# node_knows WORDS (one a line): this is what makes node_forgot a check that can fail.
node_knows() {
    local word state
    state=$(node_state)
    while read -r word; do
        grep -Fwq -- "$word" <<<"$state" || fail "nothing on the node names $word"
    done <<<"$1"
}

node_forgot() {
    local word state links
    state=$(node_state)
    while read -r word; do
        ! grep -Fw -- "$word" <<<"$state" || fail "still names $word"
    done <<<"$1"
    links=$(ip -j link |
        jq -r '[.[].ifname | select(test("^(lo|uplink|br-.*)$") | not)] | join(" ")')
    [[ -z $links ]] || fail "links stay: $links"
    [[ -z $(state_files) ]] || fail "files stay: $(state_files | tr '\n' ' ')"
}
