# shellcheck shell=bash
# A container image from nothing but the static busybox: no registry is asked.

export IMAGE=localhost/offramp-test:1

# Writes a docker-archive, which both podman and containerd import. It serves HTTP on port 80.
make_image() {
    local archive=$1 dir=/run/image layer
    mkdir -p "$dir"/rootfs/{bin,www,tmp,etc,proc,sys,dev}
    cp /bin/busybox "$dir/rootfs/bin/busybox"
    local applet
    for applet in sh httpd sleep; do ln -s busybox "$dir/rootfs/bin/$applet"; done
    echo pod >"$dir/rootfs/www/index.html"
    tar -C "$dir/rootfs" -cf "$dir/layer.tar" .
    layer=$(sha256sum "$dir/layer.tar" | cut -d' ' -f1)
    jq -n --arg layer "sha256:$layer" '{
        architecture: "amd64", os: "linux", rootfs: {type: "layers", diff_ids: [$layer]},
        config: {Env: ["PATH=/bin"], Cmd: ["httpd", "-f", "-p", "80", "-h", "/www"]}
    }' >"$dir/config.json"
    jq -n --arg image "$IMAGE" \
        '[{Config: "config.json", RepoTags: [$image], Layers: ["layer.tar"]}]' >"$dir/manifest.json"
    tar -C "$dir" -cf "$archive" manifest.json config.json layer.tar
}
