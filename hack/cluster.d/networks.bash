# shellcheck shell=bash disable=SC2154 # sourced by inside.bash
# docs/networks.md: NetworkAttachmentDefinitions, with Offramp in the place of Multus.

scene_networks() {
    section "docs/networks.md"
    lab_namespace
    check "the definition of the custom resource" networks_definition
    cp /usr/lib/cni/{bridge,host-local} "$WORK/disk/node-a/opt/cni/bin/"
    pod storage node-a '{"k8s.v1.cni.cncf.io/networks": "storage@net1"}'
    pod missing node-a '{"k8s.v1.cni.cncf.io/networks": "nowhere"}'
    try "a pod with a network of the plugin bridge starts" pod_ready storage
    try "net1 is in the pod" network_in_pod storage
    try "net1 is in network-status" within 20 network_in_status storage
    try "a network that is not there is refused by name" within 30 refused_by_name missing nowhere
    k delete pod storage missing >/dev/null
    try "its address is given back by host-local" within 30 network_is_released
    on node-a ip link delete storage0
}

networks_definition() {
    kubectl apply -f - <<'YAML'
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: network-attachment-definitions.k8s.cni.cncf.io}
spec:
  group: k8s.cni.cncf.io
  scope: Namespaced
  names: {plural: network-attachment-definitions, singular: network-attachment-definition, kind: NetworkAttachmentDefinition}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties: {spec: {type: object, properties: {config: {type: string}}}}
YAML
    within 20 kubectl get network-attachment-definitions -A >/dev/null
    jq -n '{apiVersion: "k8s.cni.cncf.io/v1", kind: "NetworkAttachmentDefinition", metadata: {name: "storage"}, spec: {config: ({
        cniVersion: "1.0.0", name: "storage", type: "bridge", bridge: "storage0",
        ipam: {type: "host-local", ranges: [[{subnet: "192.168.20.0/24"}]]}} | tostring)}}' | k apply -f -
}

network_in_pod() { k exec "$1" -- ip -4 address show dev net1 | grep -o 'inet 192\.168\.20\.[0-9]*'; }

network_in_status() {
    annotation "$1" k8s.v1.cni.cncf.io/network-status |
        jq -er '.[] | select(.interface == "net1" and .name == "lab/storage") | .ips[0]'
}

network_is_released() { ! compgen -G "$WORK/disk/node-a/lib/cni/networks/storage/192*"; }
