# shellcheck shell=bash
# The node: every path that runtimes and plugins write to is a tmpfs of this mount namespace, and
# its network is one uplink to a second namespace, `outside`.

export NODE4=192.0.2.1 NODE6=2001:db8::1 OUTSIDE4=192.0.2.2 OUTSIDE6=2001:db8::2
export CNI_BIN=/opt/cni/bin CNI_CONF=/etc/cni/net.d LOG=/run/log.txt

sandbox_mounts() {
    mount --make-rprivate /
    # A sysfs of this network namespace, with the cgroups of the old one back in their place.
    mount -t tmpfs tmpfs /run
    mkdir -p /run/cgroup /run/tmp /run/lock /run/etc
    mount --rbind /sys/fs/cgroup /run/cgroup
    mount -t sysfs sysfs /sys
    mount --rbind /run/cgroup /sys/fs/cgroup
    umount --recursive --lazy /run/cgroup
    # Copied, not overlaid: an overlay on top of a container's overlay root fails.
    cp -a /etc/. /run/etc
    mount --bind /run/etc /etc
    rm -rf "$CNI_CONF"
    mkdir -p "$CNI_CONF"
    mount -t tmpfs tmpfs /var/lib
    mount -t tmpfs tmpfs /opt
    export TMPDIR=/run/tmp HOME=/run/tmp XDG_RUNTIME_DIR=/run/tmp
    : >"$LOG"
    sandbox_plugins
}

# Offramp beside the reference plugins that it may delegate to, and that runtimes call themselves.
sandbox_plugins() {
    mkdir -p "$CNI_BIN"
    cp /usr/lib/cni/{host-local,static,loopback} "$CNI_BIN"
    if [[ $PLUGIN == offramp ]]; then
        cp "$PLUGIN_DIR/offramp" "$CNI_BIN"
        [[ ! -x $PLUGIN_DIR/offrampd ]] || cp "$PLUGIN_DIR/offrampd" /opt
    else
        cp /usr/lib/cni/{bridge,portmap,bandwidth} "$CNI_BIN"
    fi
}

# `outside` has no route to the pods: what it answers to was masqueraded.
sandbox_network() {
    hostname node
    ip link set lo up
    mkdir -p /run/netns
    ip netns add outside
    ip link add name uplink type veth peer name eth0 netns outside
    ip address add "$NODE4/24" dev uplink
    ip -6 address add "$NODE6/64" dev uplink nodad
    ip link set uplink up
    ip -n outside link set lo up
    ip -n outside address add "$OUTSIDE4/24" dev eth0
    ip -n outside -6 address add "$OUTSIDE6/64" dev eth0 nodad
    ip -n outside link set eth0 up
    mkdir /run/outside
    echo outside >/run/outside/index.html
    ip netns exec outside busybox httpd -p 80 -h /run/outside
}
