# shellcheck shell=bash disable=SC2154 # sourced by hack/vm, whose variables it uses
# A Debian kernel as a folder: vmlinuz and lib/modules/VERSION.

# What no test of a network plugin loads.
useless_modules=(sound drivers/{gpu,media,iio,staging,infiniband,usb,scsi,hid,input,mmc,mtd,video}
  fs/{btrfs,xfs,nfs,nfsd,smb,ocfs2,ceph,jfs,f2fs,gfs2,bcachefs})

# The newest version of a line that Debian has, such as 7.3.4+deb13-amd64. Its cloud and
# real-time flavours, which lack igb, 9p and switchdev, do not match.
newest_kernel() { # LINE
  local version
  version=$(apt-cache "${apt_options[@]}" pkgnames "linux-image-$1." |
    sed -nE 's/^linux-image-([0-9.]+\+[a-z0-9]+-amd64)$/\1/p' | sort -V | tail -n 1)
  [[ $version ]] || die 125 "Debian $kernel_suite and its backports have no kernel $1"
  echo "$version"
}

unpack_kernel() { # LINE DIR
  local version packages unpacked=$work/kernel
  private_apt "$work/no-packages" "$kernel_suite"
  version=$(newest_kernel "$1")
  # from 7.x on, linux-image is an empty package that depends on these
  packages=("linux-binary-$version" "linux-modules-$version" "linux-base-$version")
  apt-cache "${apt_options[@]}" show "${packages[0]}" >/dev/null 2>&1 || packages=("linux-image-$version")
  say "downloads Debian's kernel $version into $cache/kernel-$1"
  unpack_packages "$unpacked" "${packages[@]}"

  mkdir -p "$2/lib/modules"
  mv "$(find "$unpacked" -path "*/lib/modules/$version" -prune)" "$2/lib/modules/"
  mv "$(find "$unpacked" "$2/lib/modules" -name 'vmlinuz*' -print -quit)" "$2/vmlinuz"
  (cd "$2/lib/modules/$version/kernel" && rm -rf "${useless_modules[@]}")
  depmod -b "$2" "$version"
  rm -rf "$unpacked"
}
