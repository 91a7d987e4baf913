#!/usr/bin/env bash
# All cargo tests, then what they skipped and why. With CI=true a skip is a failure.
set -euo pipefail

skips=$(mktemp)
trap 'rm -f "$skips"' EXIT

status=0
DRCTL_SKIPS="$skips" cargo test --locked --no-fail-fast || status=$?

count=$(wc -l <"$skips")
if [ "$count" -gt 0 ]; then
    printf '\n%s skipped:\n' "$count"
    cat "$skips"
    [ "${CI:-}" != true ] || status=1
else
    printf '\nnothing skipped\n'
fi
exit "$status"
