#!/usr/bin/env bash
# Races drctl against the ordinary tools, on data of its own: medians of interleaved runs.
#
#   bench.sh [--rows N] [--runs N] [--flavour mysql|mariadb] [--baselines] [PART...]
#
#   parts: backup gzip restore relaxed compare drill memory single list pitr log trust copy standby
#          default: all of these; network: with few rows, since they pass through a slow link
#   --rows N        rows of each of the four tables, default 1000000 (0.8 GB of SQL a schema)
#   --runs N        runs of each contestant, default 3
#   --log-mb N      size of the log in the part log, default 1000
#   --baselines     only the ordinary tools, to see that the scripts work
#
# Prints a Markdown table, and keeps it in $DRCTL_LAB/bench/. Needs 10 GB of disk at the default size.
# Ratios hold on other machines, seconds do not.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=pitr.sh
. "$(dirname "$0")/pitr.sh"
# shellcheck source-path=SCRIPTDIR source=second.sh
. "$(dirname "$0")/second.sh"

rows=1000000 runs=3 log_mb=1000 flavour=mysql baselines=no
parts=()
while [ $# -gt 0 ]; do
    case $1 in
    --rows) rows=$2 && shift ;;
    --runs) runs=$2 && shift ;;
    --log-mb) log_mb=$2 && shift ;;
    --flavour) flavour=$2 && shift ;;
    --baselines) baselines=yes ;;
    backup | gzip | restore | relaxed | compare | drill | memory | single | list) parts+=("$1") ;;
    pitr | log | trust | copy | standby | network) parts+=("$1") ;;
    *) sed -n '2,14s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
    esac
    shift
done
[ ${#parts[@]} -gt 0 ] || parts=(backup gzip restore relaxed compare drill memory single list pitr log trust copy standby)

here=$(mktemp -d /tmp/drctl-bench.XXXX)
trap 'servers_end; rm -rf "$here"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir "$here/times" "$here/dumps" "$here/store"
: >"$here/rows"
PATH="${CARGO_TARGET_DIR:-$LAB/target}/release:$(server_clients "$flavour"):$PATH"

ours() { [ "$baselines" = no ]; }
each_run() { seq "$runs"; }

# drctl with the store and schema of a part: `as file|s3 SCHEMA CODEC`.
as() {
    export DRCTL_TARGET="$2-$3" DRCTL_BACKUP_SCHEMAS=$2 DRCTL_BACKUP_CODEC=$3
    export DRCTL_SOURCE_URL="mysql://root@localhost/?socket=$source_dir/sock"
    export DRCTL_INTO_URL="mysql://root@localhost/?socket=$here/target/sock"
    export DRCTL_RESTORE_LANES=2
    case $1 in
    file) export DRCTL_STORE="file://$here/store" ;;
    s3) export DRCTL_STORE=s3://bench/store ;;
    esac
}

# Nothing of an earlier run may stand in the way or fill the disk.
forget_backups() { rm -rf "$here/store" "$here/s3/bench/store" && mkdir "$here/store"; }

dump_to_nothing() { dump "$1" >/dev/null; }
dump_zstd() { dump "$1" | zstd -q -1 -f -o "$here/dumps/$1.zst"; }
dump_pigz() { dump "$1" | pigz -p2 >"$here/dumps/$1.pigz"; }
dump_gzip() { dump "$1" | gzip >"$here/dumps/$1.gz"; }
dump_gzip_s3() { dump "$1" | gzip | aws s3 cp --only-show-errors - "s3://bench/$1.sql.gz"; }
plain_restore() { zcat "$here/dumps/$1.gz" | server_sql "$here/target"; }

part_backup() {
    start_gateway
    local _
    dump_to_nothing one
    for _ in $(each_run); do
        timed mysqldump-nothing dump_to_nothing one
        timed mysqldump-zstd1 dump_zstd one
        if ours; then
            forget_backups
            as file one zstd
            timed drctl-directory drctl backup
            as s3 one zstd
            timed drctl-s3 drctl backup
        fi
        timed mysqldump-gzip-aws dump_gzip_s3 one
    done
    ours || return 0
    row 'backup to a directory' drctl-directory 'mysqldump > /dev/null' mysqldump-nothing '≤ 0.75 × its time'
    row 'backup to a directory' drctl-directory 'mysqldump \| zstd -1 > file' mysqldump-zstd1 'faster'
    row 'backup to S3' drctl-s3 'mysqldump > /dev/null' mysqldump-nothing '≤ 0.9 × its time'
    row 'backup to S3' drctl-s3 'mysqldump \| gzip \| aws s3 cp -' mysqldump-gzip-aws '≥ 14 × as fast'
}

