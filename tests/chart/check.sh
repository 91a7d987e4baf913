#!/usr/bin/env bash
# Everything about the chart that needs no cluster: lint, schema, unit suites, Kubernetes' own schemas, Pod Security,
# who may reach whom, who may do what, the alert rules, the examples, and whether what is made is up to date.
# Each check is shown something broken, too, which it has to refuse.
set -euo pipefail
cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../.."

LAB=${DRCTL_LAB:-$HOME/.cache/drctl}
PATH=$LAB/bin:$PATH
KUBERNETES=1.34.4
HERE=tests/chart
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
failed=0

# Runs a check: its name, then the command.
check() {
    local name=$1
    shift
    if "$@" >"$WORK/out" 2>&1; then
        echo "ok   $name"
    else
        failed=$((failed + 1))
        echo "FAIL $name"
        sed 's/^/     /' "$WORK/out"
    fi
}

not() { ! "$@"; }

# Runs a command that has to fail, and to say why: its name, a pattern, then the command.
refuses() {
    local name=$1 why=$2
    shift 2
    if "$@" >"$WORK/out" 2>&1; then
        failed=$((failed + 1))
        echo "FAIL $name: it is not refused"
    elif ! grep -qE "$why" "$WORK/out"; then
        failed=$((failed + 1))
        echo "FAIL $name: refused for another reason than $why"
        sed 's/^/     /' "$WORK/out"
    else
        echo "ok   $name"
    fi
}

tool=$($HERE/tool.sh)
for needed in helm helm-unittest kubeconform; do
    if ! command -v "$needed" >/dev/null; then
        echo "SKIPPED the chart: $needed is not in the lab; run tests/lab/setup.sh"
        [ "${CI:-}" != true ]
        exit
    fi
done
schemas=$($HERE/schemas.sh "$tool")

render() { helm template drctl chart --namespace dr --kube-version "$KUBERNETES" "$@"; }
conforms() { kubeconform -strict -schema-location "$schemas/{{ .ResourceKind }}{{ .KindSuffix }}.json" "$@"; }

# What is made of values.yaml is what is committed.
check "README.md and values.schema.json are what values.yaml says" "$tool" docs -check chart docs/config.schema.json
cp -r chart "$WORK/stale"
sed -i 's/^timeZone: .*/timeZone: Europe\/Rome/' "$WORK/stale/values.yaml"
refuses "a README that is out of date" "make docs" "$tool" docs -check "$WORK/stale" docs/config.schema.json
sed -i '/^# -- The time zone/d' "$WORK/stale/values.yaml"
refuses "a value without a description" "timeZone: has no description" "$tool" docs -check "$WORK/stale" docs/config.schema.json

