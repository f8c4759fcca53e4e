# shellcheck shell=bash disable=SC2034,SC2154 # sourced by hack/vm, whose variables it uses
# The cache below $cache: one folder per thing, there only if complete.

# fill NAME COMMAND...: unless the cache has the folder NAME, COMMAND fills a new one, whose path is
# its last argument. It gets its name when done, so an interrupted download leaves no half folder.
# The caller holds the cache's lock, so folders without their name are left-overs.
fill() {
  local new=$cache/.new.$$
  [[ ! -d $cache/$1 ]] || return 0
  rm -rf "$cache"/.new.*
  mkdir "$new"
  "${@:2}" "$new"
  mv -T "$new" "$cache/$1"
}

# Sets kernel, tools and qemu, what the VM runs on, and adds what is built here to the modules.
prepare_machine() {
  local lock module folder
  ((EUID == 0)) || die 125 "needs root (to read the whole root filesystem, and for apt)"
  mkdir -p "$cache"
  exec {lock}>"$cache/.lock"
  flock --nonblock "$lock" || { say "waits for another hack/vm to fill $cache"; flock "$lock"; }
  install_what_is_missing
  fill tools unpack_tools
  fill "kernel-$kernel_line" unpack_kernel "$kernel_line"
  for module in "${built[@]}"; do
    folder=$module-$kernel_line$(own_version "$module")
    fill "$folder" build_module "$module" "$kernel_line"
    modules+=("$cache/$folder/$module.ko")
  done
  qemu='qemu-system-x86_64'
  if [[ ${nics[*]} == *virtio-sriov* ]]; then
    fill qemu unpack_newer_qemu
    qemu=$cache/qemu/qemu
  fi
  exec {lock}>&-
  kernel=$cache/kernel-$kernel_line tools=$cache/tools
}

# What is laid over this machine's root in the VM, and busybox for the initramfs.
unpack_tools() { # DIR
  local suite folder root=$work/tools packages=(busybox-static)
  suite=$(machine_suite)
  private_apt "$work/no-packages" "$suite"
  ip link help 2>&1 | grep -q netkit || packages+=("iproute2/$suite-backports")
  say "downloads ${packages[*]}"
  unpack_packages "$root" "${packages[@]}"
  # all below usr: a folder /bin would hide the machine's link to /usr/bin
  mkdir -p "$1/root/usr"
  for folder in "$root"/usr/{bin,sbin,lib} "$root"/{bin,sbin,lib}; do
    [[ ! -d $folder ]] || cp -a "$folder" "$1/root/usr/"
  done
  mv "$1/root/usr/bin/busybox" "$1/busybox"
  rm -rf "$root"
}
