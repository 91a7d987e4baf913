#!/usr/bin/env bash
# with-mariadb-next.sh COMMAND...: runs it where the next MariaDB stands in the place of the system's,
# with its client, its server and its template. For that command alone, by a mount namespace.
set -euo pipefail

export DRCTL_NEXT=${DRCTL_LAB:-$HOME/.cache/drctl}/mariadb-next
[ -f "$DRCTL_NEXT/template/version" ] || {
    echo "no next MariaDB here: run tests/lab/setup.sh mariadb-next" >&2
    exit 1
}
as_root=()
[ "$(id -u)" = 0 ] || as_root=(--map-root-user)
# shellcheck disable=SC2016  # the inner shell expands it
exec unshare --mount "${as_root[@]}" bash -euc '
    for wrapper in "$DRCTL_NEXT"/bin/*; do
        mount --bind "$wrapper" "$(PATH="/usr/bin:/usr/sbin" command -v "${wrapper##*/}")"
    done
    mount --bind "$DRCTL_NEXT/template" "${DRCTL_NEXT%/*}/templates/mariadb"
    exec "$@"' with-mariadb-next "$@"