part_gzip() {
    local _ raw stored
    for _ in $(each_run); do
        timed mysqldump-pigz dump_pigz one
        if ours; then
            forget_backups
            as file one gzip
            timed drctl-gzip drctl backup
        fi
    done
    ours || return 0
    row 'backup, gzip' drctl-gzip 'mysqldump \| pigz -p2' mysqldump-pigz 'faster'
    read -r raw stored < <(drctl list --output json | jq -r '.[0] | "\(.raw_bytes) \(.stored_bytes)"')
    fact 'its ratio' "$(awk -v r="$raw" -v s="$stored" 'BEGIN { printf "%.2f", r / s }')" '≥ 2'
}

# Into servers with the durability they have by default.
part_restore() {
    need_three
    local schema _
    for schema in one three; do
        [ -f "$here/dumps/$schema.gz" ] || dump_gzip "$schema"
        fresh_backup "$schema"
        for _ in $(each_run); do
            start_target
            timed "zcat-mysql-$schema" plain_restore "$schema"
            ours || continue
            start_target
            timed "drctl-restore-$schema" drctl restore --latest --no-compare
            [ "$flavour-$schema" = mysql-three ] || continue
            # LOAD DATA needs local_infile, which MySQL has off.
            start_target
            timed drctl-restore-fast drctl restore --latest --no-compare --fast-unsafe
        done
    done
    ours || return 0
    row 'restore, one secondary index' drctl-restore-one 'zcat \| mysql' zcat-mysql-one '≥ 3 × as fast'
    row 'restore, three secondary indexes' drctl-restore-three 'zcat \| mysql' zcat-mysql-three '≥ 4.2 × as fast'
    [ "$flavour" != mysql ] ||
        row 'the same with --fast-unsafe' drctl-restore-fast 'zcat \| mysql' zcat-mysql-three ''
}

# A scratch server that may lose everything, against the ordinary client and an ordinary server.
part_relaxed() {
    need_three
    local relaxed=(--skip-log-bin --innodb-doublewrite=OFF --innodb-flush-log-at-trx-commit=0) _
    [ "$flavour" != mysql ] || relaxed+=(--innodb-ddl-buffer-size=128M)
    [ -f "$here/dumps/three.gz" ] || dump_gzip three
    fresh_backup three
    for _ in $(each_run); do
        start_target
        timed zcat-mysql-default plain_restore three
        ours || continue
        start_target "${relaxed[@]}"
        [ "$flavour" != mysql ] || server_sql "$here/target" -e 'ALTER INSTANCE DISABLE INNODB REDO_LOG'
        timed drctl-restore-relaxed drctl restore --latest --no-compare
    done
    ours || return 0
    row 'restore into a relaxed server, three' drctl-restore-relaxed 'zcat \| mysql into a default one' zcat-mysql-default '≥ 3.5 × as fast'
}

# What the comparison adds to a restore: the same restore with and without it, one after the other.
part_compare() {
    local _ with without
    fresh_backup one
    for _ in $(each_run); do
        timed mysqldump-nothing-compare dump_to_nothing one
        ours || continue
        start_target
        timed restore-only drctl restore --latest --no-compare
        start_target
        timed restore-compared drctl restore --latest
        with=$(tail -n 1 "$here/times/restore-compared")
        without=$(tail -n 1 "$here/times/restore-only")
        echo $((with - without)) >>"$here/times/compare"
    done
    ours || return 0
    row 'comparison' compare 'mysqldump > /dev/null' mysqldump-nothing-compare '≤ 0.4 × its time'
}

# A whole drill, its server's boot and the comparison included, against a plain load by hand;
# and the archive read to its last byte, against the ordinary tools.
part_drill() {
    need_three
    local _ dump compare
    [ -f "$here/dumps/three.gz" ] || dump_gzip three
    fresh_backup three
    mkdir -p "$here/scratch"
    DRCTL_VERIFY_SERVER_DIRS="$(server_programs "$flavour")"
    export DRCTL_VERIFY_SERVER_DIRS DRCTL_VERIFY_SCRATCH_DIR="$here/scratch"
    dump=$(find "$here/store" -name 'dump.sql.zst')
    for _ in $(each_run); do
        start_target
        timed zcat-mysql-drill plain_restore three
        timed mysqldump-nothing-drill dump_to_nothing three
        ours || continue
        timed drctl-drill drctl verify --latest --scratch-profile relaxed --path lanes --output json
        compare=$(jq '[.stages[] | select(.name == "compare").seconds] | add * 1000 | round' "$here/out")
        echo "$compare" >>"$here/times/drill-compare"
        timed sha256sum-zstd digest_and_decode "$dump"
        timed drctl-archive drctl verify --latest --level archive
    done
    ours || return 0
    row 'drill: boot, restore, comparison, three' drctl-drill 'zcat \| mysql alone, into a default one' zcat-mysql-drill '≥ 4.5 × as fast'
    row 'the comparison in it' drill-compare 'mysqldump > /dev/null' mysqldump-nothing-drill '≤ 0.4 × its time'
    row 'drill of the archive alone' drctl-archive 'sha256sum; zstd -d > /dev/null' sha256sum-zstd '≤ 1 × its time'
}

