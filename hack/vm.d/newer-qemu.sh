# shellcheck shell=bash disable=SC2154 # sourced by hack/vm, whose variables it uses
# virtio-sriov came with qemu 10.1, which Debian 12 has not even in its backports: takes qemu from the
# kernels' suite, with all its libraries, into the cache.

unpack_newer_qemu() { # DIR
  local package
  private_apt "$work/no-packages" "$kernel_suite"
  say "downloads a newer qemu with its libraries, for virtio-sriov"
  apt-get "${apt_options[@]}" -y --no-install-recommends --download-only \
    -t "$kernel_suite-backports" install qemu-system-x86 >"$work/apt.log" 2>&1 ||
    { cat "$work/apt.log" >&2; die 125 "apt-get download of qemu from $kernel_suite-backports failed"; }
  for package in "$work"/apt/cache/archives/*.deb; do dpkg-deb --extract "$package" "$1"; done
  rm -rf "$1"/usr/share/{doc,man,locale,icons}
  cat >"$1/qemu" <<'WRAPPER'
#!/bin/sh
# Runs this folder's qemu with this folder's libc.
here=$(dirname "$(readlink -f "$0")")
libraries=$here/usr/lib/x86_64-linux-gnu
exec "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" \
  "$here/usr/bin/qemu-system-x86_64" -L "$here/usr/share/qemu" -L "$here/usr/share/seabios" "$@"
WRAPPER
  chmod +x "$1/qemu"
}
