#!/usr/bin/env bash
# Checks what the tests need of a cluster; half a minute. Works on any KUBECONFIG whose nodes have the
# images, for the NodePort if NODE_IP names a node.
set -euo pipefail
given=${KUBECONFIG:-} given_ip=${NODE_IP:-}
# shellcheck source=tests/cluster/lib.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/lib.sh"
[ -z "$given" ] || export KUBECONFIG=$given
NODE_IP=${given_ip:-$NODE_IP}
needs packages mysql kubernetes node
SPACE=smoke-$$
DIRECTORY=$(mktemp -d)
forward=
trap 'kill $forward 2>/dev/null || true; rm -rf "$DIRECTORY"; kubectl delete namespace "$SPACE" --wait=false >/dev/null' EXIT

k() { kubectl --namespace "$SPACE" "$@"; }
verified() { printf '%3d s  %s\n' "$SECONDS" "$*"; }
missed() { printf 'smoke: %s\n' "$*" >&2; k get pods,events >&2; exit 1; }
within() {
    local seconds=$1 what=$2
    shift 2
    for ((i = 0; i < seconds * 4; i++)); do
        if "$@" >"$DIRECTORY/out" 2>&1; then verified "$what"; return; fi
        sleep 0.25
    done
    cat "$DIRECTORY/out" >&2
    missed "$what: not within $seconds s"
}

kubectl create namespace "$SPACE" >/dev/null
kubectl label namespace "$SPACE" pod-security.kubernetes.io/enforce=restricted >/dev/null
within 20 "a namespace has its account" k get serviceaccount default
restricted='{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}'
cat >"$DIRECTORY/objects.yaml" <<YAML
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {selector: {app: db}, ports: [{port: 3306}]}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: db, labels: {app: db}}
spec:
  terminationGracePeriodSeconds: 5
  securityContext:
    runAsNonRoot: true
    runAsUser: 999
    runAsGroup: 999
    fsGroup: 999
    seccompProfile: {type: RuntimeDefault}
  containers:
  - name: mysql
    image: localhost/mysql:9.7
    args: ["--innodb-redo-log-capacity=8M", "--mysqlx=OFF"]
    env: [{name: MYSQL_ROOT_PASSWORD, value: smoke}, {name: MYSQL_DATABASE, value: shop}]
    securityContext: $restricted
    readinessProbe: {exec: {command: [mysqladmin, -h127.0.0.1, -uroot, -psmoke, ping]}, periodSeconds: 1}
    volumeMounts:
    - {name: data, mountPath: /var/lib/mysql}
    - {name: run, mountPath: /var/run/mysqld}
    - {name: tmp, mountPath: /tmp}
  volumes:
  - {name: data, persistentVolumeClaim: {claimName: data}}
  - {name: run, emptyDir: {}}
  - {name: tmp, emptyDir: {}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      securityContext: {runAsNonRoot: true, runAsUser: 101, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: nginx
        image: localhost/nginx:test
        securityContext: $restricted
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
        volumeMounts: [{name: tmp, mountPath: /tmp}]
      volumes: [{name: tmp, emptyDir: {}}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: often}
spec:
  schedule: "* * * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
          containers:
          - {name: drctl, image: "localhost/drctl:dev", args: [--version], securityContext: $restricted}
YAML
k apply -f "$DIRECTORY/objects.yaml" >/dev/null
# A minute that it has missed, so that it need not be waited for.
k patch cronjob often --subresource status --type merge \
    --patch "{\"status\":{\"lastScheduleTime\":\"$(date -u -d '-2 min' +%FT%TZ)\"}}" >/dev/null

within 30 "pods run under the restricted profile" k wait --for condition=Available --timeout 1s deployment/web
within 30 "a claim is bound to a volume, and MySQL runs on it as user 999" \
    k wait --for condition=Ready --timeout 1s pod/db
within 10 "kubectl exec and logs" sh -c "
    kubectl -n $SPACE exec db -- mysql -h127.0.0.1 -uroot -psmoke -e 'SHOW DATABASES' | grep -x shop &&
    kubectl -n $SPACE logs db | grep 'ready for connections'"
web=$(k get pods -l app=web -o jsonpath='{.items[0].metadata.name}')
within 10 "a service by its name and its address" k exec "$web" -- curl -sf "http://web.$SPACE.svc.cluster.local/"
within 10 "a short name, and another port through its service" \
    k exec "$web" -- timeout 2 bash -c 'head -c 30 </dev/tcp/db/3306 | grep -aF 9.'
port=$(k get service web -o jsonpath='{.spec.ports[0].nodePort}')
within 10 "a NodePort" curl -sf "http://$NODE_IP:$port/"
k port-forward pod/db :3306 >"$DIRECTORY/forward" 2>&1 &
forward=$!
within 10 "port-forward" sh -c "
    port=\$(sed -n 's/.*127.0.0.1:\([0-9]*\) .*/\1/p' '$DIRECTORY/forward') && [ -n \"\$port\" ] &&
    \"$LAB/mysql/bin/mysql\" --no-defaults -h127.0.0.1 -P\$port -uroot -psmoke -e 'SELECT 1'"
within 30 "a CronJob fires, and drctl's image runs with a read-only root" \
    k wait --for condition=Complete --timeout 1s job --all
printf '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"%s","namespace":"%s"}}' "$web" "$SPACE" |
    kubectl create --raw "/api/v1/namespaces/$SPACE/pods/$web/eviction" -f - >/dev/null
within 10 "an evicted pod is replaced" sh -c "
    ! kubectl -n $SPACE get pod $web && kubectl -n $SPACE wait --for condition=Available \
        --timeout 1s deployment/web"
volume=$(k get pvc data -o jsonpath='{.spec.volumeName}')
k delete pod db --now >/dev/null 2>&1
k delete pvc data >/dev/null
within 20 "a volume goes with its claim" sh -c "! kubectl get pv $volume"
