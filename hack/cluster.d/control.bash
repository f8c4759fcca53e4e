# shellcheck shell=bash disable=SC2154 # sourced by inside.bash
# The control plane, on the router: etcd, API server, controller manager, scheduler.

SERVICES=10.96.0.0/16,fd00:96::/112 PODS=10.244.0.0/16,fd00:244::/48 SERVICE=10.96.0.1
GATES=IPv6DualStack=true,BoundServiceAccountTokenVolume=true

# serve NAME COMMAND...: in the background, with a log.
serve() { "${@:2}" </dev/null >>"$WORK/$1.log" 2>&1 & }

control_start() {
    make_authority
    certificate apiserver /CN=kube-apiserver "IP:$API,IP:$SERVICE,DNS:kubernetes.default.svc"
    certificate to-kubelet /O=system:masters/CN=kube-apiserver
    client admin /O=system:masters/CN=admin
    client manager /CN=system:kube-controller-manager
    client scheduler /CN=system:kube-scheduler
    client proxy /CN=system:kube-proxy
    serve etcd etcd --data-dir "$WORK/disk/etcd" --unsafe-no-fsync --log-level error
    serve apiserver kube-apiserver --etcd-servers http://127.0.0.1:2379 \
        --advertise-address "$API" --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" \
        --client-ca-file "$pki/ca.crt" --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \
        --kubelet-client-certificate "$pki/to-kubelet.crt" --kubelet-client-key "$pki/to-kubelet.key" \
        --service-account-issuer https://kubernetes.default.svc --service-account-key-file "$pki/accounts.key" \
        --service-account-signing-key-file "$pki/accounts.key" --service-cluster-ip-range "$SERVICES" \
        --kubelet-preferred-address-types InternalIP --feature-gates "$GATES"
    within 180 kubectl get --raw /readyz >/dev/null
    serve manager kube-controller-manager --kubeconfig "$pki/manager.conf" --leader-elect=false \
        --use-service-account-credentials --root-ca-file "$pki/ca.crt" \
        --service-account-private-key-file "$pki/accounts.key" --cert-dir "$WORK/manager" \
        --allocate-node-cidrs --cluster-cidr "$PODS" --service-cluster-ip-range "$SERVICES" \
        --node-cidr-mask-size-ipv6 64 --feature-gates "$GATES"
    serve scheduler kube-scheduler --kubeconfig "$pki/scheduler.conf" --leader-elect=false --cert-dir "$WORK/scheduler"
    within 60 kubectl -n kube-system get serviceaccount default >/dev/null
    kubectl version -o json | jq -r '"Kubernetes \(.serverVersion.gitVersion)"'
}
