# shellcheck shell=bash disable=SC2154 # settings sets some
# service.bash NODE SERVICE: becomes one of a node's services. Its process number is in /run/SERVICE.pid.
set -euo pipefail
name=$1
# shellcheck source=/dev/null
source "$WORK/$name/settings"
exec >>"$WORK/$name/$2.log" 2>&1 </dev/null
echo $$ >"/run/$2.pid"
case $2 in
containerd) exec containerd --config "$WORK/$name/containerd.toml" ;;
kubelet)
    exec kubelet --config "$WORK/$name/kubelet.yaml" --kubeconfig "$WORK/pki/$name.conf" \
        --hostname-override "$name" --node-ip "$address4,$address6" --cert-dir /var/lib/kubelet/pki \
        --container-runtime remote --container-runtime-endpoint unix:///run/containerd/containerd.sock
    ;;
kube-proxy)
    exec kube-proxy --kubeconfig "$WORK/pki/proxy.conf" --hostname-override "$name" --proxy-mode iptables \
        --cluster-cidr 10.244.0.0/16,fd00:244::/48 --feature-gates IPv6DualStack=true --conntrack-max-per-core 0 \
        --conntrack-tcp-timeout-established 0 --conntrack-tcp-timeout-close-wait 0 --oom-score-adj 0
    ;;
esac
