# shellcheck shell=bash
# boot.bash NAME: the first process of a node, in namespaces of its own. It makes the node's file system, waits for its
# link, starts what a node runs, and reaps what is left to it.
set -euo pipefail
name=$1

# sysfs of this network namespace, with the cgroups in their place. What mounts get shared here is seen by containers
# that ask for it (HostToContainer).
mounts() {
    hostname "$name"
    mount --make-rprivate /
    mount -t tmpfs -o mode=0755 run /run
    mkdir -p /run/lock /run/netns /run/cgroup /run/etc
    mount --rbind /sys/fs/cgroup /run/cgroup
    mount -t sysfs sysfs /sys
    mount --rbind /run/cgroup /sys/fs/cgroup
    umount --recursive --lazy /run/cgroup
    # Copied, not overlaid: an overlay on top of a container's overlay root fails.
    cp -a /etc/. /run/etc
    mount --bind /run/etc /etc
    mkdir -p /etc/cni
    mount --bind "$WORK/disk/$name/etc" /etc/cni
    mount --bind "$WORK/disk/$name/lib" /var/lib
    mount --bind "$WORK/disk/$name/log" /var/log
    mount --bind "$WORK/disk/$name/opt" /opt
    mount --make-rshared /
}

# kubelet sets these for the whole machine; here it finds what it wants in files of its own.
hide_sysctls() {
    local key value
    mkdir /run/sysctl
    while read -r key value; do
        echo "$value" >"/run/sysctl/${key##*/}"
        mount --bind "/run/sysctl/${key##*/}" "/proc/sys/$key"
    done <<'LIST'
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
LIST
}

serve() { bash "$PARTS/service.bash" "$name" "$1" & }

until [[ -n $(ip -6 route show default 2>/dev/null) ]]; do sleep 0.05; done
mounts
hide_sysctls
serve containerd
until ctr version >/dev/null 2>&1; do sleep 0.1; done
for image in "$WORK"/images/*.tar; do ctr -n k8s.io images import "$image"; done
serve kubelet
serve kube-proxy
# What is started anew is somebody else's child.
while :; do wait -n || sleep 1; done
