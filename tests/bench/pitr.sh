# shellcheck shell=bash
# The parts `pitr` and `log` of the bench: the archived binary log, against mysqlbinlog. Sourced by bench.sh.
# shellcheck disable=SC2154

# Seconds that the load is written, and that an idle server is watched.
load_seconds=60 idle_seconds=90

# A source that logs, with four small tables, and drctl with a store for it: `start_logging NAME`.
start_logging() {
    local options
    logging=(--server-id=7 --log-bin=binlog --sync-binlog=1 --max-binlog-size=256M)
    [ "$flavour" != mysql ] || logging+=(--gtid-mode=ON --enforce-gtid-consistency=ON)
    [ -n "${AWS_ENDPOINT_URL:-}" ] || start_gateway
    pitr_dir="$here/$1"
    mapfile -t options < <(server_options)
    server_start "$flavour" "$pitr_dir" "${options[@]}" "${logging[@]}"
    server_sql "$pitr_dir" -e 'CREATE DATABASE pitr'
    sysbench_pitr oltp_common --tables=4 --table-size=25000 prepare
    as s3 "$1" zstd
    # The log holds all schemas, and so has a backup that it is replayed behind.
    unset DRCTL_BACKUP_SCHEMAS
    export DRCTL_SOURCE_URL="mysql://root@localhost/?socket=$pitr_dir/sock" DRCTL_STREAM_CUT_SECONDS=$cut
}

part_pitr() {
    local logging cut=10 streamer segments worst cpu began
    start_logging pitr
    ours && drctl backup >/dev/null 2>"$here/err"

    if ours; then
        drctl stream >"$here/stream.out" 2>"$here/stream.err" &
        streamer=$!
        SERVER_PIDS+=("$streamer")
        log_home="$here/s3/bench/store/$DRCTL_TARGET/log"
        until [ -f "$log_home/head.json" ]; do sleep 0.1; done
    fi
    began=$(cpu_ticks "${streamer:-$$}")
    sysbench_pitr oltp_write_only --tables=4 --table-size=25000 --rate=1000 --time="$load_seconds" --threads=16 run
    cpu=$(($(cpu_ticks "${streamer:-$$}") - began))
    awk '/transactions:/ { gsub(/[(]/, ""); print "  " $3 " transactions/s" }' "$here/sysbench" >&2
    if ours; then
        sleep $((cut + 2))
        worst=$(worst_lag_ms)
        [ -n "$worst" ] || { echo 'no segment has a commit' >&2; return 1; }
        segments=$(find "$log_home" -name '*.zst' | wc -l)
        fact "commit → durable in S3, $(load_rate) transactions/s, the worst of $segments segments" \
            "$(in_seconds "$worst") s" "≤ $cut s + 1 s"
        fact 'processor time of the streamer meanwhile' \
            "$(awk -v t="$cpu" -v s="$load_seconds" -v hz="$(getconf CLK_TCK)" 'BEGIN { printf "%.1f", 100 * t / hz / s }') % of a core" '≤ 10 %'
        fact 'its peak memory' "$(awk '/^VmHWM:/ { printf "%.0f", $2 / 1024 }' "/proc/$streamer/status") MiB" '≤ 64 MiB'
        : >"$here/s3.log"
        segments=$(find "$log_home" -name '*.zst' | wc -l)
        sleep "$idle_seconds"
        [ "$(find "$log_home" -name '*.zst' | wc -l)" = "$segments" ] || { echo 'an idle server made segments' >&2; return 1; }
        fact 'requests of an idle streamer' "$(($(wc -l <"$here/s3.log") * 86400 / idle_seconds)) a day" 'no object but the heartbeat'
        kill -TERM "$streamer"
        wait "$streamer" || true
    fi
    pitr_replay
    server_stop "$pitr_dir"
}

sysbench_pitr() {
    local script=$1
    shift
    sysbench "$script" --db-driver=mysql --mysql-socket="$pitr_dir/sock" --mysql-user=root --mysql-db=pitr \
        --db-ps-mode=disable --rand-type=uniform "$@" >"$here/sysbench" 2>&1 || {
        tail -n 5 "$here/sysbench" >&2
        return 1
    }
}

load_rate() { awk '/transactions:/ { gsub(/[(]/, ""); printf "%.0f", $3 }' "$here/sysbench"; }

cpu_ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

# How long the oldest commit of any segment waited until the segment was in the store. Every transaction waited less.
worst_lag_ms() {
    local segment first
    find "$log_home" -name '*.zst' | while read -r segment; do
        first=$(segment_record "$segment" | jq -r '.commit_first // empty')
        [ -n "$first" ] || continue
        echo $(($(date -r "$segment" +%s%3N) - $(date -d "$first" +%s%3N)))
    done | sort -n | tail -n 1
}

# The record in front of a segment: a skippable frame of zstd.
segment_record() {
    local length
    length=$(od -An -tu4 -j4 -N4 "$1" | tr -d ' ')
    tail -c +9 "$1" | head -c "$length"
}

