# shellcheck shell=bash
# Writes the certificates and the files that the cluster's programs are configured by, below $STATE; read by up.sh.

# One authority signs all; who somebody is stands in the subject: a group (O) and a name (CN).
make_certificates() {
    local pki=$STATE/pki
    mkdir -p "$pki"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
        -subj "/CN=drctl-$N" -keyout "$pki/ca.key" -out "$pki/ca.crt" 2>/dev/null
    certificate apiserver /CN=kube-apiserver \
        "IP:$NODE_IP,IP:$API_IP,IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc,DNS:kubernetes.default"
    certificate admin /O=system:masters/CN=admin
    certificate kubelet "/O=system:nodes/CN=system:node:drctl-$N"
    kubeconfig admin >"$KUBECONFIG"
    kubeconfig kubelet >"$STATE/kubelet.kubeconfig"
}

certificate() {
    local name=$1 subject=$2 names=${3:-DNS:$1} pki=$STATE/pki
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "$subject" \
        -keyout "$pki/$name.key" 2>/dev/null |
        openssl x509 -req -days 3650 -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -set_serial "0x$(openssl rand -hex 8)" \
            -extfile <(echo "subjectAltName=$names") -out "$pki/$name.crt" 2>/dev/null
}

kubeconfig() {
    local pki=$STATE/pki
    cat <<YAML
apiVersion: v1
kind: Config
current-context: drctl-$N
contexts: [{name: drctl-$N, context: {cluster: drctl-$N, user: $1}}]
clusters:
- name: drctl-$N
  cluster: {server: "https://$NODE_IP:6443", certificate-authority-data: $(base64 -w0 "$pki/ca.crt")}
users:
- name: $1
  user:
    client-certificate-data: $(base64 -w0 "$pki/$1.crt")
    client-key-data: $(base64 -w0 "$pki/$1.key")
YAML
}

# The plugin `ptp` gives each pod a link and a route of its own: what two pods of the node say to each
# other is routed, passes the firewall, and finds its way back from a service's address.
configure() {
    mkdir -p "$STATE/cni"
    cat >"$STATE/cni/10-pods.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "ptp", "ipam": {"type": "host-local",
  "ranges": [[{"subnet": "$PODS"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
JSON
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE no score can be lowered, and no sandbox would start.
    cat >"$STATE/containerd.toml" <<TOML
version = 2
root = "$STATE/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$STATE/cni"
TOML
    # Images are never collected: they could not be pulled again.
    cat >"$STATE/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: "$STATE/pki/ca.crt"}}
authorization: {mode: Webhook}
clusterDomain: cluster.local
clusterDNS: ["$DNS_IP"]
resolvConf: "$STATE/resolv.conf"
cgroupDriver: cgroupfs
cgroupRoot: /$CGROUP
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
syncFrequency: 10s
volumeStatsAggPeriod: 10s
YAML
    echo "# Names from outside of the cluster are not answered." >"$STATE/resolv.conf"
    cat >"$STATE/Corefile" <<COREFILE
. {
    bind $NODE_IP
    ready $NODE_IP:8181
    errors
    cache 5
    kubernetes cluster.local in-addr.arpa {
        kubeconfig $KUBECONFIG
        pods verified
    }
}
COREFILE
    # The DNS runs on the node; its Service has the node's address for an endpoint.
    cat >"$STATE/base.yaml" <<YAML
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: standard
  annotations: {storageclass.kubernetes.io/is-default-class: "true"}
provisioner: drctl/directories
reclaimPolicy: Delete
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec:
  clusterIP: $DNS_IP
  ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
endpoints: [{addresses: ["$NODE_IP"], conditions: {ready: true}}]
YAML
}
