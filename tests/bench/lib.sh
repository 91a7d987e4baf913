# shellcheck shell=bash
# How the bench measures: timed runs, medians, memory, the data, an S3 server. Source this file, and
# set `here` (a short scratch directory), `flavour`, `rows`.
# shellcheck disable=SC2154

# shellcheck source-path=SCRIPTDIR source=../lab/server.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lab/server.sh"

# Times of a run, in milliseconds, one file a name: $here/times/NAME.
timed() {
    local name=$1 begun ended
    shift
    begun=$(date +%s%3N)
    "$@" >"$here/out" 2>"$here/err" || {
        echo "$name failed:" >&2
        tail -n 5 "$here/err" >&2
        return 1
    }
    ended=$(date +%s%3N)
    echo $((ended - begun)) >>"$here/times/$name"
    printf '  %-34s %8s s\n' "$name" "$(in_seconds $((ended - begun)))" >&2
}

in_seconds() { awk -v ms="$1" 'BEGIN { printf "%.2f", ms / 1000 }'; }

# The median in milliseconds.
median() {
    sort -n "$here/times/$1" | awk '{ a[NR] = $1 } END { print NR % 2 ? a[(NR + 1) / 2] : (a[NR / 2] + a[NR / 2 + 1]) / 2 }'
}

# One line of the result: what, its time, the other, its time, how often faster, what is to be reached.
row() {
    local what=$1 ours=$2 against=$3 theirs=$4 reach=$5 a b
    a=$(median "$ours")
    b=$(median "$theirs")
    printf '| %s | %s s | %s | %s s | %s | %s |\n' "$what" "$(in_seconds "$a")" "$against" "$(in_seconds "$b")" \
        "$(awk -v a="$a" -v b="$b" 'BEGIN { printf "%.2f × its time, %.2f × as fast", a / b, b / a }')" "$reach" >>"$here/rows"
}

# A result that is no race.
fact() { printf '| %s | %s | | | | %s |\n' "$1" "$2" "$3" >>"$here/rows"; }

# Runs a command and prints the most memory it ever held itself, in MiB. Its children's are theirs.
peak_mib() {
    local peak=0 seen process
    "$@" >"$here/out" 2>"$here/err" &
    process=$!
    while seen=$(awk '/^VmHWM:/ { print $2 }' "/proc/$process/status" 2>/dev/null) && [ -n "$seen" ]; do
        peak=$seen
        sleep 0.02
    done
    wait "$process" || {
        tail -n 5 "$here/err" >&2
        return 1
    }
    awk -v kib="$peak" 'BEGIN { printf "%.0f", kib / 1024 }'
}

# The options of every server here: the defaults, but memory for the data, as a real server has.
server_options() {
    printf '%s\n' --innodb-buffer-pool-size=2G
    [ "$flavour" != mysql ] || printf '%s\n' --innodb-redo-log-capacity=2G
}

# A running source with schema `one` (sysbench's tables, one secondary index), 4 tables of $rows rows each, and with
# `three` where a part needs it. Kept for the next bench.
start_source() {
    local data="$LAB/bench/$flavour-$rows" options
    mapfile -t options < <(server_options)
    source_dir="$here/source"
    mkdir -p "$source_dir" "$LAB/bench"
    if [ ! -f "$data/whole" ]; then
        echo "preparing 4 × $rows rows in $data" >&2
        rm -rf "$data"
        mkdir -p "$data"
        ln -sfn "$data/data" "$source_dir/data"
        cp -r "$LAB/templates/$flavour/data" "$data/data"
        server_start "$flavour" "$source_dir" "${options[@]}" --innodb-flush-log-at-trx-commit=0 --skip-log-bin
        prepare_rows
        server_stop "$source_dir"
        touch "$data/whole"
    fi
    ln -sfn "$data/data" "$source_dir/data"
    server_start "$flavour" "$source_dir" "${options[@]}"
}

