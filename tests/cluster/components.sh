# shellcheck shell=bash
# How each program of the cluster is run; read by node.sh. `exec`, so that a signal reaches the program.

run_etcd() {
    exec etcd --name node --data-dir "$STATE/etcd" --unsafe-no-fsync --log-level warn \
        --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
        --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
        --initial-cluster node=http://127.0.0.1:2380
}

run_kube-apiserver() {
    exec kube-apiserver --etcd-servers http://127.0.0.1:2379 --advertise-address "$NODE_IP" \
        --service-cluster-ip-range "$SERVICES" --authorization-mode Node,RBAC \
        --enable-admission-plugins NodeRestriction --allow-privileged \
        --client-ca-file "$STATE/pki/ca.crt" \
        --tls-cert-file "$STATE/pki/apiserver.crt" --tls-private-key-file "$STATE/pki/apiserver.key" \
        --kubelet-client-certificate "$STATE/pki/admin.crt" --kubelet-client-key "$STATE/pki/admin.key" \
        --kubelet-preferred-address-types InternalIP \
        --service-account-issuer https://kubernetes.default.svc \
        --service-account-key-file "$STATE/pki/ca.crt" \
        --service-account-signing-key-file "$STATE/pki/ca.key" --profiling=false
}

run_kube-controller-manager() {
    exec kube-controller-manager --kubeconfig "$KUBECONFIG" --leader-elect=false \
        --use-service-account-credentials --root-ca-file "$STATE/pki/ca.crt" \
        --service-account-private-key-file "$STATE/pki/ca.key" \
        --cluster-signing-cert-file "$STATE/pki/ca.crt" --cluster-signing-key-file "$STATE/pki/ca.key" \
        --profiling=false
}

run_kube-scheduler() {
    exec kube-scheduler --kubeconfig "$KUBECONFIG" --leader-elect=false --profiling=false \
        --authentication-kubeconfig "$KUBECONFIG" --authorization-kubeconfig "$KUBECONFIG"
}

run_containerd() { exec containerd --config "$STATE/containerd.toml"; }

run_storage() { VOLUMES=$STATE/volumes exec storage; }

run_kubelet() {
    exec kubelet --kubeconfig "$STATE/kubelet.kubeconfig" --config "$STATE/kubelet.yaml" \
        --hostname-override "drctl-$N" --node-ip "$NODE_IP"
}

run_kube-proxy() {
    exec kube-proxy --kubeconfig "$KUBECONFIG" --proxy-mode iptables --cluster-cidr "$PODS" \
        --hostname-override "drctl-$N" --conntrack-max-per-core 0 \
        --conntrack-tcp-timeout-established 0 --conntrack-tcp-timeout-close-wait 0
}

# Its errors about nftables are those of a kernel without their queues: the rules of node.sh do without.
run_policies() { exec policies; }

run_coredns() { exec coredns -quiet -conf "$STATE/Corefile"; }
