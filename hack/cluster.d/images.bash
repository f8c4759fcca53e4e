# shellcheck shell=bash disable=SC2154 # sourced by hack/cluster
# Images that nodes have from the start, and no registry: Offramp's, and one from a static busybox that is both the
# sandbox of pods and what tests run in them.

export IMAGE=localhost/offramp-test:1

images_make() {
    local applet
    mkdir -p "$WORK/images" "$WORK/rootfs"/{usr/bin,tmp,etc,proc,sys,dev,run}
    cp "$(command -v busybox)" "$WORK/rootfs/usr/bin/busybox"
    for applet in sh httpd sleep timeout mkdir cat ip ping nc; do ln -sf busybox "$WORK/rootfs/usr/bin/$applet"; done
    image_wget >"$WORK/rootfs/usr/bin/wget"
    chmod +x "$WORK/rootfs/usr/bin/wget"
    python3 "$ROOT/hack/image.d/oci.py" "$WORK/rootfs" "$IMAGE" "$WORK/images/test.tar" sleep 2147483647
    "$ROOT/hack/image" --output "$WORK/images/offramp.tar" >"$WORK/image.log" 2>&1 ||
        { tail "$WORK/image.log" >&2; die 2 "hack/image failed"; }
}

# Debian's static busybox crashes on wget's -T.
image_wget() {
    cat <<'SCRIPT'
#!/usr/bin/sh
set -f
limit=30 rest=
while [ $# -gt 0 ]; do
    case $1 in
    -T) limit=$2; shift 2 ;;
    *) rest="$rest $1"; shift ;;
    esac
done
exec timeout "$limit" busybox wget $rest
SCRIPT
}
