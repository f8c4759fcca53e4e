# shellcheck shell=bash disable=SC2154 # sourced by inside.bash
# Nodes: namespaces with a containerd, a kubelet and a kube-proxy each. Two on one subnet, the others on a second one.

router_start() {
    mount -t tmpfs -o mode=0755 disk "$WORK/disk"
    sysctl -q net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    subnet lan 192.0.2.254/24 2001:db8:1::ff/64
    subnet wan 198.51.100.254/24 2001:db8:2::ff/64
    ip address add "$API/32" dev lo
    ip -6 address add "$OUTSIDE6/128" dev lo nodad
    mkdir "$WORK/outside"
    echo outside >"$WORK/outside/index.html"
    busybox httpd -p 80 -h "$WORK/outside"
}

subnet() {
    ip link add "$1" type bridge
    ip address add "$2" dev "$1"
    ip address add "$3" dev "$1" nodad
    ip link set "$1" up
}

# node_addresses NAME: sets lan, last, address4, address6.
node_addresses() {
    local letter=${1#node-}
    last=$(($(printf %d "'$letter") - 96)) lan=lan address4=192.0.2.$last address6=2001:db8:1::$last
    ((last < 3)) || { lan=wan address4=198.51.100.$last address6=2001:db8:2::$last; }
}

node_start() {
    local name=$1 lan last address4 address6
    node_addresses "$name"
    [[ -e $pki/$name.conf ]] || client "$name" "/O=system:nodes/CN=system:node:$name"
    mkdir -p "$WORK/$name" "$WORK/disk/$name"/{lib,log,opt,etc/static}
    # As the package kubernetes-cni brings it: containerd 1 calls it for every pod.
    mkdir -p "$WORK/disk/$name/opt/cni/bin"
    cp /usr/lib/cni/loopback "$WORK/disk/$name/opt/cni/bin/"
    node_configure
    node_boot
    echo "$address4, $address6"
}

# Processes of a node die with its first one, as its network does; its disk stays.
node_boot() {
    unshare --net --mount --pid --ipc --uts --fork --kill-child --mount-proc --propagation private -- \
        bash "$PARTS/boot.bash" "$name" </dev/null >>"$WORK/$name/boot.log" 2>&1 &
    echo $! >"$WORK/$name/holder"
    within 5 pgrep --parent $! >"$WORK/$name/pid"
    ip link add "to-$name" type veth peer name eth0 netns "$(<"$WORK/$name/pid")"
    ip link set "to-$name" master "$lan" up
    on "$name" ip link set lo up
    on "$name" ip address add "$address4/24" dev eth0
    on "$name" ip address add "$address6/64" dev eth0 nodad
    on "$name" ip link set eth0 up
    on "$name" ip route add default via "${address4%.*}.254"
    on "$name" ip route add default via "${address6%:*}:ff"
    within 60 node_answers "$name"
}

node_answers() { kubectl get node "$1" -o name; }

# on NODE COMMAND...
on() { nsenter --target "$(<"$WORK/$1/pid")" --net --mount --pid --ipc --uts -- "${@:2}"; }

# service_restart NODE SERVICE
service_restart() {
    # shellcheck disable=SC2016 # the inner shell expands it
    on "$1" bash -c 'kill "$(<"/run/$0.pid")"; while [[ -e /proc/$(<"/run/$0.pid") ]]; do sleep 0.1; done' "$2"
    # Whoever waits for the end of our output does not wait for it.
    on "$1" bash "$PARTS/service.bash" "$1" "$2" </dev/null >/dev/null 2>&1 &
}

node_kill() {
    kill -KILL "$(<"$WORK/$1/holder")"
    within 20 node_is_gone "$1"
}

node_is_gone() { [[ ! -e /proc/$(<"$WORK/$1/pid") ]] && ! ip link show "to-$1" >/dev/null 2>&1; }

node_configure() {
    cat >"$WORK/$name/containerd.toml" <<TOML
version = 2
[debug]
  level = "info"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$IMAGE"
  # Machines without CAP_SYS_RESOURCE could start no container.
  restrict_oom_score_adj = true
  disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
  # Debian's looks in /usr/lib/cni otherwise.
  bin_dir = "/opt/cni/bin"
TOML
    cat >"$WORK/$name/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: Webhook}
featureGates: {IPv6DualStack: true, BoundServiceAccountTokenVolume: true}
cgroupDriver: cgroupfs
cgroupRoot: $CGROUP/$name
failSwapOn: false
evictionHard: {memory.available: 1Mi, nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
imageGCHighThresholdPercent: 100
staticPodPath: /etc/cni/static
clusterDNS: [10.96.0.10]
# Pods of a node that is gone need not be waited for.
nodeStatusUpdateFrequency: 5s
YAML
    printf 'address4=%q address6=%q\n' "$address4" "$address6" >"$WORK/$name/settings"
}

node_is_ready() {
    kubectl get node "$1" -o json |
        jq -er '.status.conditions[] | select(.type == "Ready") | select(.status == "True") | .reason' ||
        fail "$(kubectl get node "$1" -o json | jq -r '.status.conditions[] | select(.type == "Ready") | .message')"
}
