# shellcheck shell=bash disable=SC2154 # sourced by hack/vm, whose variables it uses
# Modules that Debian does not build: made from Debian's own source and headers.

# Their folders in the source.
declare -A module_source=([netdevsim]=drivers/net/netdevsim [rocker]=drivers/net/ethernet/rocker)
# Our own: their folders in the repository.
declare -A own_module=([flowsim]=tests/flowsim)

# Of a module of our own: -HASH of its source, which changes. Nothing of one that is Debian's.
own_version() { # NAME
  local folder=${own_module[$1]-}
  [[ -z $folder ]] || printf -- '-%.8s' "$(cat "$parts/../../$folder"/* | sha256sum)"
}

build_module() { # NAME LINE DIR
  local version short tree=$work/module headers folder=${module_source[$1]-}
  version=$(basename "$cache/kernel-$2"/lib/modules/*)
  short=${version%-amd64}
  private_apt "$work/no-packages" "$kernel_suite"
  apt-cache "${apt_options[@]}" show "linux-headers-$version" >/dev/null 2>&1 ||
    die 125 "Debian has a newer kernel than $version by now: remove $cache/kernel-$2 and try again"
  local packages=("linux-headers-$version" "linux-headers-$short-common" "linux-kbuild-$short"
    libc6 libelf1t64 libssl3t64 zlib1g libzstd1)
  if [[ -n ${own_module[$1]-} ]]; then
    say "downloads the headers of kernel $version and builds $1"
    unpack_packages "$tree" "${packages[@]}"
    folder=${own_module[$1]}
    mkdir -p "$tree/$(dirname "$folder")"
    cp -r "$parts/../../$folder" "$tree/$folder"
  else
    say "downloads the source of kernel $version and builds $1"
    unpack_packages "$tree" "${packages[@]}" "linux-source-$2"
    tar -xJf "$tree/usr/src/linux-source-$2.tar.xz" -C "$tree" \
      --wildcards --strip-components=1 "*/$folder"
  fi

  headers=$tree/usr/src/linux-headers-$version
  sed -i "s#/usr/src/#$tree/usr/src/#" "$headers/Makefile"
  wrap_kernel_tools "$tree" "$tree/usr/lib/linux-kbuild-$short"
  # gcc-12 lacks a flag of the compiler that the kernel was built with, and there is no pahole
  make -s -j2 -C "$headers" M="$tree/$folder" CC=gcc-12 "CONFIG_${1^^}=m" \
    CONFIG_DEBUG_INFO_BTF_MODULES= CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT= modules \
    >"$work/make.log" 2>&1 ||
    { cat "$work/make.log" >&2; die 125 "building $1 for $version failed"; }
  strip -g -o "$3/$1.ko" "$tree/$folder/$1.ko"
  rm -rf "$tree"
}

# The kernel's build tools may want a newer libc than this machine's: runs them with their own.
wrap_kernel_tools() { # TREE KBUILD
  local tool libc=$1/usr/lib/x86_64-linux-gnu
  find "$2/scripts" "$2/tools" -type f -perm -u+x | while read -r tool; do
    [[ $(head -c 4 "$tool") == $'\177ELF' ]] || continue
    mv "$tool" "$tool.elf"
    # shellcheck disable=SC2016 # $0 and $@ are the wrapper's
    printf '#!/bin/sh\nexec %q --library-path %q --argv0 "$0" %q "$@"\n' \
      "$libc/ld-linux-x86-64.so.2" "$libc" "$tool.elf" >"$tool"
    chmod +x "$tool"
  done
}
