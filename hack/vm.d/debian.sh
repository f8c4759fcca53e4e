# shellcheck shell=bash disable=SC2034,SC2154 # sourced by hack/vm, whose variables it uses
# Debian packages from suites that this machine has not configured, by an apt state of our own:
# /etc/apt and the machine's package lists stay as they are.

# Both kernel lines come from here, whatever release this machine runs.
kernel_suite=trixie

# shellcheck source=/dev/null
machine_suite() { (. /etc/os-release && echo "$VERSION_CODENAME"); }

# The mirror that this machine uses already.
debian_mirror() {
  local suite
  suite=$(machine_suite)
  # shellcheck disable=SC2016 # apt's variables
  apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
    awk -v suite="$suite" '$1 == suite { print $2; found = 1; exit } END { exit !found }' ||
    die 125 "apt's sources name no Debian mirror for $suite"
}

# private_apt STATUS SUITE...: sets apt_options so that apt sees these suites, each with its
# backports, beside the packages that the dpkg database STATUS says are installed.
private_apt() {
  local dir=$work/apt mirror suite
  mirror=$(debian_mirror)
  rm -rf "$dir"
  mkdir -p "$dir"/{lists,cache/archives}/partial
  for suite in "${@:2}"; do
    printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
      "$mirror" "$suite" "$mirror" "$suite-backports"
  done >"$dir/sources.list"
  apt_options=(-qq -o APT::Sandbox::User=root -o DPkg::Lock::Timeout=300
    -o Dir::Etc::sourcelist="$dir/sources.list" -o Dir::Etc::sourceparts=-
    -o Dir::State::lists="$dir/lists" -o Dir::State::status="$1" -o Dir::Cache="$dir/cache")
  apt-get "${apt_options[@]}" update || die 125 "apt-get update for ${*:2} failed"
}

# unpack_packages DIR PACKAGE...: the packages' files below DIR; nothing is installed.
unpack_packages() {
  local debs package
  debs=$(mktemp -d "$work/debs.XXXXXX")
  (cd "$debs" && apt-get "${apt_options[@]}" download "${@:2}") ||
    die 125 "apt-get download ${*:2} failed"
  for package in "$debs"/*.deb; do dpkg-deb --extract "$package" "$1"; done
  rm -rf "$debs"
}

# install_packages SUITE PACKAGE...: installs on this machine.
install_packages() {
  say "installs ${*:2} from $1 with apt"
  DEBIAN_FRONTEND=noninteractive apt-get "${apt_options[@]}" -y --no-install-recommends \
    -t "$1" install "${@:2}" >"$work/apt.log" 2>&1 ||
    { cat "$work/apt.log" >&2; die 125 "apt-get install ${*:2} failed"; }
}

# What the lab and the tests in it run, as COMMAND:PACKAGE.
needed=(depmod:kmod xz:xz-utils ip:iproute2 ping:iputils-ping nft:nftables)
needed_for_modules=(make:make gcc-12:gcc-12)

install_what_is_missing() {
  local suite pair missing=() qemu=()
  for pair in "${needed[@]}" ${built:+"${needed_for_modules[@]}"}; do
    command -v "${pair%:*}" >/dev/null || missing+=("${pair#*:}")
  done
  # the stock qemu of Debian 12 has no igb
  qemu-system-x86_64 -device igb,help >/dev/null 2>&1 || qemu=(qemu-system-x86)
  ((${#missing[@]} + ${#qemu[@]})) || return 0
  suite=$(machine_suite)
  private_apt /var/lib/dpkg/status "$suite"
  ! ((${#missing[@]})) || install_packages "$suite" "${missing[@]}"
  ! ((${#qemu[@]})) || install_packages "$suite-backports" "${qemu[@]}"
}