digest_and_decode() { sha256sum "$1" && zstd -qdc "$1" >/dev/null; }

part_memory() {
    ours || return 0
    as file one zstd
    local jobs
    for jobs in 1 2 4; do
        forget_backups
        fact "peak memory of backup, 4 × $rows rows, $jobs jobs" "$(peak_mib drctl backup --jobs "$jobs") MiB" '≤ 128 MiB'
    done
    for jobs in 2 4; do
        start_target
        fact "peak memory of restore and comparison, 4 × $rows rows, $jobs lanes" \
            "$(peak_mib drctl restore --latest --lanes "$jobs") MiB" '≤ 128 MiB'
    done
}

# One large table against four, both ways.
part_single() {
    ours || return 0
    local _ schema
    server_sql "$source_dir" -e "CREATE DATABASE IF NOT EXISTS single; CREATE TABLE IF NOT EXISTS single.t LIKE one.sbtest1"
    if [ "$(server_sql "$source_dir" -N -e 'SELECT COUNT(*) FROM single.t')" != "$((4 * rows))" ]; then
        server_sql "$source_dir" -e "DROP TABLE single.t; CREATE TABLE single.t LIKE one.sbtest1;
            INSERT INTO single.t (k, c, pad) SELECT k, c, pad FROM one.sbtest1;
            INSERT INTO single.t (k, c, pad) SELECT k, c, pad FROM one.sbtest2;
            INSERT INTO single.t (k, c, pad) SELECT k, c, pad FROM one.sbtest3;
            INSERT INTO single.t (k, c, pad) SELECT k, c, pad FROM one.sbtest4"
    fi
    for _ in $(each_run); do
        for schema in one single; do
            forget_backups
            as file "$schema" zstd
            timed "backup-of-$schema" drctl backup
            start_target
            timed "restore-of-$schema" drctl restore --latest --no-compare
        done
    done
    row 'backup of one table with all rows' backup-of-single 'of four tables' backup-of-one '≤ 1.15 × its time'
    row 'restore of one table with all rows' restore-of-single 'of four tables' restore-of-one '≤ 1.15 × its time'
}

# Ten thousand committed backups, copies of one of an empty schema: read one by one, from the summary that prune writes,
# and from a directory.
part_list() {
    ours || return 0
    [ -n "${AWS_ENDPOINT_URL:-}" ] || start_gateway
    local home id
    server_sql "$source_dir" -e 'CREATE DATABASE IF NOT EXISTS nothing'
    as s3 nothing zstd
    drctl backup >/dev/null 2>&1
    home="$here/s3/bench/store/$DRCTL_TARGET"
    id=$(drctl list --output json | jq -r '.[0].id')
    "$(dirname "$0")/many_backups.py" "$home" "$id" 9999
    list_all drctl-list-singly 'list of 10,000 backups in S3, without a summary' ''
    DRCTL_RETENTION_LAST=20000 drctl prune >"$here/out" 2>"$here/err"
    list_all drctl-list 'list of 10,000 backups in S3' '≤ 2 s, ≤ 100 requests'
    mkdir -p "$here/store" && touch "$here/store/.drctl-store"
    cp -r "$home" "$here/store/"
    as file nothing zstd
    list_all drctl-list-file 'list of 10,000 backups in a directory' '≤ 2 s'
}

list_all() {
    local name=$1 what=$2 reach=$3 requests _
    : >"$here/s3.log"
    timed "$name" drctl list
    requests=$(wc -l <"$here/s3.log")
    for _ in $(each_run); do timed "$name" drctl list; done
    [ "$(wc -l <"$here/out")" -ge 10000 ] || { echo 'the list is not whole' >&2; return 1; }
    fact "$what" "$(in_seconds "$(median "$name")") s, $requests requests" "$reach"
}

