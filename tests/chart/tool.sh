#!/usr/bin/env bash
# The chart's checker (tool/), built anew when its source changes. Prints where it is; with arguments, runs it.
set -euo pipefail

LAB=${DRCTL_LAB:-$HOME/.cache/drctl}
source=$(dirname "$(realpath "${BASH_SOURCE[0]}")")/tool
tool=$LAB/bin/chart-check
version=$(cat "$source"/go.{mod,sum} "$source"/*.go | sha256sum)
if [ "$(cat "$tool.version" 2>/dev/null)" != "$version" ]; then
    echo "chart: building its checker (a minute or two, once)" >&2
    mkdir -p "$LAB/bin"
    # What it shares with Kubernetes is of the same versions and flags (go.mod), and compiled once.
    (cd "$source" && CGO_ENABLED=0 go build -trimpath -o "$tool.new" .)
    mv "$tool.new" "$tool"
    echo "$version" >"$tool.version"
fi
if [ $# -gt 0 ]; then
    exec "$tool" "$@"
fi
echo "$tool"
