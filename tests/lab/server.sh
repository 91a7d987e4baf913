# shellcheck shell=bash
# Throw-away servers for the demo and the bench: source this file. It needs `set -euo pipefail`.
#
#   server_start FLAVOUR DIR [OPTION...]   start one in DIR (a short path), and wait until it answers
#   server_stop DIR                        shut it down; DIR stays
#   server_sql DIR [ARGUMENT...]           its client, as root
#   servers_end                            kill all that were started here; for a trap
#   server_clients FLAVOUR                 the directory of its client programs
#   server_programs FLAVOUR                the directory of the server itself

LAB=${DRCTL_LAB:-$HOME/.cache/drctl}
SERVER_PIDS=()

server_clients() {
    case $1 in
    mysql) printf '%s' "$LAB/mysql/bin" ;;
    mariadb) printf '/usr/bin' ;;
    esac
}

server_programs() {
    case $1 in
    mysql) printf '%s' "$LAB/mysql/bin" ;;
    mariadb) printf '/usr/sbin' ;;
    esac
}

server_start() {
    local flavour=$1 dir=$2 binary options=(--innodb-flush-log-at-trx-commit=1)
    shift 2
    [ -f "$LAB/templates/$flavour/version" ] || {
        echo "no $flavour here: run tests/lab/setup.sh" >&2
        return 1
    }
    case $flavour in
    mysql)
        binary="$LAB/mysql/bin/mysqld"
        options+=(--mysqlx=OFF --secure-file-priv=)
        ;;
    mariadb) binary=/usr/sbin/mariadbd ;;
    esac
    [ "$(id -u)" != 0 ] || options+=(--user=root)
    mkdir -p "$dir"
    [ -d "$dir/data" ] || cp -r --reflink=auto "$LAB/templates/$flavour/data" "$dir/data"
    echo "$flavour" >"$dir/flavour"
    # No TCP: the socket is enough, and no port can be taken.
    "$binary" --no-defaults --datadir="$dir/data" --socket="$dir/sock" --pid-file="$dir/pid" \
        --skip-networking "${options[@]}" "$@" >>"$dir/log" 2>&1 &
    SERVER_PIDS+=("$!")
    echo "$!" >"$dir/process"
    local waited=0
    until server_sql "$dir" -e 'DO 0' 2>/dev/null; do
        if ! kill -0 "$(cat "$dir/process")" 2>/dev/null || [ "$waited" -ge 600 ]; then
            echo "the $flavour server in $dir did not start:" >&2
            tail -n 5 "$dir/log" >&2
            return 1
        fi
        sleep 0.1
        waited=$((waited + 1))
    done
}

server_stop() {
    local process
    process=$(cat "$1/process")
    kill "$process" 2>/dev/null || return 0
    wait "$process" 2>/dev/null || true
}

server_sql() {
    local dir=$1 client
    shift
    client=$(server_clients "$(cat "$dir/flavour")")/mysql
    "$client" --no-defaults --user=root --socket="$dir/sock" --default-character-set=utf8mb4 \
        --binary-mode --max-allowed-packet=1G "$@"
}

servers_end() {
    local process
    for process in "${SERVER_PIDS[@]}"; do
        kill -KILL "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
}

# What a server holds, judged by the server alone: the checksum of each table, and the text of every
# definition but the order in which they are listed.
server_fingerprint() {
    local dir=$1
    shift
    local schema
    for schema in "$@"; do
        server_sql "$dir" -N -e "SELECT CONCAT('CHECKSUM TABLE \`', table_schema, '\`.\`', table_name, '\`;')
            FROM information_schema.tables
            WHERE table_schema = '$schema' AND table_type = 'BASE TABLE' ORDER BY table_name" |
            server_sql "$dir" -N
        server_sql "$dir" -N -e "
            SELECT table_name, column_name, ordinal_position, column_default, is_nullable, column_type,
                   collation_name, column_key, extra, column_comment
            FROM information_schema.columns WHERE table_schema = '$schema' ORDER BY 1, 3;
            SELECT table_name, index_name, seq_in_index, column_name, non_unique, index_type
            FROM information_schema.statistics WHERE table_schema = '$schema' ORDER BY 1, 2, 3;
            SELECT constraint_name, table_name, referenced_table_name, update_rule, delete_rule
            FROM information_schema.referential_constraints WHERE constraint_schema = '$schema' ORDER BY 1;
            SELECT table_name, view_definition FROM information_schema.views WHERE table_schema = '$schema' ORDER BY 1;
            SELECT trigger_name, event_manipulation, action_timing, action_order, action_statement, definer
            FROM information_schema.triggers WHERE trigger_schema = '$schema' ORDER BY 1;
            SELECT routine_name, routine_type, dtd_identifier, routine_definition, definer, sql_mode
            FROM information_schema.routines WHERE routine_schema = '$schema' ORDER BY 1;
            SELECT event_name, interval_value, interval_field, status, event_definition, definer
            FROM information_schema.events WHERE event_schema = '$schema' ORDER BY 1;"
    done
}
