#!/usr/bin/env bash
# Installs the stack on the test cluster: an S3 server, the chart with some data in its database, a first backup, and
# the drill that verifies it. Prints where everything is. Run it again after a change of the chart or of the image; data
# and backups stay until the cluster ends.
#
#   install.sh [NAMESPACE]     dr, unless another is named
set -euo pipefail
# shellcheck source=tests/cluster/lib.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/lib.sh"
SPACE=${1:-dr}
STORE=$STATE/store
STORE_PORT=7070
needs packages gateway chart kubernetes node
begin=$(date +%s)

k() { kubectl --namespace "$SPACE" "$@"; }
in_node true
step() { printf '%3d s  %s\n' "$(($(date +%s) - begin))" "$*"; }

# The S3 server is in the node, so that it ends with it, and has keys of its own.
mkdir -p "$STORE/data/backups" "$STORE/versions"
if [ ! -s "$STORE/keys" ]; then
    (umask 077 && printf 'AWS_ACCESS_KEY_ID=drctl\nAWS_SECRET_ACCESS_KEY=%s\n' "$(openssl rand -hex 20)" >"$STORE/keys")
fi
answers() { curl --silent --output /dev/null "http://$NODE_IP:$STORE_PORT/"; }
if ! answers; then
    # shellcheck source=/dev/null
    (
        source "$STORE/keys"
        export ROOT_ACCESS_KEY=$AWS_ACCESS_KEY_ID ROOT_SECRET_KEY=$AWS_SECRET_ACCESS_KEY
        in_node setsid versitygw --quiet --keep-alive --port "$NODE_IP:$STORE_PORT" posix \
            --versioning-dir "$STORE/versions" "$STORE/data" </dev/null >>"$STATE/log/versitygw" 2>&1 &
    )
    for _ in {1..100}; do answers && break; sleep 0.1; done
    answers || fail "versitygw does not answer: $(tail -n 3 "$STATE/log/versitygw")"
fi
step "S3 server"

kubectl create namespace "$SPACE" --dry-run=client --output yaml | kubectl apply -f - >/dev/null 2>&1
kubectl label namespace "$SPACE" --overwrite pod-security.kubernetes.io/enforce=restricted >/dev/null
k create secret generic store --from-env-file "$STORE/keys" --dry-run=client --output yaml | k apply -f - >/dev/null
# Another namespace of that name has another database: not what was backed up before.
prefix=mysql-$(kubectl get namespace "$SPACE" --output 'jsonpath={.metadata.uid}' | cut -c 1-8)
# Two releases of one name cannot have one port.
[ "$SPACE" = dr ] && node_port=30080 || node_port=0
cat >"$STORE/values.yaml" <<YAML
target: shop
image: {repository: localhost/drctl, tag: dev}
config:
  store: {url: "s3://backups/$prefix", s3: {endpoint_url: "http://$NODE_IP:$STORE_PORT", region: us-east-1}}
storeCredentials: {existingSecret: store}
database: {image: {repository: localhost/mysql, tag: "9.7"}, storage: {size: 1Gi}}
networkPolicy: {dns: {to: [{ipBlock: {cidr: $NODE_IP/32}}]}, store: {ports: [$STORE_PORT]}}
web: {image: {repository: localhost/nginx, tag: test}, service: {nodePort: $node_port}}
YAML
helm upgrade drctl "$HERE/../../chart" --install --namespace "$SPACE" --values "$STORE/values.yaml" --wait --timeout 5m \
    >"$STORE/notes" || fail "the chart could not be installed (above is what helm said); kubectl -n $SPACE get pods,events"
step "stack: $(k get pods --no-headers --selector app.kubernetes.io/instance=drctl | grep -c Running) pods run"

# Its password stays in the pod.
# shellcheck disable=SC2016
sql() {
    k exec --stdin drctl-database-0 -- sh -c \
        'MYSQL_PWD=$(cat /run/secrets/database/root-password) exec mysql --no-defaults --user=root "$@"' sql "$@"
}
if [ -z "$(sql --skip-column-names --execute 'SHOW TABLES FROM app')" ]; then
    sql app <<'SQL'
SET SESSION cte_max_recursion_depth = 1000000;
CREATE TABLE orders (id INT PRIMARY KEY AUTO_INCREMENT, customer INT, price DECIMAL(9,2), made DATETIME(6), note TEXT,
    KEY by_customer (customer));
INSERT orders (customer, price, made, note)
    WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 200000)
    SELECT i MOD 9973, i / 7, '2026-01-01' + INTERVAL i SECOND, SHA2(i, 256) FROM n;
CREATE VIEW dear AS SELECT id, customer, price FROM orders WHERE price > 20000;
SQL
fi
step "data: $(sql --skip-column-names --execute 'SELECT COUNT(*) FROM app.orders') orders"

ended() {
    for _ in {1..1200}; do
        case $(k get job "$1" --output 'jsonpath={.status.conditions[?(@.status=="True")].type}') in
        *Complete*) return ;;
        *Failed*) break ;;
        esac
        sleep 0.25
    done
    k logs "job/$1" >&2 || true
    fail "the Job $1 failed; kubectl -n $SPACE describe job $1"
}
for task in backup verify; do
    job=drctl-$task-$begin
    k create job "$job" "--from=cronjob/drctl-$task" >/dev/null
    ended "$job"
    step "$task: $(k logs "job/$job" | grep -E 'rows in|verdict' | sed 's/^ *//' | tail -n 1)"
done

address() { k get service "$1" --output 'jsonpath={.spec.clusterIP}'; }
cat <<TEXT

  the web page          http://$NODE_IP:$(k get service drctl-web --output 'jsonpath={.spec.ports[0].nodePort}')
  status and metrics    http://$(address drctl):9898    .../metrics
  S3                    http://$NODE_IP:$STORE_PORT, s3://backups/$prefix, keys in $STORE/keys

  export KUBECONFIG=$KUBECONFIG PATH=$LAB/bin:\$PATH
  kubectl -n $SPACE exec deploy/drctl -- drctl list
  kubectl -n $SPACE logs -f deploy/drctl-watcher
  tests/cluster/disaster.sh $SPACE       destroy the database and its volume, and bring everything back
  helm -n $SPACE get notes drctl         all the rest
  helm -n $SPACE uninstall drctl         leaves volume, passwords and backups

TEXT
step "ready"