# Links of 10, 100 and 1000 Mbit/s to the S3 server, with a round trip of 20 ms: which share of a backup its upload takes
# by what is stored, and what another compression level changes. The rows of sysbench are random digits; `events` are
# those of a log.
part_network() {
    ours || return 0
    [ -n "${AWS_ENDPOINT_URL:-}" ] || start_gateway
    need_events
    local direct=$AWS_ENDPOINT_URL mbits schema level _ stored raw name
    as s3 one zstd
    for mbits in 10 100 1000; do
        slow_link "$direct" "$mbits" 20
        for _ in $(each_run); do
            for schema in one events; do
                for level in 1 3 6 9; do
                    forget_backups
                    as s3 "$schema" zstd
                    export DRCTL_BACKUP_LEVEL=$level
                    name="network-$mbits-$schema-$level"
                    timed "$name" drctl backup
                    AWS_ENDPOINT_URL=$direct drctl list --output json |
                        jq -r '.[0] | "\(.raw_bytes) \(.stored_bytes)"' >"$here/bytes-$name"
                    [ "$level" = 1 ] || continue
                    start_target
                    timed "$name-restore" drctl restore --latest --no-compare
                done
            done
        done
    done
    unset DRCTL_BACKUP_LEVEL
    export AWS_ENDPOINT_URL=$direct
    for mbits in 10 100 1000; do
        for schema in one events; do
            for level in 1 3 6 9; do
                name="network-$mbits-$schema-$level"
                read -r raw stored <"$here/bytes-$name"
                fact "backup over $mbits Mbit/s of $((raw / 1000000)) MB of $schema, level $level" \
                    "$(in_seconds "$(median "$name")") s, $((stored / 1000)) kB stored, $(link_share "$stored" "$mbits" "$name") of the time uploading" ''
                [ "$level" != 1 ] || fact 'its restore, without a comparison' "$(in_seconds "$(median "$name-restore")") s" ''
            done
        done
    done
}

# The share of the median that the link needs for so many bytes.
link_share() { awk -v b="$1" -v mbits="$2" -v ms="$(median "$3")" 'BEGIN { printf "%.0f %%", b * 8 / mbits / 1e6 / ms * 1e5 }'; }

# Rows as in a log: times, paths, states, JSON.
need_events() {
    server_sql "$source_dir" -e "CREATE DATABASE IF NOT EXISTS events; CREATE TABLE IF NOT EXISTS events.e (
        id INT PRIMARY KEY, at DATETIME(3) NOT NULL, path VARCHAR(80) NOT NULL, agent VARCHAR(120) NOT NULL,
        detail VARCHAR(200) NOT NULL)"
    [ "$(server_sql "$source_dir" -N -e 'SELECT COUNT(*) FROM events.e')" = 0 ] || return 0
    server_sql "$source_dir" events -e "INSERT INTO e SELECT t.n, TIMESTAMP'2026-01-01 00:00:00' + INTERVAL t.n * 137000 MICROSECOND,
        CONCAT('/shop/items/', t.k % 5000, '/', ELT(1 + t.k % 4, 'view', 'cart', 'reviews', 'related')),
        ELT(1 + t.k % 3, 'Mozilla/5.0 Linux x86_64 Gecko/20100101 Firefox/128.0', 'curl/7.88.1',
            'Mozilla/5.0 Windows NT 10.0 AppleWebKit/537.36 Chrome/126.0.0.0'),
        CONCAT('{\"user\":', t.k * 7 % 90000, ',\"status\":', ELT(1 + t.k % 9, 200, 200, 200, 200, 200, 200, 304, 404, 500),
            ',\"ms\":', t.k % 977, ',\"session\":\"', LEFT(SHA2(t.k % 20000, 256), 16), '\"}')
        FROM (SELECT 4 * id + 0 AS n, k FROM one.sbtest1 UNION ALL SELECT 4 * id + 1, k FROM one.sbtest2
            UNION ALL SELECT 4 * id + 2, k FROM one.sbtest3 UNION ALL SELECT 4 * id + 3, k FROM one.sbtest4) t"
}

# The store holds one backup of the schema.
fresh_backup() {
    ours || return 0
    forget_backups
    as file "$1" zstd
    drctl backup >/dev/null 2>"$here/err" || { tail -n 5 "$here/err" >&2; return 1; }
}

start_source
for part in "${parts[@]}"; do
    echo "$part:" >&2
    "part_$part"
done

raw=$(dump one | wc -c)
results="$LAB/bench/results-$flavour-$rows.md"
{
    printf '%s; %s cores, %s; 4 × %s rows, %s MB of SQL with one secondary index; medians of %s interleaved runs; %s.\n\n' \
        "$(server_sql "$source_dir" -N -e 'SELECT VERSION()')" "$(nproc)" \
        "$(awk -F': ' '/^model name/ { print $2; exit }' /proc/cpuinfo)" "$rows" "$((raw / 1000000))" "$runs" "$(date -u +%F)"
    if ours; then
        printf '| work | drctl | against | | ratio | reach |\n|---|---|---|---|---|---|\n'
        cat "$here/rows"
    else
        printf '| ordinary tools | median |\n|---|---|\n'
        for name in "$here"/times/*; do
            printf '| %s | %s s |\n' "$(basename "$name")" "$(in_seconds "$(median "$(basename "$name")")")"
        done
    fi
} | tee "$results"
