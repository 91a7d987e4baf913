#!/usr/bin/env bash
# Plain YAML out of the chart, for people without Helm: one file a piece, to be applied in their order.
#
#   manifests.sh DIR VALUES.yaml        NAMESPACE=dr RELEASE=drctl say otherwise
set -euo pipefail

chart=$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../../chart
dir=$1 values=$2
PATH=${DRCTL_LAB:-$HOME/.cache/drctl}/bin:$PATH
"$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../lab/setup.sh" --needed chart

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Without tests and notes, and without the marks of a release.
helm template "${RELEASE:-drctl}" "$chart" --namespace "${NAMESPACE:-dr}" --kube-version 1.34.4 --skip-tests \
    --values "$values" --output-dir "$work" >/dev/null
mkdir -p "$dir"
rm -f "$dir"/[0-9]-*.yaml
number=0
for piece in platform network database drctl web watcher monitoring extra; do
    files=("$work/drctl/templates/$piece"/*.yaml)
    # Objects of the values' own stand in one file beside the directories.
    [ "$piece" != extra ] || files=("$work/drctl/templates/extra.yaml")
    [ -e "${files[0]}" ] || continue
    cat "${files[@]}" |
        sed -e '/^# Source: /d' -e '/^ *helm\.sh\//d' -e 's/managed-by: Helm$/managed-by: kubectl/' -e 's/^ *$//' |
        cat -s >"$dir/$number-$piece.yaml"
    number=$((number + 1))
done
echo "kubectl create namespace ${NAMESPACE:-dr}; kubectl apply -f $dir"
