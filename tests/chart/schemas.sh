#!/usr/bin/env bash
# Schemas for kubeconform: those of Kubernetes itself, and of the custom resources that the chart and its
# examples use, out of the Go modules that carry them. Kept in the lab, made anew when this file changes.
#
#   schemas.sh TOOL        prints the directory
set -euo pipefail

LAB=${DRCTL_LAB:-$HOME/.cache/drctl}
TOOL=$1

# Kubernetes as the test cluster runs it.
KUBERNETES=k8s.io/kubernetes@v1.34.4
HELM_CONTROLLER=github.com/fluxcd/helm-controller/api@v1.4.5
CONTROLLER_GEN=sigs.k8s.io/controller-tools/cmd/controller-gen@v0.19.0
# A module, and files of it.
CRDS=(
    "github.com/prometheus-operator/prometheus-operator@v0.85.0 example/prometheus-operator-crd/monitoring.coreos.com_{prometheusrules,servicemonitors,podmonitors,alertmanagerconfigs}.yaml"
    "github.com/kedacore/keda/v2@v2.21.0 config/crd/bases/keda.sh_{scaledobjects,triggerauthentications}.yaml"
    "github.com/external-secrets/external-secrets@v1.3.2 config/crds/bases/external-secrets.io_{externalsecrets,secretstores,clustersecretstores}.yaml"
    "github.com/argoproj/argo-cd/v3@v3.2.0 manifests/crds/{application,appproject}-crd.yaml"
    "github.com/fluxcd/source-controller@v1.7.0 config/crd/bases/source.toolkit.fluxcd.io_{gitrepositories,ocirepositories,helmrepositories}.yaml"
    "github.com/bitnami-labs/sealed-secrets@v0.32.2 helm/sealed-secrets/crds/bitnami.com_sealedsecrets.yaml"
    "istio.io/api@v1.31.1 kubernetes/customresourcedefinitions.gen.yaml"
)

here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
dir="$LAB/schemas"
version=$(cat "$here/schemas.sh" "$here"/schemas/*.json "$here/tool/schemas.go" | sha256sum)
if [ "$(cat "$dir/version" 2>/dev/null)" = "$version" ]; then
    echo "$dir"
    exit
fi

echo "chart: schemas of Kubernetes and of custom resources" >&2
new=$(mktemp -d "$LAB/new.schemas.XXXX")
trap 'rm -rf "$new"' EXIT

# Where a module stands, fetched if need be. Outside of any module, whose go.mod would have a say.
module() { (cd "$new" && GOFLAGS=-mod=mod go mod download -json "$1") | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'; }

"$TOOL" schemas "$(module "$KUBERNETES")/api/openapi-spec/swagger.json" "$new"
for entry in "${CRDS[@]}"; do
    read -r name files <<<"$entry"
    base=$(module "$name")
    mapfile -t paths < <(eval "printf '%s\n' $files")
    "$TOOL" crds "$new" "${paths[@]/#/$base/}"
done

# Flux's HelmRelease is carried as Go types; the generator that made its definition makes it again.
(cd "$(module "$HELM_CONTROLLER")" && GOFLAGS=-mod=mod go run "$CONTROLLER_GEN" crd paths=./v2/... output:crd:dir="$new/flux")
"$TOOL" crds "$new" "$new"/flux/*.yaml
rm -r "$new/flux"

# No module carries these.
cp "$here"/schemas/*.json "$new"
echo "$version" >"$new/version"
rm -rf "$dir"
mv "$new" "$dir"
echo "$dir"
