#!/usr/bin/env bash
# All cargo tests: those of this machine's servers, those that meet a MariaDB once more with the next one,
# and those of Kubernetes, in a cluster of their own or in the one that KUBECONFIG names. Then one line of
# totals, and what was skipped and why. With CI=true a skip is a failure.
set -euo pipefail

LAB=${DRCTL_LAB:-$HOME/.cache/drctl}
here=$(mktemp -d)
touch "$here/skips"

status=0
export DRCTL_SKIPS="$here/skips"
run() { "$@" | tee -a "$here/out" || status=$?; }
skip() { echo "SKIPPED $*" | tee -a "$here/skips"; }

# shellcheck disable=SC2317  # the trap calls it
finish() {
    [ ! -v DRCTL_CLUSTER ] || tests/cluster/down.sh --quiet
    rm -rf "$here"
}
trap finish EXIT

run cargo test --locked --no-fail-fast --lib --bins --test it

if [ -f "$LAB/mariadb-next/template/version" ]; then
    echo "once more with MariaDB $(cat "$LAB/mariadb-next/template/version"):"
    run tests/lab/with-mariadb-next.sh cargo test --locked --no-fail-fast --test it -- \
        --skip mysql --skip store:: --skip layers:: --skip hygiene:: --skip alerts::
else
    skip "the next MariaDB: not in the lab; run tests/lab/setup.sh"
fi

# A cluster of the tests' own is made of the very binary that they drive.
if [ -z "${DRCTL_TEST_KUBECONFIG:-${KUBECONFIG:-}}" ] && [ "$(id -u)" = 0 ] && [ -x "$LAB/bin/kubernetes" ]; then
    export DRCTL_CLUSTER=9
    strip --strip-debug -o "$here/drctl" "${CARGO_TARGET_DIR:-$LAB/target}/debug/drctl"
    DRCTL_BINARY="$here/drctl" tests/cluster/images.sh
    tests/cluster/up.sh >"$here/cluster" || { cat "$here/cluster"; status=1; }
    export DRCTL_TEST_KUBECONFIG="$LAB/cluster/$DRCTL_CLUSTER/admin.kubeconfig"
fi
run cargo test --locked --no-fail-fast --test k8s

# A skipped test returns early, and cargo counts it as passed.
skipped=$(wc -l <"$here/skips")
awk -v skipped="$skipped" '
    /^test result:/ { passed += $4; failed += $6 }
    END { printf "\ntotal: %d passed, %d failed, %d skipped\n", passed - skipped, failed, skipped }
' "$here/out"
cat "$here/skips"
if [ "$skipped" -gt 0 ] && [ "${CI:-}" = true ]; then
    status=1
fi
exit "$status"
