# shellcheck shell=bash disable=SC2154 # sourced by inside.bash
# Pods as docs/annotations.md has them.

k() { kubectl --namespace lab "$@"; }

# Pods are refused before the controller has made the service account.
lab_namespace() {
    kubectl get namespace lab >/dev/null 2>&1 || kubectl create namespace lab >/dev/null
    within 30 k get serviceaccount default >/dev/null
}

# pod NAME NODE [ANNOTATIONS]: serves its name by HTTP.
pod() { pod_json "$@" | k apply --validate=false -f - >/dev/null; }

pod_json() {
    jq -n --arg name "$1" --arg node "$2" --argjson annotations "${3:-{\}}" --arg image "$IMAGE" '
        {apiVersion: "v1", kind: "Pod", metadata: {name: $name, namespace: "lab", labels: {app: $name}, annotations: $annotations},
         spec: {nodeName: $node, terminationGracePeriodSeconds: 0, tolerations: [{operator: "Exists"}],
                containers: [{name: "web", image: $image, command: ["sh", "-c",
                    "mkdir -p /tmp/web && echo \($name) >/tmp/web/index.html && exec httpd -f -p 80 -h /tmp/web"]}]}}'
}

pod_ready() {
    k wait --for=condition=Ready --timeout "${2:-90}s" "pod/$1" >/dev/null || fail "$(pod_warnings "$1")"
    k get pod "$1" -o json | jq -r '[.status.podIPs[].ip] | join(", ")'
}

pod_warnings() {
    k get events --field-selector "involvedObject.name=$1" -o json |
        jq -r '[.items[] | select(.type == "Warning") | "\(.reason): \(.message)"] | unique | join("; ")'
}

pod_event() { # POD REASON
    k get events --field-selector "involvedObject.name=$1" -o json |
        jq -er --arg reason "$2" '[.items[] | select(.reason == $reason) | .message][0] // error("none")'
}

annotation() { k get pod "$1" -o json | jq -er --arg key "$2" '.metadata.annotations[$key]'; }

scene_pods() {
    section "docs/annotations.md"
    lab_namespace
    pod preferred node-a '{"offramp.dev/offload": "preferred"}'
    pod wrong node-a '{"offramp.dev/offload": "always"}'
    try "a pod that would like a VF starts" pod_ready preferred
    try "and is told why it has none, by an event" within 20 pod_event preferred OfframpFallback
    try "offramp.dev/status" within 20 annotation preferred offramp.dev/status
    try "network-status" within 20 annotation preferred k8s.v1.cni.cncf.io/network-status
    try "a wrong annotation is refused, the event names it" within 30 refused_by_name wrong offramp.dev/offload
    try "a static pod has the pod network" static_pod
    try "a deployment of 30 pods starts" deployment 30
    try "and goes, and no attachment of it stays" deployment_goes
    k delete pod --all --wait=true >/dev/null
}

refused_by_name() {
    pod_warnings "$1" | tee /dev/stderr | grep -F -- "$2"
}

static_pod() {
    mkdir -p "$WORK/disk/node-b/etc/static"
    pod_json static node-b | jq 'del(.spec.nodeName)' >"$WORK/disk/node-b/etc/static/static.json"
    within 60 k get pod static-node-b >/dev/null
    pod_ready static-node-b
    within 20 annotation static-node-b k8s.v1.cni.cncf.io/network-status >/dev/null
    rm "$WORK/disk/node-b/etc/static/static.json"
    k wait --for=delete --timeout 60s pod/static-node-b
}

deployment() {
    jq -n --arg image "$IMAGE" --argjson n "$1" '{apiVersion: "apps/v1", kind: "Deployment", metadata: {name: "many"},
        spec: {replicas: $n, selector: {matchLabels: {app: "many"}}, template: {metadata: {labels: {app: "many"}},
            spec: {terminationGracePeriodSeconds: 0, containers: [{name: "main", image: $image}]}}}}' | k apply -f - >/dev/null
    k rollout status deployment/many --timeout 180s
}

deployment_goes() {
    k delete deployment many >/dev/null
    within 120 pods_are_gone app=many
    within 60 nobody_is_attached many-
}

pods_are_gone() { [[ -z $(k get pods -l "$1" -o name) ]]; }

# nobody_is_attached PREFIX: no node has a record of such a pod.
nobody_is_attached() {
    local node found
    for node in "${NODES[@]}"; do
        found=$(offrampd_on "$node" attachments -o json | jq -r --arg prefix "$1" \
            '[.[].pod | select(.) | tostring | select(contains($prefix))] | join(" ")')
        [[ -z $found ]] || fail "$node: $found"
    done
}