# Each kind of installation.
for values in chart/ci/*-values.yaml; do
    name=$(basename "$values" -values.yaml)
    check "$name: lint" helm lint --strict --quiet --kube-version "$KUBERNETES" chart --values "$values"
    render --values "$values" >"$WORK/$name.yaml"
    check "$name: Kubernetes' schemas" conforms "$WORK/$name.yaml"
    check "$name: Pod Security restricted, and limits everywhere" "$tool" restricted "$WORK/$name.yaml"
done
# Each object of the chart, and not only pods, has the annotations that are asked for.
annotated() { awk -v RS='(^|\n)---\n' 'NF && !/\n    example\.com\/owner: platform\n/ { print; bad = 1 } END { exit bad }' "$1"; }
for name in extended full; do
    render --values "chart/ci/$name-values.yaml" --set-json 'extraDeploy=[]' \
        --set-json 'commonAnnotations={"example.com/owner":"platform"}' >"$WORK/$name-annotated.yaml"
    check "$name: the common annotations on each object" annotated "$WORK/$name-annotated.yaml"
done
awk '!/^    example/ || seen++ != 5' "$WORK/full-annotated.yaml" >"$WORK/full-but-one.yaml"
refuses "an object without the common annotations" "^kind: " annotated "$WORK/full-but-one.yaml"
refuses "a field that Kubernetes does not have" "concurencyPolicy" \
    conforms - < <(sed 's/concurrencyPolicy/concurencyPolicy/' "$WORK/minimal.yaml")
sed 's/readOnlyRootFilesystem: true/readOnlyRootFilesystem: false/' "$WORK/minimal.yaml" >"$WORK/writable.yaml"
refuses "a root file system that can be written to" "root file system" "$tool" restricted "$WORK/writable.yaml"
sed 's/allowPrivilegeEscalation: false/allowPrivilegeEscalation: true/' "$WORK/minimal.yaml" >"$WORK/escalating.yaml"
refuses "a pod that may become root" "allowPrivilegeEscalation" "$tool" restricted "$WORK/escalating.yaml"

# A typo is refused, wherever it is.
for typo in bakup.enabled=true backup.shedule=x database.kind=postgres database.credentials.existingSecrt=x \
    web.service.nodeport=1 config.objectives.rpo=60 config.bakup.codec=zstd networkPolicy.scope=cluster \
    backup.resources.limts.memory=1Gi monitoring.rules.runbooksUrl=here storeCredentials.perTask.bakup=x \
    target=Not_A_Name backup.deadlineSeconds=soon mesh.provider=consul; do
    refuses "a typo: $typo" "values don't meet the specifications" render --values chart/ci/minimal-values.yaml --set "$typo"
done
# A value that drctl or Kubernetes would refuse in a pod, again and again, is refused here.
while read -r value; do
    refuses "a value of another kind: $value" "values don't meet the specifications" \
        render --values chart/ci/minimal-values.yaml --set-json "$value"
done <<'VALUES'
config.objectives.rpo_seconds="1h"
config.objectives.rpo_seconds=0
config.objectives.rto_seconds=1.5
config.backup.codec="lz4"
config.backup.shrink_limit=2
config.backup.schemas="shop"
config.backup.labels={"team": 1}
config.backup=null
config.notify=[]
config.restore.lanes=65
config.retention.daily=-1
config.retention.evidence_days=30
config.store.url="backups/shop"
config.store.s3.endpoint_url="minio:9000"
config.store.s3.path_style="true"
config.schedule.time_zone="+02:00"
config.serve.listen="9898"
config.verify.checks=[{"sql": "SELECT 1"}]
config.verify.pod.resources={"limit": {}}
backup=null
config=null
database.storage=null
networkPolicy.dns=null
backup.schedule=null
backup.schedule="hourly"
backup.schedule="0 25 * * *"
backup.schedule="*/30 * * *"
verify.schedule="0 3 * * 7"
prune.schedule=""
timeZone="CET+1:00"
database.storage.size="10 GB"
database.resources.limits={"memory": "lots"}
database.image.tag="9.7:latest"
image.repository="Images/drctl:1"
image.tag=1
database.existing.cidrs=["10.0.0.0"]
database.existing.parameters="ssl=true"
database.existing.fence=["web"]
database.credentials.existingSecret="My_Secret"
database.podLabels={"team": "a b"}
commonLabels={"bad label": "x"}
web.service.nodePort=40000
web.replicas="three"
web.ingress.host="Shop.Example"
watcher.namespaces=["Shop"]
monitoring.serviceMonitor.interval=30
fullnameOverride="A_name"
fullnameOverride="1st"
fullnameOverride="a-name-that-is-longer-than-the-forty-two-that-fit"
global.imageRegistry="https://mirror"
extraDeploy="x"
VALUES
while IFS=$'\t' read -r key value; do
    case $key in '#'*) continue ;; esac
    refuses "a value that drctl or Kubernetes would refuse in a pod: $key $value" \
        "values don't meet the specifications|: (config\.|[a-z]+\.schedule|extraDeploy)" \
        render --values chart/ci/minimal-values.yaml --set-json "$key=$value"
done <$HERE/refused.tsv
for value in 'backup.schedule=0 0 30-31 2 mon' 'backup.schedule=0 0 31 1-12/5 *' 'backup.schedule=0 0 31 2 */2' \
    'backup.schedule=0 0 29 2 *' 'backup.schedule=*/7 08-18/2 * jan-mar *' 'verify.schedule=@every 999999h' \
    'config.store.url=s3://a.b/c/d@e/' 'config.store.url=file:///srv/a%20b' 'config.store.s3.endpoint_url=http://minio:65535/s3' \
    'config.notify.alertmanager.url=http://alertmanager:9093' 'config.restore.fence={StatefulSet/x}'; do
    check "a value that drctl takes: $value" render --values chart/ci/minimal-values.yaml --set-string "$value"
