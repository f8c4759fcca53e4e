# shellcheck shell=bash
# A containerd of the sandbox's own.

export CONTAINERD_SOCKET=/run/containerd/containerd.sock

containerd_start() {
    cat >/run/containerd.toml <<CONF
version = 2
[debug]
  level = "warn"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$IMAGE"
  # Containers could not be started without CAP_SYS_RESOURCE, which test machines may lack.
  restrict_oom_score_adj = true
  disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "$CNI_BIN"
  conf_dir = "$CNI_CONF"
CONF
    containerd --config /run/containerd.toml &
    make_image /run/image.tar
    within 10 ctr version
    ctr images import /run/image.tar
    ctr -n k8s.io images import /run/image.tar
}

# ctr_start NAME: a container that serves its name on port 80. `ctr run` stays in the background:
# it is the one that calls ADD, and DEL once the container has ended, with an empty netns.
ctr_start() {
    local name=$1
    ctr run --cni --cgroup "$CGROUP_PARENT/$name" "$IMAGE" "$name" \
        sh -c "echo $name >/www/index.html; exec httpd -f -p 80 -h /www" >"/run/$name.log" 2>&1 &
    echo $! >"/run/$name.pid"
    within 10 ctr_started_or_ended "$name"
    ! process_ended "$(cat "/run/$name.pid")" || fail "ctr run: $(cat "/run/$name.log")"
}

ctr_started_or_ended() {
    process_ended "$(cat "/run/$1.pid")" || fetches "$1" 127.0.0.1 in_pod "$(ctr_pid "$1")"
}

ctr_pid() {
    ctr task ls | awk -v name="$1" '$1 == name && $3 == "RUNNING" { print $2; found = 1 }
        END { exit !found }'
}

# Ends the container and waits for `ctr run`, whose output must not speak of an error of DEL.
ctr_stop() {
    local pid
    pid=$(cat "/run/$1.pid")
    ctr task kill -s KILL "$1"
    within 10 process_ended "$pid"
    ctr container rm "$1"
    [[ ! -s /run/$1.log ]] || fail "ctr run: $(cat "/run/$1.log")"
}

process_ended() { ! kill -0 "$1" 2>/dev/null; }