# The same stretch into equal servers: served to a replica, and piped through mysqlbinlog. Both behind the same backup.
pitr_replay() {
    local place file position files _
    ours || return 0
    drctl stream --once >/dev/null 2>"$here/err"
    place=$(drctl show --latest --output json)
    file=$(jq -r .coordinates.file <<<"$place") position=$(jq -r .coordinates.position <<<"$place")
    mapfile -t files < <(cd "$pitr_dir/data" && find . -name 'binlog.[0-9]*' -printf '%f\n' | sort | awk -v from="$file" '$0 >= from')
    for _ in $(each_run); do
        start_target "${logging[@]}"
        drctl restore --to latest --no-compare --output json >"$here/out" 2>"$here/err" || { tail -n 5 "$here/err" >&2; return 1; }
        jq '[.stages[] | select(.name == "replay").seconds] | add * 1000 | round' "$here/out" >>"$here/times/replay"
        fact_of_replay=$(jq -r '.replayed.transactions' "$here/out")
        printf '  %-34s %8s s\n' replay "$(in_seconds "$(tail -n 1 "$here/times/replay")")" >&2
        start_target "${logging[@]}"
        drctl restore --latest --no-compare >/dev/null 2>"$here/err"
        timed mysqlbinlog-mysql piped_replay
    done
    local reach='≥ 4 × as fast'
    [ "$flavour" = mysql ] || reach='≥ 3.5 × as fast'
    row "replay of $fact_of_replay transactions" replay 'mysqlbinlog \| mysql' mysqlbinlog-mysql "$reach"
}

# Each flavour has its own.
binlog_program() {
    case $flavour in
    mysql) mysqlbinlog "$@" ;;
    mariadb) mariadb-binlog "$@" ;;
    esac
}

piped_replay() {
    (cd "$pitr_dir/data" && binlog_program --no-defaults --start-position="$position" "${files[@]}") |
        server_sql "$here/target"
}

# A log of $log_mb that nobody has archived yet.
part_log() {
    local logging cut=10 _ log_bytes engine=BLACKHOLE
    # It logs rows and keeps none; MariaDB of Debian does not have it.
    [ "$flavour" = mysql ] || engine=InnoDB
    start_logging log
    server_sql "$pitr_dir" pitr -e "SET GLOBAL binlog_format = 'ROW';
        CREATE TABLE big (id INT NOT NULL, k INT NOT NULL, c CHAR(120) NOT NULL, pad CHAR(60) NOT NULL) ENGINE=$engine"
    # 25,000 rows are 4.9 MB.
    for _ in $(seq $((log_mb / 5 + 1))); do
        echo 'INSERT INTO big SELECT id, k, c, pad FROM sbtest1 LIMIT 25000;'
    done | server_sql "$pitr_dir" pitr
    log_bytes=$(du -cb "$pitr_dir"/data/binlog.0* | awk 'END { print $1 }')
    printf '  %s MB of log\n' "$((log_bytes / 1000000))" >&2
    mark_directory
    for _ in $(each_run); do
        timed mysqlbinlog-raw-zstd raw_to_zstd
        ours || continue
        rm -rf "$here/store/$DRCTL_TARGET"
        DRCTL_STORE="file://$here/store" timed drctl-stream-directory drctl stream --once
        rm -rf "$here/s3/bench/store/$DRCTL_TARGET/log"
        timed drctl-stream-s3 drctl stream --once
    done
    ours || return 0
    row "catching up on $((log_bytes / 1000000)) MB of log, into a directory" drctl-stream-directory \
        'mysqlbinlog -R --raw, piped to zstd -1, into files' mysqlbinlog-raw-zstd 'as fast or faster'
    row 'the same into S3' drctl-stream-s3 'the same, into files' mysqlbinlog-raw-zstd ''
    find_a_moment
    server_stop "$pitr_dir"
}

# Makes the directory a store, by a backup that is not kept: the log is archived from its beginning.
mark_directory() {
    ours || return 0
    DRCTL_STORE="file://$here/store" drctl backup >"$here/out" 2>"$here/err" || { tail -n 5 "$here/err" >&2; return 1; }
}

# The files of the server, each through a pipe into zstd.
raw_to_zstd() {
    local names name readers=()
    rm -rf "$here/raw" && mkdir "$here/raw"
    mapfile -t names < <(server_sql "$pitr_dir" -N -e 'SHOW BINARY LOGS' | cut -f 1)
    for name in "${names[@]}"; do
        mkfifo "$here/raw/$name"
        zstd -q -1 -f -o "$here/raw/$name.zst" <"$here/raw/$name" &
        readers+=("$!")
    done
    binlog_program --no-defaults --socket="$pitr_dir/sock" --user=root --read-from-remote-server --raw --to-last-log \
        --result-file="$here/raw/" "${names[0]}"
    wait "${readers[@]}"
}

# The statement that dropped a table, and the plan of a restore to the moment before it.
find_a_moment() {
    local requests
    server_sql "$pitr_dir" pitr -e 'CREATE TABLE dropped (a INT); DROP TABLE dropped'
    drctl stream --once >/dev/null 2>&1
    : >"$here/s3.log"
    timed drctl-log-grep drctl log --grep 'drop table.*dropped'
    requests=$(wc -l <"$here/s3.log")
    for _ in $(each_run); do timed drctl-log-grep drctl log --grep 'drop table.*dropped'; done
    grep -qi 'drop table' "$here/out" || { echo 'the statement was not found' >&2; return 1; }
    fact 'a statement found in all of it' "$(in_seconds "$(median drctl-log-grep)") s, $requests requests" '≤ 2 s'
}
