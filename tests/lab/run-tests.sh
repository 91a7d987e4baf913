#!/usr/bin/env bash
# All cargo tests: those of this machine's servers, those that depend on which MariaDB it is once more with the
# next one, a few of them with the long-term one, and those of Kubernetes, in a cluster of their own or in the
# one that KUBECONFIG names. Then one line of totals, and what was skipped and why. With CI=true a skip is a
# failure.
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

# Tests that meet a server as anything that can be dumped, and ask about something else: which one it is
# changes nothing that they see. What they need of a server, the files that stay ask for themselves.
same_on_every_server=(
    # The repository, its rules, documents and schedules; no server at all.
    layers:: hygiene:: alerts:: schedule::
    # The harness: every other test would fail with it.
    harness::
    # The store: what it answers, when it fails, what is deleted there (also backup_store, prune_store).
    store:: prune:: backup_commit:: backup_stages::
    # Who is told, what is shown, when things run: by what stands in the store.
    agent:: alerting:: notify:: serve:: promises::
    # A run that is ended from outside: at the source by backup_dump, at the destination by restore_stops.
    backup_signals::
    # Archives by their bytes; golden:: restores them, and drill:: holds that a drill finds damage.
    damage::
    # The memory of this program.
    memory::
    # The pages, and the commands of drill, restore_stops and restore_again as a page says them.
    runbooks::
    # A wrapper that finds its own server says nothing of tarballs.
    unpacked_anywhere
)

# On the long-term release: a backup and its way back, by lanes and by the plain client, of one of everything.
smoke=(
    fidelity:: --skip mariadb_odd --skip five_thousand_tables
    drill::a_backup_is_proven drill::the_plain_client
    unpacked_anywhere
    golden::golden_archives_restore
    cases::accounts definers:: pod_hash:: coordinates:: client_splits::
    source_server:: source_preflight::
)

# Runs the tests of MariaDB with another one in the place of the system's: PIECE, what libtest is given.
with_mariadb() {
    local piece=$1
    shift
    if [ -f "$LAB/$piece/template/version" ]; then
        echo "with MariaDB $(cat "$LAB/$piece/template/version"):"
        run tests/lab/with-mariadb.sh "$piece" \
            cargo test --locked --no-fail-fast --test it -- --skip mysql "$@"
    else
        skip "$piece: not in the lab; run tests/lab/setup.sh"
    fi
}
mapfile -t others < <(printf -- '--skip\n%s\n' "${same_on_every_server[@]}")
with_mariadb mariadb-next "${others[@]}"
with_mariadb mariadb-lts "${smoke[@]}"

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
