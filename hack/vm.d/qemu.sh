# shellcheck shell=bash disable=SC2154 # sourced by hack/vm, whose variables it uses
# The initramfs and the virtual machine.

# The modules that 9p and overlay need, in an order in which they load.
root_modules() { # MODULE_FOLDER
  local module
  for module in 9pnet_virtio 9p overlay; do
    # a line of modules.dep names the module, then its dependencies, the deepest last
    grep -E "/$module\.ko[^:]*:" "$1/modules.dep" | tr -d : | tr ' ' '\n' | tac
  done | awk '!seen[$0]++'
}

make_initrd() { # FILE
  local root=$work/root folder file number=100
  folder=$(echo "$kernel"/lib/modules/*)
  mkdir -p "$root"/{bin,dev,proc,sys,modules,share,lower,overlay,root}
  cp "$tools/busybox" "$root/bin/busybox"
  cp "$parts/init" "$root/init"
  for file in $(root_modules "$folder"); do
    number=$((number + 1))
    case $file in
      *.xz) xz -dc "$folder/$file" ;;
      *) cat "$folder/$file" ;;
    esac >"$root/modules/$number.ko"
  done
  (cd "$root" && find . | bin/busybox cpio -o -H newc 2>/dev/null) >"$1"
}

# Sets nic_args: the NICs of a node, each on a root port of its own.
describe_nics() { # NODE
  local i id device type wire vf mac
  nic_args=()
  for i in "${!nics[@]}"; do
    type=${nics[i]%:*} id=n$i
    printf -v mac '52:54:00:00:0%s:%02x' "$1" $((i + 1))
    wire=stream,addr.type=unix,addr.path=$work/wire$i
    case ${two_nodes}$1 in
      1a) wire+=,server=on ;;
      1b) wire+=,server=off,reconnect-ms=200 ;;
      *) wire=user,restrict=on ;;
    esac
    nic_args+=(-netdev "$wire,id=$id" -device "pcie-root-port,id=port$i,chassis=$((i + 1))")
    device=bus=port$i,romfile=
    case $type in
      virtio) nic_args+=(-device "virtio-net-pci,$device,netdev=$id,mac=$mac") ;;
      virtio-sriov) # the wire, the PF and the VFs on one hub, which stands for the NIC's switch
        nic_args+=(-netdev "hubport,hubid=$i,id=hub$i,netdev=$id")
        for ((vf = ${nics[i]#*:}; vf > 0; vf--)); do # VFs must come before their PF
          nic_args+=(-netdev "hubport,hubid=$i,id=hub$i.$vf" -device
            "virtio-net-pci,$device,addr=0.$vf,netdev=hub$i.$vf,sriov-pf=pf$i,mac=${mac/#52:54:00:00/52:54:00:0$vf}")
        done
        nic_args+=(-netdev "hubport,hubid=$i,id=hub$i.0" -device
          "virtio-net-pci,$device,id=pf$i,addr=0.0,netdev=hub$i.0,mac=$mac") ;;
      *) nic_args+=(-device "$type,$device,netdev=$id,mac=$mac") ;;
    esac
  done
}

# Sets rocker_args: a switch of a node with two ports, wired to each other.
describe_rocker() { # NODE
  local wire=dgram,local.type=unix,remote.type=unix end=$work/rocker.$1
  rocker_args=(-netdev "$wire,id=rocker1,local.path=$end.1,remote.path=$end.2"
    -netdev "$wire,id=rocker2,local.path=$end.2,remote.path=$end.1"
    -device '{"driver":"rocker","name":"sw1","ports":["rocker1","rocker2"]}')
}

# Runs a node until it has powered itself off, or the time is over; its output is the command's.
boot() { # NODE
  local args nic_args rocker_args=()
  # shellcheck disable=SC2054 # commas within qemu's arguments
  # kernel words that are nobody's parameter, such as NODE, become the environment of init
  args=(-M q35,sata=off,smbus=off -accel tcg,thread=multi -cpu max -m "$memory" -smp "$cpus"
    -nodefaults -display none -monitor none -no-reboot -serial "file:$share/.$1.console"
    -kernel "$kernel/vmlinuz" -initrd "$work/initrd" -append
    "console=ttyS0 quiet panic=-1 nokaslr no_timer_check mitigations=off ${iommu:+intel_iommu=on} NODE=$1 $kernel_args"
    -virtfs local,path=/,mount_tag=machine,security_model=none,readonly=on,multidevs=remap
    -virtfs "local,path=$share,mount_tag=share,security_model=none"
    -device virtio-rng-pci -device virtio-serial-pci
    -chardev stdio,id=output,signal=off -device virtserialport,chardev=output,name=output)
  [[ ! $iommu ]] || args+=(-device intel-iommu)
  [[ " ${built[*]} " != *' rocker '* ]] || describe_rocker "$1"
  describe_nics "$1"
  # stdin never ends: at its end qemu would unplug the output port, and the command would hang
  mkfifo "$work/stdin.$1"
  trap - EXIT INT TERM
  exec timeout -k 5 "$time_limit" \
    "$qemu" "${args[@]}" "${nic_args[@]}" "${rocker_args[@]}" "${qemu_args[@]}" 0<>"$work/stdin.$1"
}
