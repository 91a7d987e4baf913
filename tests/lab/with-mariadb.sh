#!/usr/bin/env bash
# with-mariadb.sh PIECE COMMAND...: runs it where that MariaDB of the lab (mariadb-next, mariadb-lts) stands
# in the place of the system's, with its client, its server and its template. For that command alone, by a
# mount namespace.
set -euo pipefail

export DRCTL_OTHER=${DRCTL_LAB:-$HOME/.cache/drctl}/$1
[ -f "$DRCTL_OTHER/template/version" ] || {
    echo "no $1 here: run tests/lab/setup.sh $1" >&2
    exit 1
}
shift
as_root=()
[ "$(id -u)" = 0 ] || as_root=(--map-root-user)
# shellcheck disable=SC2016  # the inner shell expands it
exec unshare --mount "${as_root[@]}" bash -euc '
    for wrapper in "$DRCTL_OTHER"/bin/*; do
        mount --bind "$wrapper" "$(PATH="/usr/bin:/usr/sbin" command -v "${wrapper##*/}")"
    done
    mount --bind "$DRCTL_OTHER/template" "${DRCTL_OTHER%/*}/templates/mariadb"
    exec "$@"' with-mariadb "$@"