prepare_rows() {
    server_sql "$source_dir" -e 'CREATE DATABASE one'
    sysbench oltp_common --db-driver=mysql --mysql-socket="$source_dir/sock" --mysql-user=root --mysql-db=one \
        --tables=4 --table-size="$rows" --threads=2 prepare >"$here/sysbench" 2>&1 || {
        tail -n 5 "$here/sysbench" >&2
        return 1
    }
}

# Schema `three`: a varchar more, and three secondary indexes.
need_three() {
    local data="$LAB/bench/$flavour-$rows" table
    [ ! -f "$data/three" ] || return 0
    echo "preparing three secondary indexes" >&2
    server_sql "$source_dir" -e 'DROP DATABASE IF EXISTS three; CREATE DATABASE three'
    for table in 1 2 3 4; do
        server_sql "$source_dir" three -e "
            CREATE TABLE sbtest$table (
                id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL DEFAULT 0,
                c CHAR(120) NOT NULL DEFAULT '', pad CHAR(60) NOT NULL DEFAULT '', v VARCHAR(40) NOT NULL,
                KEY k_$table (k), KEY c_$table (c), KEY v_$table (v));
            INSERT INTO sbtest$table SELECT id, k, c, pad, LEFT(SHA2(id, 256), 20 + id % 20) FROM one.sbtest$table ORDER BY id;"
    done
    touch "$data/three"
}

# An empty server to restore into; what it held before is gone.
start_target() {
    local options
    mapfile -t options < <(server_options)
    [ ! -f "$here/target/process" ] || kill_server "$here/target"
    rm -rf "$here/target"
    server_start "$flavour" "$here/target" "${options[@]}" "$@"
}

kill_server() {
    local process
    process=$(cat "$1/process")
    kill -KILL "$process" 2>/dev/null || true
    wait "$process" 2>/dev/null || true
}

# An S3 server on loopback with the bucket `bench`, and the variables that lead to it.
start_gateway() {
    local port=7100 waited=0
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
    mkdir -p "$here/s3/bench"
    export AWS_ACCESS_KEY_ID=bench AWS_SECRET_ACCESS_KEY=bench-secret AWS_REGION=us-east-1
    export AWS_ENDPOINT_URL="http://127.0.0.1:$port"
    ROOT_ACCESS_KEY=bench ROOT_SECRET_KEY=bench-secret "$LAB/bin/versitygw" --port "127.0.0.1:$port" \
        --quiet --access-log "$here/s3.log" posix "$here/s3" >"$here/s3.out" 2>&1 &
    SERVER_PIDS+=("$!")
    until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        sleep 0.1
        waited=$((waited + 1))
        [ "$waited" -lt 100 ] || { cat "$here/s3.out" >&2; return 1; }
    done
}

# The S3 server behind a link of so many Mbit/s and ms of a round trip, in place of the one before.
slow_link() {
    local port=7300 server=${1##*:} waited=0
    [ -z "${link_process:-}" ] || kill "$link_process" 2>/dev/null || true
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
    "$(dirname "${BASH_SOURCE[0]}")/slow_link.py" "$port" "$server" "$2" "$3" 2>"$here/link.err" &
    link_process=$!
    SERVER_PIDS+=("$link_process")
    export AWS_ENDPOINT_URL="http://127.0.0.1:$port"
    until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        sleep 0.1
        waited=$((waited + 1))
        [ "$waited" -lt 100 ] || { cat "$here/link.err" >&2; return 1; }
    done
}

# mysqldump as an administrator would call it, of one schema.
dump() {
    local options=(--no-defaults --user=root --socket="$source_dir/sock" --single-transaction --hex-blob
        --routines --triggers --events)
    [ "$flavour" != mysql ] || options+=(--set-gtid-purged=OFF)
    "$(server_clients "$flavour")/mysqldump" "${options[@]}" --databases "$1"
}