done
refuses "no store" "config.store.url" render
refuses "a section of drctl.yaml that is emptied" "config.retention: no retention rule" \
    render --values chart/ci/minimal-values.yaml --set-json config.retention=null
for value in config.store.url='s3://KEY:hidden@b/p' config.store.url='s3://b/p?secret=hidden' \
    config.store.s3.endpoint_url='http://user:hidden@minio:9000' config.notify.webhook.url=https://hooks.example.com/hidden \
    config.notify.slack.url=https://hooks.example.com/hidden config.notify.heartbeat.backup_url=https://a.example/hidden \
    config.notify.heartbeat.verify_url=https://a.example/hidden config.notify.alertmanager.url=http://user:hidden@am:9093 \
    config.copy.to='s3://KEY:hidden@b/p' config.copy.s3.endpoint_url='http://user:hidden@minio:9000' \
    copy.from.url='s3://b/p?secret=hidden' copy.from.s3.endpoint_url='http://user:hidden@minio:9000' \
    config.source.url=mysql://a:hidden@db config.into.url=mysql://a:hidden@db config.verify.scratch=mysql://a:hidden@db \
    config.source.password=hidden config.into.password=hidden config.verify.scratch_password=hidden; do
    render --values chart/ci/minimal-values.yaml --set "$value" >"$WORK/said" 2>&1 || true
    refuses "a secret that a ConfigMap would show: ${value%%=*}" "${value%%=*}: .*(Secret|_file)" \
        render --values chart/ci/minimal-values.yaml --set "$value"
    check "and it is not shown" not grep hidden "$WORK/said"
done
for value in config.source.url=postgres://hidden@db config.notify.alertmanager.url=hidden.example.com config.verify.scratch=hidden; do
    render --values chart/ci/minimal-values.yaml --set "$value" >"$WORK/said" 2>&1 || true
    refuses "a URL that is none: ${value%%=*}" "${value%%=*}: invalid (URL|value)" \
        render --values chart/ci/minimal-values.yaml --set "$value"
    check "and it is not shown" not grep hidden "$WORK/said"
done
# Each other refusal of the templates: a value, and what is said of it.
while read -r value why; do
    refuses "a value that cannot go on: $value" "$why" render --values chart/ci/minimal-values.yaml --set-json "$value"
done <<'VALUES'
config.backup={"schemas":["a"],"exclude_schemas":["b"]} config.backup.schemas and config.backup.exclude_schemas are mutually exclusive
config.backup={"codec":"gzip","level":15} config.backup.level: 15: gzip supports levels 1 to 9
config.store.s3={"object_lock":{"mode":"compliance"}} config.store.s3.object_lock: both mode and days are required
config.notify={"alertmanager":{"url":"https://a/b","url_file":"/c"}} config.notify.alertmanager.url and url_file are mutually exclusive
config.notify={"labels":{"severity":"page"}} config.notify.labels: severity is set by drctl itself
timeZone="Local" timeZone: Local: Kubernetes does not accept this time zone
database={"kind":"existing","existing":{"host":"db"}} database.credentials.existingSecret: required if database.kind is existing
database.credentials.externalSecret={"enabled":true} database.credentials.externalSecret.key: required: the name of the entry
web.autoscaling={"enabled":true,"minReplicas":9,"maxReplicas":3} web.autoscaling.minReplicas: greater than maxReplicas
web.keda={"enabled":true} web.keda.triggers: at least one trigger is required
web.service.nodePort=80 web.service.nodePort: 80: outside the range 30000 to 32767
config.encryption={"recipients":["age1xyz"]} keys.identity.verify: required with recipients
config.encryption={"recipients_file":"/x"} keys.identity.verify: required with recipients
keys.recipients.existingSecret="x" keys.identity.verify: required with recipients
config.encryption={"recipients":["age1XYZ"]} config.encryption.recipients: item 1 is no public key
keys.allowedSigners.text="shop\u0020ssh-ed25519\u0020AAAA" keys.signing: required with allowed signers
config.trust="require" config.trust: require: no allowed signers are configured
standby.promoted=true standby.promoted: only with mode: standby
copy={"enabled":true,"from":{"url":"s3://a/b"}} copy.from: config.store is the second store, which has the backups
lease.enabled=true lease.side: required with lease.enabled
lease={"enabled":true,"side":"eu-central-1"} config.copy.to: required with lease.enabled
copy.enabled=true copy.from.url or config.copy.to: required with copy.enabled
copy={"enabled":true,"from":{"url":"s3://backups/shop"}} copy.enabled: both stores are config.store
copy={"enabled":true,"from":{"url":"s3://b/.drctl-tmp-x"}} copy.from.url: no component of the prefix may be
config.copy={"to":"s3://b/../p"} config.copy.to: no component of the prefix may be
keys.signing={"existingSecret":"x","secretProviderClass":"y"} keys.signing: its values are mutually exclusive
VALUES
for value in 'config.encryption.recipients={AGE-SECRET-KEY-1HIDDEN}' 'keys.allowedSigners.text=-----BEGIN OPENSSH PRIVATE KEY----- HIDDEN'; do
    render --values chart/ci/minimal-values.yaml --set "$value" >"$WORK/said" 2>&1 || true
    refuses "a private key that a ConfigMap would show: ${value%%=*}" "${value%%=*}: .*(public key|private key)" \
        render --values chart/ci/minimal-values.yaml --set "$value"
    check "and it is not shown" not grep HIDDEN "$WORK/said"
