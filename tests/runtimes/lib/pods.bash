# shellcheck shell=bash
# What a container on the network must have and reach. A pod is named by the pid of a process of
# it, whichever runtime started it.

in_pod() {
    local pid=$1
    shift
    nsenter --target "$pid" --net -- "$@"
}

# The container's one global address of a family (4 or 6), without the prefix length.
pod_address() {
    in_pod "$1" ip -j "-$2" address show dev eth0 scope global |
        jq -er '[.[].addr_info[]?.local | values] | if length == 1 then .[0]
                else error("expected one address, found \(.)") end'
}

# Name of the host's end of the container's veth.
pod_host_link() {
    local index
    index=$(in_pod "$1" ip -j link show dev eth0 | jq -e '.[0].link_index')
    ip -j link | jq -er --argjson index "$index" '.[] | select(.ifindex == $index) | .ifname'
}

in_subnet() {
    python3 -c 'import ipaddress, sys
sys.exit(ipaddress.ip_address(sys.argv[1]) not in ipaddress.ip_network(sys.argv[2]))' "$1" "$2" ||
        fail "$1 is not in $2"
}

pod_has_mac() {
    local got
    got=$(in_pod "$1" ip -j link show dev eth0 | jq -r '.[0].address')
    [[ $got == "$2" ]] || fail "eth0 has MAC $got, not $2"
}

pod_is_addressed() {
    local pid=$1 address via
    address=$(pod_address "$pid" 4)
    in_subnet "$address" "$POD4"
    address=$(pod_address "$pid" 6)
    in_subnet "$address" "$POD6"
    via=$(in_pod "$pid" ip -j -4 route show default | jq -r '.[].gateway')
    [[ $via == "$GATEWAY4" ]] || fail "default route goes by '$via', not $GATEWAY4"
    via=$(in_pod "$pid" ip -j -6 route show default | jq -r '.[].gateway')
    [[ $via == "$GATEWAY6" ]] || fail "default route goes by '$via', not $GATEWAY6"
}

# fetches TEXT URL_HOST[:PORT] [RUN...]: HTTP from where RUN runs answers TEXT.
fetches() {
    local text=$1 host=$2 got
    shift 2
    got=$("$@" timeout 3 busybox wget -q -O - "http://$host/" 2>&1) ||
        fail "no answer from $host: $got"
    [[ $got == "$text" ]] || fail "$host answered '$got' instead of '$text'"
}

# Each of two pods reaches the other, the node and the outside, in both families.
pods_talk() {
    local from=$1 to=$2 text=$3 address
    address=$(pod_address "$to" 4)
    fetches "$text" "$address" in_pod "$from"
    address=$(pod_address "$to" 6)
    fetches "$text" "[$address]" in_pod "$from"
}

pod_reaches_outside() {
    fetches outside "$OUTSIDE4" in_pod "$1"
    fetches outside "[$OUTSIDE6]" in_pod "$1"
}

# Host port 8080 (TCP) answers TEXT, from the pod OTHER too, and from the pod itself by hairpin.
port_is_mapped() {
    local text=$1 pid=$2 other=$3
    fetches "$text" "$NODE4:8080"
    fetches "$text" "[$NODE6]:8080"
    fetches "$text" "$NODE4:8080" ip netns exec outside
    fetches "$text" "[$NODE6]:8080" ip netns exec outside
    fetches "$text" "$NODE4:8080" in_pod "$other"
    fetches "$text" "$NODE4:8080" in_pod "$pid"
}

# Ends with the first answer; socat would wait for more, or give up too soon on a busy node.
UDP_ASK='import socket, sys
ask = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ask.settimeout(5)
ask.connect((sys.argv[1], int(sys.argv[2])))
ask.send(b"ping")
print(ask.recv(100).decode())'

udp_port_is_mapped() {
    local pid=$1 got server
    in_pod "$pid" socat UDP4-RECVFROM:53 EXEC:cat >/dev/null 2>&1 &
    server=$!
    within 3 udp_listens "$pid"
    got=$(ip netns exec outside python3 -c "$UDP_ASK" "$NODE4" 5353 2>&1) || true
    kill "$server" 2>/dev/null || true
    [[ $got == ping ]] || fail "UDP $NODE4:5353 answered '$got' instead of 'ping'"
}

udp_listens() { in_pod "$1" ss -Hlun 'sport = :53' | grep -q .; }
