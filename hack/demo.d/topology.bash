# shellcheck shell=bash disable=SC2034 # the other parts use what is set here
# The underlay: a router with three subnets. This namespace is the router; it knows no pod.

NODES=(node-a node-b node-c)
declare -A NODE4=([node-a]=192.0.2.1 [node-b]=192.0.2.2 [node-c]=198.51.100.3)
declare -A NODE6=([node-a]=2001:db8:1::1 [node-b]=2001:db8:1::2 [node-c]=2001:db8:2::3)
declare -A PODS4=([node-a]=10.244.1.0/24 [node-b]=10.244.2.0/24 [node-c]=10.244.3.0/24)
declare -A PODS6=([node-a]=fd00:244:1::/64 [node-b]=fd00:244:2::/64 [node-c]=fd00:244:3::/64)
OUTSIDE4=203.0.113.9 OUTSIDE6=2001:db8:3::9

draw() {
    section "Three nodes, dual stack, each with a daemon of its own"
    cat <<'DRAWING'

      node-a                    node-b                    node-c                outside
      192.0.2.1                 192.0.2.2                 198.51.100.3          203.0.113.9
      2001:db8:1::1             2001:db8:1::2             2001:db8:2::3         2001:db8:3::9
    ┌─ pods ──────────────┐   ┌─ pods ──────────────┐   ┌─ pods ──────────────┐   knows no pod
    │ 10.244.1.0/24       │   │ 10.244.2.0/24       │   │ 10.244.3.0/24       │        │
    │ fd00:244:1::/64     │   │ fd00:244:2::/64     │   │ fd00:244:3::/64     │        │
    │ web  client  slow   │   │ near                │   │ far                 │        │
    └──────────┬──────────┘   └──────────┬──────────┘   └──────────┬──────────┘        │
               └──── one subnet ─────────┴──────── router ─────────┴───────────────────┘
                 a ⇄ b: direct routes        a, b ⇄ c: VXLAN
DRAWING
}

make_underlay() {
    sysctl -q net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    ip link add lan type bridge
    ip link add wan type bridge
    ip link add world type bridge
    router_address lan 192.0.2.254/24 2001:db8:1::ff/64
    router_address wan 198.51.100.254/24 2001:db8:2::ff/64
    router_address world 203.0.113.254/24 2001:db8:3::ff/64
    machine outside
    plug outside world "$OUTSIDE4" "$OUTSIDE6"
    answers_its_name outside
    echo "192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24"
}

router_address() {
    ip address add "$2" dev "$1"
    ip address add "$3" dev "$1" nodad
    ip link set "$1" up
}

# machine NAME: a process that holds namespaces of its own for network, mounts and host name.
machine() {
    mkdir -p "$WORK/$1"
    # shellcheck disable=SC2016 # the inner shell expands $0
    unshare --net --mount --uts --propagation private -- bash -c '
        set -e
        hostname "$0"
        mount -t tmpfs tmpfs /run
        mount -t sysfs sysfs /sys
        mkdir /run/netns
        ip link set lo up
        exec -a "$0" sleep infinity' "$1" </dev/null >"$WORK/$1/machine.log" 2>&1 &
    echo $! >"$WORK/$1/pid"
    within 5 machine_is_up "$1" >/dev/null
}

machine_is_up() { pgrep --full "^$1 infinity\$"; }

# on MACHINE COMMAND...
on() {
    local pid
    pid=$(<"$WORK/$1/pid")
    shift
    nsenter --target "$pid" --net --mount --uts -- "$@"
}

# plug MACHINE BRIDGE ADDRESS4 ADDRESS6: its eth0, with default routes by the router.
plug() {
    local name=$1 bridge=$2 address router
    ip link add "to-$name" type veth peer name eth0 netns "$(<"$WORK/$name/pid")"
    ip link set "to-$name" master "$bridge" up
    on "$name" ip address add "$3/24" dev eth0
    on "$name" ip address add "$4/64" dev eth0 nodad
    on "$name" ip link set eth0 up
    for address in "$3" "$4"; do
        router=${address%[.:]*}
        [[ $address == *:* ]] && router+=:ff || router+=.254
        on "$name" ip route add default via "$router"
    done
}