done
check "a user that is taken away, a section of drctl.yaml, too" render --values chart/ci/minimal-values.yaml \
    --set-json database.runAsUser=null --set-json config.objectives=null
refuses "an image of another release series than the drills" "database.image.tag is of version 8.4" \
    render --values chart/ci/minimal-values.yaml --set-string database.version=9.7,database.image.tag=8.4.3
refuses "a label twice" "app.kubernetes.io/part-of is reserved for the chart" render --values chart/ci/minimal-values.yaml \
    --set-string 'commonLabels.app\.kubernetes\.io/part-of=shop'

# What the templates promise.
check "unit suites" helm-unittest chart
cp -r chart "$WORK/broken"
sed -i 's/concurrencyPolicy: Forbid/concurrencyPolicy: Allow/' "$WORK/broken/templates/_pod.tpl"
refuses "runs that overlap" "concurrencyPolicy" helm-unittest "$WORK/broken"

rm -r "$WORK/broken"
cp -r chart "$WORK/broken"
# shellcheck disable=SC2016
sed -i 's/"backup" (list /&$drill /' "$WORK/broken/templates/_keys.tpl"
refuses "a backup that can decrypt" "key-identity" helm-unittest "$WORK/broken"

# The server is read-only while its keeper is replaced: that happens for what the keeper reads, and for nothing else.
keeper() { render --values chart/ci/standby-values.yaml --show-only templates/drctl/lease.yaml "$@" | grep checksum/config; }
keeps_running() { [ "$(keeper)" = "$(keeper --set web.replicas=5,config.retention.daily=3,standby.promoted=true)" ]; }
check "values that do not replace the keeper of the lease" keeps_running
check "values that do" not [ "$(keeper)" = "$(keeper --set lease.side=eu-west-2)" ]

CHART=chart
# A chart of charts: two of them side by side, in one release, either of which can be left out.
umbrella() {
    local twice
    rm -rf "$WORK/umbrella"
    cp -r $HERE/umbrella "$WORK/umbrella"
    mkdir "$WORK/umbrella/charts"
    cp -r "$CHART" "$WORK/umbrella/charts/drctl"
    helm template all "$WORK/umbrella" --namespace dr --kube-version "$KUBERNETES" "$@" >"$WORK/umbrella.yaml"
    conforms "$WORK/umbrella.yaml"
    twice=$("$tool" names "$WORK/umbrella.yaml" | sort | uniq -d)
    [ -z "$twice" ] || { echo "of the same name: $twice"; return 1; }
}
both() {
    umbrella && [ "$(grep -c 'kind: StatefulSet' "$WORK/umbrella.yaml")" = 2 ] &&
        grep -q 'target: all-shop$' "$WORK/umbrella.yaml" && grep -q 'target: all-forum$' "$WORK/umbrella.yaml"
}
one() { umbrella --set forum.enabled=false && ! grep -q forum "$WORK/umbrella.yaml" && grep -q all-shop-drctl "$WORK/umbrella.yaml"; }
check "two aliases side by side" both
check "an alias that is left out by its condition" one
cp -r chart "$WORK/nameless"
sed -i '/if and (ne .name "drctl")/d' "$WORK/nameless/templates/_names.tpl"
nameless() { local CHART=$WORK/nameless; umbrella; }
refuses "two aliases of one name" "of the same name: .*drctl" nameless

