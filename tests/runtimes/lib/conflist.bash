# shellcheck shell=bash
# Network configurations, of Offramp and of the reference plugins, for the same network.

export POD4=10.88.0.0/24 POD6=fd88::/64 GATEWAY4=10.88.0.1 GATEWAY6=fd88::1 BRIDGE=br-lab
export NETWORK=lab
CAPABILITIES='{"portMappings": true, "bandwidth": true, "ips": true, "mac": true, "dns": true,
    "io.kubernetes.cri.pod-annotations": true}'

# conflist VERSION [IPAM_TYPE]: writes the configuration of $NETWORK, at once, since containerd
# reads what it sees.
conflist() {
    local version=$1 ipam=${2:-$PLUGIN} plugins
    [[ $ipam != bridge ]] || ipam=host-local
    plugins=$(plugin_list "$(ipam_section "$ipam")")
    jq -n --arg version "$version" --arg name "$NETWORK" --argjson plugins "$plugins" \
        '{cniVersion: $version, name: $name, plugins: $plugins}' >/run/conflist
    mv /run/conflist "$CNI_CONF/$NETWORK.conflist"
}

# conflist_node VERSION: nothing inline, so that the plugin asks the daemon.
conflist_node() {
    jq -n --arg version "$1" --arg name "$NETWORK" --argjson capabilities "$CAPABILITIES" \
        '{cniVersion: $version, name: $name,
          plugins: [{type: "offramp", logLevel: "debug", capabilities: $capabilities}]}' \
        >/run/conflist
    mv /run/conflist "$CNI_CONF/$NETWORK.conflist"
}

ipam_section() {
    jq -n --arg type "$1" --arg v4 "$POD4" --arg v6 "$POD6" \
        '{type: $type, ranges: [[{subnet: $v4}], [{subnet: $v6}]]}'
}

# Offramp does in one plugin what takes the reference three.
plugin_list() {
    jq -n --arg type "$PLUGIN" --arg bridge "$BRIDGE" --argjson ipam "$1" \
        --argjson capabilities "$CAPABILITIES" '
        {type: $type, bridge: $bridge, isGateway: true, isDefaultGateway: true, ipMasq: true,
         hairpinMode: true, ipam: $ipam} as $main
        | if $type == "offramp"
          then [$main + {logLevel: "debug", capabilities: $capabilities}]
          else [$main + {capabilities: {mac: true, ips: true}},
                {type: "portmap", capabilities: {portMappings: true}},
                {type: "bandwidth", capabilities: {bandwidth: true}}]
          end'
}
