#!/usr/bin/env bash
# All cargo tests, then those that meet a MariaDB once more with the next one, then one line of totals,
# and what was skipped and why. With CI=true a skip is a failure.
set -euo pipefail

here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
touch "$here/skips"

status=0
export DRCTL_SKIPS="$here/skips"
cargo test --locked --no-fail-fast | tee "$here/out" || status=$?

next=${DRCTL_LAB:-$HOME/.cache/drctl}/mariadb-next/template/version
if [ -f "$next" ]; then
    echo "once more with MariaDB $(cat "$next"):"
    tests/lab/with-mariadb-next.sh cargo test --locked --no-fail-fast --test it -- \
        --skip mysql --skip store:: --skip layers:: --skip hygiene:: --skip alerts:: | tee -a "$here/out" || status=$?
    # The cluster has no image of the system's MariaDB.
    tests/lab/with-mariadb-next.sh cargo test --locked --no-fail-fast --test k8s -- mariadb | tee -a "$here/out" || status=$?
else
    echo "SKIPPED the next MariaDB: not in the lab; run tests/lab/setup.sh" | tee -a "$here/skips"
fi

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
