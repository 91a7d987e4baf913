#!/bin/bash
# The part of the official database images' contract that the chart uses, for both flavours:
#
#   MYSQL_ROOT_PASSWORD or MARIADB_ROOT_PASSWORD   of root@localhost and, unless …_ROOT_HOST says another, root@%
#   MYSQL_DATABASE, MYSQL_USER, MYSQL_PASSWORD     a schema, and a user with all privileges on it
#   …_FILE                                         the same, read from a file
#   MYSQL_ALLOW_EMPTY_PASSWORD                     none is needed
#   /docker-entrypoint-initdb.d/*.sql, *.sql.gz, *.sh   run in that schema, when the data directory is new
#   /etc/mysql/conf.d/*.cnf                        options
#
# Arguments that begin with a dash are given to the server. A data directory that exists is left as it is.
# It runs as whoever the pod says: nothing is given to another user.
set -euo pipefail

server=mysqld client=mysql
if command -v mariadbd >/dev/null; then server=mariadbd client=mariadb; fi
socket=/var/run/mysqld/mysqld.sock

# The value of MYSQL_$1 or MARIADB_$1, itself or from the file that …_FILE names.
value() {
    local name
    for name in "MARIADB_$1" "MYSQL_$1"; do
        if [ -n "${!name:-}" ]; then printf '%s' "${!name}"; return; fi
        name+=_FILE
        if [ -n "${!name:-}" ]; then cat "${!name}"; return; fi
    done
}

# As an SQL string.
quoted() { local text=${1//\\/\\\\}; printf "'%s'" "${text//\'/\\\'}"; }

case ${1:-} in
'' | -*) set -- "$server" "$@" ;;
mysqld | mariadbd) ;;
*) exec "$@" ;;
esac

datadir=$("$@" --verbose --help 2>/dev/null | awk '$1 == "datadir" { print $2; exit }')
if [ -d "$datadir/mysql" ]; then exec "$@"; fi

root=$(value ROOT_PASSWORD)
if [ -z "$root" ] && [ -z "$(value ALLOW_EMPTY_PASSWORD)$(value ALLOW_EMPTY_ROOT_PASSWORD)" ]; then
    echo "[ERROR] the database is new and has no password: set MYSQL_ROOT_PASSWORD or MYSQL_ROOT_PASSWORD_FILE" >&2
    exit 1
fi
echo "[Entrypoint] initialising $datadir"
if [ "$server" = mariadbd ]; then
    mariadb-install-db --datadir="$datadir" --skip-test-db --auth-root-authentication-method=normal >/dev/null
else
    "$@" --initialize-insecure
fi
"$@" --skip-networking --socket="$socket" &
pid=$!
sql=("$client" --no-defaults --socket="$socket" -uroot --default-character-set=utf8mb4)
for _ in {1..300}; do
    if "${sql[@]}" -e 'SELECT 1' >/dev/null 2>&1; then break; fi
    kill -0 "$pid" || { echo "[ERROR] the server ended while it was initialised" >&2; exit 1; }
    sleep 0.1
done

database=$(value DATABASE) user=$(value USER) host=$(value ROOT_HOST)
host=${host:-%}
{
    if [ -n "$database" ]; then echo "CREATE DATABASE IF NOT EXISTS \`$database\`;"; fi
    if [ -n "$user" ]; then
        echo "CREATE USER $(quoted "$user")@'%' IDENTIFIED BY $(quoted "$(value PASSWORD)");"
        if [ -n "$database" ]; then echo "GRANT ALL ON \`${database//_/\\_}\`.* TO $(quoted "$user")@'%';"; fi
    fi
    if [ "$host" != localhost ]; then
        echo "CREATE USER root@$(quoted "$host") IDENTIFIED BY $(quoted "$root");"
        echo "GRANT ALL ON *.* TO root@$(quoted "$host") WITH GRANT OPTION;"
    fi
} | "${sql[@]}"
for file in /docker-entrypoint-initdb.d/*; do
    case $file in
    *.sh) echo "[Entrypoint] $file"; bash "$file" ;;
    *.sql) echo "[Entrypoint] $file"; "${sql[@]}" ${database:+"$database"} <"$file" ;;
    *.sql.gz) echo "[Entrypoint] $file"; gunzip -c "$file" | "${sql[@]}" ${database:+"$database"} ;;
    esac
done
# Last: from here on the socket asks for the password as well.
echo "ALTER USER root@localhost IDENTIFIED BY $(quoted "$root");" | "${sql[@]}"
kill "$pid"
wait "$pid"
echo "[Entrypoint] ready for start up"
exec "$@"
