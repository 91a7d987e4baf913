#!/usr/bin/env bash
# All cargo tests, then one line of totals, and what was skipped and why. With CI=true a skip is a failure.
#
#   run-tests.sh           everything
#   run-tests.sh --smoke   one test a capability, on this machine's servers: `make smoke`
#
# Everything is: the tests of this machine's servers; those that depend on which MariaDB it is once more with the
# next one, a few of them with the long-term one; those of Kubernetes, in a cluster of their own or in the one
# that KUBECONFIG names. Tests wait for servers, pods and clocks more than they compute: more of them run at a
# time than there are processors, those of Kubernetes beside all others, and those of memory alone at the end.
set -euo pipefail

LAB=${DRCTL_LAB:-$HOME/.cache/drctl}
here=$(mktemp -d)
touch "$here"/{skips,out}

status=0
export DRCTL_SKIPS="$here/skips"
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) * 2))}
# How long each test took is told by the test harness of a nightly compiler, or by one that is told to be one; cargo is
# told nothing of that, which would compile everything anew.
triple=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
export "CARGO_TARGET_${triple}_RUNNER=env RUSTC_BOOTSTRAP=1"
times=(-Z unstable-options --report-time)
run() { "$@" | tee -a "$here/out" || status=$?; }
skip() { echo "SKIPPED $*" | tee -a "$here/skips"; }
step() { printf '\n%4d s: %s\n' "$SECONDS" "$*"; }

# shellcheck disable=SC2317  # the trap calls it
finish() {
    [ ! -v beside ] || kill "$beside" 2>/dev/null || true
    [ ! -v DRCTL_CLUSTER ] || tests/cluster/down.sh --quiet
    rm -rf "$here"
}
trap finish EXIT

# A skipped test returns early, and cargo counts it as passed.
total() {
    local skipped
    skipped=$(wc -l <"$here/skips")
    awk -v skipped="$skipped" '
        /^test result:/ { passed += $4; failed += $6 }
        END { printf "\ntotal: %d passed, %d failed, %d skipped\n", passed - skipped, failed, skipped }
    ' "$here/out"
    cat "$here/skips"
    echo 'the slowest:'
    sed -nE 's/^test ([^ ]+) \.\.\. .* <([0-9.]+)s>$/\2 s  \1/p' "$here/out" | sort -rn |
        awk 'NR <= 10'
    if [ "$skipped" -gt 0 ] && [ "${CI:-}" = true ]; then
        status=1
    fi
    step "the end"
    exit "$status"
}

if [ "${1:-}" = --smoke ]; then
    run cargo test --locked --no-fail-fast --test it -- "${times[@]}" \
        harness:: layers:: hygiene:: file_store:: pod_hash:: agent::a_run_that_fails serve::an_overdue_backup \
        prune::a_dry_run prune::what_no_rule prune_store::a_bucket_with_versions \
        notify::a_failure_and_the_recovery schedule:: verbs:: \
        doctor::what_is_well doctor_keys::keys_that_fit operations::show_lists keys::an_encrypted_and_signed \
        backup_store::parts_have backup_store::the_password backup_suspect::a_vanished_table \
        backup_dump::a_dump_that_fails_late backup_signals::a_terminated backup_commit::a_manifest_that_never \
        source_preflight::a_replica coordinates::the_gtids_are definers::a_substitute_is \
        apply_restore::everything apply_refusals::a_plan_shows apply_faults::an_interrupted_restore \
        restore_refusals::a_target_that_has_the_table restore_scope::accounts_get deferred_keys:: \
        golden::golden_archives damage::no_byte_of \
        drill::a_backup_is_verified drill::the_plain_client drill::a_lost_row_is_caught drill::the_archive_alone \
        drill_checks::a_view_that drill_scratch::a_drill_that_is_terminated
    total
fi

step "cargo builds the tests"
cargo test --locked --no-run --lib --bins --test it --test k8s

# A cluster of the tests' own is made of the very binary that they drive.
if [ -z "${DRCTL_TEST_KUBECONFIG:-${KUBECONFIG:-}}" ] && [ "$(id -u)" = 0 ]; then
    export DRCTL_CLUSTER=9
    strip --strip-debug -o "$here/drctl" "${CARGO_TARGET_DIR:-$LAB/target}/debug/drctl"
