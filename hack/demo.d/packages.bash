# shellcheck shell=bash
# What the demo needs of Debian: packages, by a command or a file that each brings.

PACKAGES_RUN='iproute2 ip
nftables nft
iputils-ping ping
iperf3 iperf3
jq jq
socat socat
procps pgrep'
PACKAGES_BUILD="gcc cc
libc6-dev /usr/include/stdlib.h
binutils readelf
musl-tools $(uname -m)-linux-musl-gcc"

# install_packages [build]: those that are missing.
install_packages() {
    local list=$PACKAGES_RUN missing=() package brings
    [[ -z ${1-} ]] || list+=$'\n'$PACKAGES_BUILD
    while read -r package brings; do
        [[ -e $brings ]] || command -v "$brings" >/dev/null || missing+=("$package")
    done <<<"$list"
    ((${#missing[@]})) || return 0
    section "Packages"
    command -v apt-get >/dev/null || die "these are missing, and there is no apt-get to install them: ${missing[*]}"
    say "Installs with apt-get: ${missing[*]}"
    local log
    log=$(mktemp "${TMPDIR:-/tmp}/offramp-demo-apt.XXXXXX")
    if ! { apt-get update && apt_install "${missing[@]}"; } >"$log" 2>&1; then
        tail -n 5 "$log" >&2
        die "apt-get could not install ${missing[*]}; see $log"
    fi
    rm "$log"
}

# iperf3 asks whether to start a server at boot: it takes the default, no.
apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
}
