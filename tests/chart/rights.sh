#!/usr/bin/env bash
# Asks a cluster (KUBECONFIG) what rbac.tsv says: may each ServiceAccount of the chart do just that? It applies the
# chart's accounts and rights alone, in namespaces of its own that it takes away again.
set -euo pipefail
cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../.."
PATH=${DRCTL_LAB:-$HOME/.cache/drctl}/bin:$PATH
tests/lab/setup.sh --needed chart kubernetes

prefix=rights-$$
work=$(mktemp -d)
clean_up() {
    rm -rf "$work"
    kubectl delete namespace "$prefix-dr" "$prefix-shop" "$prefix-shop-jobs" --ignore-not-found --wait=false >/dev/null
}
trap clean_up EXIT

for namespace in dr shop shop-jobs; do
    kubectl create namespace "$prefix-$namespace" >/dev/null
done
helm template drctl chart --namespace "$prefix-dr" --kube-version 1.34.4 --values chart/ci/full-values.yaml \
    --set "watcher.namespaces={$prefix-shop,$prefix-shop-jobs}" --show-only templates/drctl/accounts.yaml \
    --show-only templates/drctl/rbac.yaml --show-only templates/watcher/rbac.yaml >"$work/rights.yaml"
kubectl apply -f "$work/rights.yaml" >/dev/null

mapfile -t accounts < <(kubectl -n "$prefix-dr" get serviceaccounts -o name | sed 's#.*/##; /^default$/d')
[ ${#accounts[@]} -gt 5 ] || { echo "the chart has hardly any accounts: ${accounts[*]}" >&2; exit 1; }

asked=0 wrong=0
# Whether it may: account, verb, what, namespace.
may() {
    local kind=${3%%:*} arguments=()
    local resource=${kind%%/*}
    [[ $3 != *:* ]] || resource+=/${3##*:}
    [[ $kind != */* ]] || arguments+=("--subresource=${kind#*/}")
    [ "$4" = kube-system ] || set -- "$1" "$2" "$3" "$prefix-$4"
    kubectl auth can-i "$2" "$resource" "${arguments[@]}" --namespace "$4" \
        --as "system:serviceaccount:$prefix-dr:$1" 2>/dev/null || true
}
while read -r expected account verb what namespace; do
    who=("$account")
    if [ "$account" = '*' ]; then
        who=()
        for one in "${accounts[@]}"; do
            grep -qE "^yes +$one " tests/chart/rbac.tsv || who+=("$one")
        done
    fi
    for one in "${who[@]}"; do
        asked=$((asked + 1))
        answer=$(may "$one" "$verb" "$what" "$namespace" </dev/null)
        if [ "$answer" != "$expected" ]; then
            wrong=$((wrong + 1))
            echo "$one: $verb $what in $namespace: $answer, not $expected"
        fi
    done
done < <(sed 's/#.*//; /^ *$/d' tests/chart/rbac.tsv)
echo "rights: $asked asked, $wrong wrong"
[ "$wrong" = 0 ]