fi
cluster() {
    [ -v DRCTL_CLUSTER ] || return 0
    # `make test` may still be building it.
    tests/lab/setup.sh node kubernetes ||
        return
    [ -x "$LAB/bin/kubernetes" ] || return 0
    step "Kubernetes is there"
    DRCTL_BINARY="$here/drctl" tests/cluster/images.sh && tests/cluster/up.sh || return
    export DRCTL_TEST_KUBECONFIG="$LAB/cluster/$DRCTL_CLUSTER/admin.kubeconfig"
    step "the cluster is there"
}
kubernetes() {
    cluster || return
    cargo test --locked --no-fail-fast --test k8s -- "${times[@]}"
    step "the tests of Kubernetes have ended"
}
step "the tests of Kubernetes begin, beside the others"
kubernetes >"$here/k8s" 2>&1 &
beside=$!

run cargo test --locked --no-fail-fast --lib --bins
step "the tests of this machine's servers"
run cargo test --locked --no-fail-fast --test it -- "${times[@]}" --skip memory::

# Which server it is decides what it prints as a dump and takes back, what its catalogs, grants and errors say, what
# its clients do, and how its data are made: with MariaDB's next release all tests of that once more. Not the
# others, which meet a server as anything that can be dumped: what drctl makes of a store, a signal, a damaged
# archive, an interrupted restore, a schedule or an alert is the same on every server, and tested on this
# machine's MariaDB and MySQL.
next=(
    # One of everything, by drctl and by the plain client; what is known to be lost; what is refused; old archives.
    fidelity:: --skip five_thousand_tables cases:: golden:: hidden_rows:: restore_scope:: deferred_keys:: definers::
    apply_restore::everything apply_restore::what_has_trouble
    # What it says of itself: catalogs, grants, roles, GTIDs, replication, settings.
    source_server:: source_preflight:: coordinates:: doctor:: restore_refusals:: backup_warnings::
    # What its dump program and its client do, and what the server says while they are at work.
    backup_dump::a_table backup_dump::two_tables backup_dump::a_view backup_dump::an_ backup_refusals:: client_splits::
    # How it is initialised and started, and how it ends.
    drill::a_backup_is_verified drill::the_plain_client drill::a_production_drill drill_checks::
    drill_scratch::an_external_server pod_hash:: restore_losses::
    # What holds up read-only, and who may change it.
    lease::held_up:: lease::verb::the_documented
)

# On the long-term release: a backup and its way back, by lanes and by the plain client, of one of everything.
lts=(
    fidelity:: --skip mariadb_odd --skip five_thousand_tables
    drill::a_backup_is_verified drill::the_plain_client
    unpacked_anywhere
    golden::golden_archives_restore
    cases:: definers:: hidden_rows:: deferred_keys:: pod_hash:: coordinates:: client_splits::
    source_server:: source_preflight:: doctor:: restore_refusals:: backup_warnings:: restore_losses::
    lease::held_up:: lease::verb::the_documented
)

# Runs tests of MariaDB with another one in the place of the system's: PIECE, what libtest is given.
with_mariadb() {
    local piece=$1
    shift
    if [ -f "$LAB/$piece/template/version" ]; then
        step "with MariaDB $(cat "$LAB/$piece/template/version")"
        run tests/lab/with-mariadb.sh "$piece" \
            cargo test --locked --no-fail-fast --test it -- "${times[@]}" --skip mysql "$@"
    else
        skip "$piece: not in the lab; run tests/lab/setup.sh"
    fi
}
with_mariadb mariadb-next "${next[@]}"
with_mariadb mariadb-lts "${lts[@]}"

step "waiting for the tests of Kubernetes"
wait "$beside" || status=$?
unset beside
run cat "$here/k8s"

# The neighbours of a process decide how much of its buffers are in use at a time.
step "the tests of memory, alone"
run cargo test --locked --no-fail-fast --test it -- "${times[@]}" memory::
total