# Who may reach whom.
for table in "$HERE"/traffic/*.tsv; do
    name=$(basename "$table" .tsv)
    check "$name: traffic" "$tool" traffic "$table" "$WORK/$name.yaml"
done
sed 's/values: \["scratch"\]/values: ["scratch", "web"]/; s/- verify$/- web/' "$WORK/full.yaml" >"$WORK/open.yaml"
refuses "a scratch pod that others reach" "from web to scratch on 3306: allowed is true|from verify to scratch" \
    "$tool" traffic $HERE/traffic/full.tsv "$WORK/open.yaml"
render --values chart/ci/full-values.yaml --set 'networkPolicy.database.from[0].podSelector.matchLabels.app=x' \
    --set networkPolicy.scope=release >"$WORK/release.yaml"
refuses "a namespace that is not denied" "from 203.0.113.9 to other on 8080: allowed is true" \
    "$tool" traffic $HERE/traffic/full.tsv "$WORK/release.yaml"

# Who may do what.
check "rights" "$tool" rbac $HERE/rbac.tsv "$WORK/full.yaml"
sed 's/verbs: \[list, watch\]/verbs: [list, watch, delete]/' "$WORK/full.yaml" >"$WORK/rights.yaml"
refuses "a watcher that may delete" "drctl-watcher may delete pods in shop is true" "$tool" rbac $HERE/rbac.tsv "$WORK/rights.yaml"
sed 's/resources: \[services\]/resources: [services, services\/status]/' "$WORK/full.yaml" >"$WORK/rights.yaml"
refuses "a switch that may change more than the Service" "drctl-switch@dr has 3 rights, and 2 are listed" "$tool" rbac $HERE/rbac.tsv "$WORK/rights.yaml"
sed 's/resources: \[pods\/log\]/resources: [pods\/log, pods\/attach]/' "$WORK/full.yaml" >"$WORK/rights.yaml"
refuses "a right that no line knows of" "has 8 rights, and 7 are listed" "$tool" rbac $HERE/rbac.tsv "$WORK/rights.yaml"

# No password in what goes to the cluster but in the Secret itself.
secrets_stay() {
    local text
    text=$(awk 'BEGIN { RS = "---\n" } !/\nkind: Secret\n/' "$WORK/minimal.yaml")
    ! sed -n 's/^  [a-z]*-password: \(.*\)$/\1/p' "$WORK/minimal.yaml" | while read -r password; do
        printf '%s' "$text" | grep -F -e "$password" -e "$(base64 -d <<<"$password")"
    done | grep .
}
check "passwords stand in the Secret alone" secrets_stay

# The scripts that run in pods.
scripts() {
    for kind in minimal mariadb standby full; do
        sed -n '/^  accounts.sh: |$/,/^---$/{/^    /s///p}' "$WORK/$kind.yaml" >"$WORK/accounts.sh"
        [ "$(wc -l <"$WORK/accounts.sh")" -gt 10 ] || { echo "no accounts.sh in $kind"; return 1; }
        shellcheck "$WORK/accounts.sh"
    done
}
if command -v shellcheck >/dev/null; then check "scripts in pods" scripts; else echo 'SKIPPED scripts in pods: no shellcheck'; fi

# Plain manifests: one file a piece, no Helm in them, and nothing that is new at each run.
plain() {
    $HERE/manifests.sh "$WORK/manifests" chart/ci/manifests-values.yaml >/dev/null
    $HERE/manifests.sh "$WORK/again" chart/ci/manifests-values.yaml >/dev/null
    diff -r "$WORK/manifests" "$WORK/again" && conforms "$WORK"/manifests/*.yaml && ! grep -rnE 'helm\.sh|: Helm$|^kind: Secret' "$WORK/manifests"
}
check "plain manifests" plain

# The examples, and what Argo CD and Flux would render of them, in each region.
check "examples" conforms chart/examples/*.yaml
sed 's/selfHeal/selfHeel/' chart/examples/argocd.yaml >"$WORK/example.yaml"
refuses "an example with a typo" "selfHeel" conforms "$WORK/example.yaml"
example_renders() {
    local document
    rm -f "$WORK"/document.*
    csplit --quiet --prefix "$WORK/document." "$1" '/^---$/' '{*}'
    for document in "$WORK"/document.*; do
        grep -q '^kind: \(Application\|HelmRelease\)$' "$document" || continue
        "$tool" values "$document" >"$WORK/values.yaml"
        render --values "$WORK/values.yaml" >"$WORK/example-$(basename "$1" .yaml).${document##*.}.yaml"
    done
}
for example in argocd flux regions-argocd regions-flux; do
    check "the values of examples/$example.yaml" example_renders "chart/examples/$example.yaml"
done
# The two regions are of one target, and none is the other.
regions() {
    local kind first second
    for kind in argocd flux; do
        first=$WORK/example-regions-$kind.00.yaml second=$WORK/example-regions-$kind.01.yaml
        for key in 'target: shop' 'external-dns.alpha.kubernetes.io/hostname: shop.example.com'; do
            [ "$(grep -l "^ *$key$" "$first" "$second" | wc -l)" = 2 ] || { echo "$kind: not both have $key"; return 1; }
        done
        for key in server_id= 'set-identifier: ' 'aws-weight: ' 'aws-health-check-id: ' '    side: '; do
            [ "$(grep -- "$key" "$first")" != "$(grep -- "$key" "$second")" ] || { echo "$kind: both have $key"; return 1; }
        done
    done
}
check "the two regions of the examples" regions

# The rules: one source, and what an operator gets of it is what promtool reads.
rules() { "$tool" rules "$WORK/full.yaml" >"$WORK/rules.yaml" && "$LAB/prometheus/bin/promtool" check rules --lint=all --lint-fatal "$WORK/rules.yaml"; }
if [ -x "$LAB/prometheus/bin/promtool" ]; then
    check "alert rules as the operator gets them" rules
    check "alert rules say where their runbooks are" grep -q 'runbook_url: https://runbooks.example.com/drctl/DrctlBackupFailed.md' "$WORK/rules.yaml"
else
    echo "SKIPPED alert rules: promtool is not in the lab"
    [ "${CI:-}" != true ] || failed=$((failed + 1))
fi

# The dashboard asks for metrics that exist.
dashboard() {
    local metric metrics
    metrics=$(jq -r '.. | .expr? // empty' chart/files/dashboard.json | grep -oE 'drctl_[a-z_]+' | sort -u)
    [ "$(wc -l <<<"$metrics")" -gt 10 ] || return 1
    for metric in $metrics; do
        grep -q "\`$metric\`" docs/metrics.md || { echo "$metric is not in docs/metrics.md"; return 1; }
    done
}
check "the dashboard's metrics" dashboard
# Its queries, as rules that record them.
queries() {
    jq '{groups: [{name: "dashboard", rules: [.. | .expr? // empty |
        {record: "x:y", expr: gsub("\\$__rate_interval"; "5m")}] | to_entries | map(.value + {record: "x:y\(.key)"})}]}' \
        "$1" >"$WORK/queries.yaml"
    [ "$(grep -c '"expr"' "$WORK/queries.yaml")" -gt 10 ] && "$LAB/prometheus/bin/promtool" check rules "$WORK/queries.yaml"
}
if [ -x "$LAB/prometheus/bin/promtool" ]; then
    check "the dashboard's queries" queries chart/files/dashboard.json
    sed '0,/max by (namespace/s//max by (namespace(/' chart/files/dashboard.json >"$WORK/dashboard.json"
    refuses "a query that Prometheus cannot read" "could not parse expression|parse error" queries "$WORK/dashboard.json"
fi

[ "$failed" = 0 ] || { echo "chart: $failed failed" >&2; exit 1; }
echo "chart: all is well"
