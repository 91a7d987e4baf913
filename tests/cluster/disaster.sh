#!/usr/bin/env bash
# Measures the disaster of docs/kubernetes.md on a cluster whose data may be lost: destroys the database's pod and
# volume, presses the button as the runbook has it, and compares the data with those of before.
#
#   disaster.sh [NAMESPACE]    of the release `drctl`, target `shop`, as install.sh makes it
set -euo pipefail
given=${KUBECONFIG:-}
# shellcheck source=tests/cluster/lib.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/lib.sh"
[ -z "$given" ] || export KUBECONFIG=$given
namespace=${1:-dr} target=shop
needs packages kubernetes

k() { kubectl --namespace "$namespace" "$@"; }
now() { date +%s%3N; }
seconds() { printf '%d.%d s' "$(($1 / 1000))" "$(($1 % 1000 / 100))"; }
# shellcheck disable=SC2016  # its password stays in the pod
digest() {
    k exec drctl-database-0 -- sh -c 'export MYSQL_PWD=$(cat /run/secrets/database/root-password)
        tables=$(mysql --no-defaults -uroot -N -e "SELECT CONCAT(table_schema, \".\", table_name) FROM information_schema.tables
            WHERE table_schema NOT IN (\"mysql\", \"sys\", \"information_schema\", \"performance_schema\") ORDER BY 1")
        for table in $tables; do mysql --no-defaults -uroot -N -e "CHECKSUM TABLE $table; SELECT COUNT(*) FROM $table"; done'
}

before=$(digest)
[ -n "$before" ] || fail "the database is empty: nothing to lose"
printf '%s\n' "$before"
t0=$(now)
k delete pvc data-drctl-database-0 --wait=false
k delete pod drctl-database-0 --grace-period=0 --force 2>/dev/null
until [ "$(k get pod drctl-database-0 --output 'jsonpath={.status.containerStatuses[0].ready}' 2>/dev/null)" = true ]; do
    sleep 0.2
done
t1=$(now)
[ "$(digest)" != "$before" ] || fail "the volume is still there"

# The runbook's own lines.
k delete job drctl-restore-1 --ignore-not-found >/dev/null
# shellcheck disable=SC2016  # backticks of Markdown
button=$(sed -n '/^\*\*With the chart\*\*/,$p' "$HERE/../../runbooks/restore-all.md" | sed -n '/^```sh$/,/^```$/{/^```sh$/d;/^```$/q;p}')
export namespace target
bash -euo pipefail -c "$button"
k wait --for=condition=complete --timeout=5m job/drctl-restore-1 >/dev/null
k rollout status deployment/drctl-web --timeout=2m >/dev/null
t2=$(now)
[ "$(digest)" = "$before" ] || fail "the data are not those of before"
k patch cronjob drctl-backup --patch '{"spec":{"suspend":false}}' >/dev/null

# Back to normal: the first backup is of another server, as it should be here.
stamp=$(date +%s)
ended() { k wait --for=jsonpath='{.status.conditions[0].status}'=True --timeout=5m "job/$1" >/dev/null; }
k create job "drctl-backup-$stamp" --from=cronjob/drctl-backup >/dev/null
ended "drctl-backup-$stamp"
id=$(k logs "job/drctl-backup-$stamp" | awk '/rows in/ { print $1 }')
k create job "drctl-accept-$stamp" --from=cronjob/drctl-backup --dry-run=client --output json |
    jq --arg id "$id" '.spec.template.spec.containers[0].args = ["accept", $id]' | k create -f - >/dev/null
ended "drctl-accept-$stamp"

printf '\nRTO of the disaster: %s\n  an empty server after %s; from the button to the application with verified data %s\n' \
    "$(seconds $((t2 - t0)))" "$(seconds $((t1 - t0)))" "$(seconds $((t2 - t1)))"
