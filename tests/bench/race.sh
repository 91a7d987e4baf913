#!/usr/bin/env bash
# Races drctl against what people use instead: the same rows, interleaved runs, medians of each figure.
#
#   race.sh [--rows N] [--runs N] [--flavour mysql|mariadb] [--csv FILE]
#
#   --rows N    rows of each of the four tables, default 500000
#   --runs N    runs of each contestant, default 3
#   --csv FILE  where the medians go, default $DRCTL_LAB/bench/race-<flavour>-<rows>.csv
#
# Prints a table. A contestant whose program is missing is named and left out. graph.sh makes an SVG of the CSV.
# In a network namespace of its own, so that the loopback carries the traffic to the S3 server and nothing else;
# without the right to make one the column is empty.
set -euo pipefail

if [ "${DRCTL_RACE_NET:-}" = "" ]; then
    if unshare --net true 2>/dev/null; then
        DRCTL_RACE_NET=own exec unshare --net --kill-child "$0" "$@"
    fi
    export DRCTL_RACE_NET=shared
fi
[ "$DRCTL_RACE_NET" = shared ] || ip link set lo up

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

rows=500000 runs=3 flavour=mariadb csv=
while [ $# -gt 0 ]; do
    case $1 in
    --rows) rows=$2 && shift ;;
    --runs) runs=$2 && shift ;;
    --flavour) flavour=$2 && shift ;;
    --csv) csv=$2 && shift ;;
    *) sed -n '2,13s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
    esac
    shift
done
: "${csv:=$LAB/bench/race-$flavour-$rows.csv}"

here=$(mktemp -d /tmp/drctl-race.XXXX)
trap 'servers_end; rm -rf "$here"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir "$here/figures" "$here/local"
PATH="${CARGO_TARGET_DIR:-$LAB/target}/release:$(server_clients "$flavour"):$PATH"

HEADER='flavour,work,contestant,wall_s,cpu_s,peak_mib,local_mb,stored_mb,network_mb,requests,proves'

# The S3 server speaks plain HTTP, and rclone refuses to start with certificates from the environment.
unset AWS_CA_BUNDLE

# The commands of the contestants run in a shell of their own, which sees these.
export LAB here flavour source_dir RESTIC_PASSWORD=race RESTIC_CACHE_DIR="$here/local/restic-cache"
export RCLONE_CONFIG=/dev/null RCLONE_CONFIG_S3_TYPE=s3 RCLONE_CONFIG_S3_PROVIDER=Other RCLONE_CONFIG_S3_ENV_AUTH=true
# It would create the bucket, which exists.
export RCLONE_CONFIG_S3_NO_CHECK_BUCKET=true
export DRCTL_TARGET=race DRCTL_STORE=s3://bench/drctl DRCTL_BACKUP_SCHEMAS=one
dump_script() { declare -f dump server_clients; echo "dump one"; }
plain() { echo "$(server_clients "$flavour")/mysql --no-defaults --user=root --socket=$here/target/sock"; }

network_bytes() {
    [ "$DRCTL_RACE_NET" = own ] || { echo ''; return; }
    awk '$1 == "lo:" { print $2 }' /proc/net/dev
}

bytes_in() { du -sb --apparent-size "$@" 2>/dev/null | awk '{ sum += $1 } END { printf "%d", sum }'; }

megabytes() { [ -z "$1" ] || awk -v b="$1" 'BEGIN { printf "%.1f", b / 1e6 }'; }

# One run: `measure WORK CONTESTANT PROVES COMMAND`. The command reads and writes below $here/local and in s3://bench.
measure() {
    local work=$1 contestant=$2 proves=$3 command=$4 before after wall user sys peak
    : >"$here/s3.log"
    before=$(network_bytes)
    /usr/bin/time -o "$here/time" -f '%e %U %S %M' bash -o pipefail -c "$command" >"$here/out" 2>"$here/err" || {
        {
            echo "$work, $contestant failed:"
            tail -n 5 "$here/err" "$here/out"
        } >&2
        return 1
    }
    after=$(network_bytes)
    read -r wall user sys peak < <(tail -n 1 "$here/time")
    printf '%s,%s,%s,%s,%s,%s,%s,%s\n' "$wall" "$(awk -v u="$user" -v s="$sys" 'BEGIN { printf "%.2f", u + s }')" \
        "$((peak / 1024))" "$(megabytes "$(bytes_in "$here/local")")" "$(megabytes "$(bytes_in "$here/s3/bench")")" \
        "$([ -z "$before" ] || megabytes $((after - before)))" "$(wc -l <"$here/s3.log")" "$proves" \
        >>"$here/figures/$work,$contestant"
    printf '  %-8s %-36s %8s s\n' "$work" "$contestant" "$wall" >&2
}

clean() { rm -rf "${here:?}/s3/bench" "${here:?}/local" && mkdir -p "$here/s3/bench" "$here/local"; }

# A backup, from empty places, and then the restore of the same into an empty server.
contestant() {
    local name=$1 proves_backup=$2 backup=$3 proves_restore=$4 restore=$5
    clean
    case $name in *restic) restic -q -r "$RESTIC" init >/dev/null ;; esac
    measure backup "$name" "$proves_backup" "$backup"
    # shellcheck disable=SC2119
    start_target
    measure restore "$name" "$proves_restore" "$restore"
}

have() {
    command -v "$1" >/dev/null && return
    case " $missing " in *" $1 "*) ;; *) missing="$missing $1" ;; esac
    return 1
}

race() {
    local dump load
    dump=$(dump_script)
    load=$(plain)
    contestant 'dump + gzip + aws s3 cp' 'exit status of the programs' \
        "{ $dump; } | gzip | aws s3 cp --only-show-errors - s3://bench/one.sql.gz" \
        'CRC-32 of gzip' "aws s3 cp --only-show-errors s3://bench/one.sql.gz - | gunzip | $load"
    contestant 'dump + zstd to a local file' 'exit status of the programs' "{ $dump; } | zstd -q -1 -o $here/local/one.zst" \
        'checksum of zstd' "zstd -qdc $here/local/one.zst | $load"
    if have mydumper && have myloader; then
        local at="--socket=$here/source/sock --user=root"
        contestant 'mydumper to local files' 'exit status' "mydumper $at -t 2 --compress -B one -o $here/local/dump" \
            'exit status' "myloader --socket=$here/target/sock --user=root -t 2 -d $here/local/dump"
    fi
    if have restic; then
        contestant 'dump + restic' 'SHA-256 of each blob as read' \
            "{ $dump; } | restic -q -r $RESTIC backup --stdin --stdin-filename one.sql" \
            'SHA-256 of each blob' "restic -q -r $RESTIC dump latest one.sql | $load"
    fi
    if have rclone; then
        contestant 'dump + zstd + rclone rcat' 'MD5 or size of the object' \
            "{ $dump; } | zstd -q -1 | rclone rcat s3:bench/one.sql.zst" \
            'checksum of zstd' "rclone cat s3:bench/one.sql.zst | zstd -qdc | $load"
    fi
    contestant drctl 'all objects of the server are in the dump; a sample is read back' 'drctl backup' \
        'each frame; rows and definitions equal to the dump' 'drctl restore --latest'
}

# The median of each column of a file; the last one is a text.
medians() {
    local column
    for column in 1 2 3 4 5 6 7; do
        cut -d, -f"$column" "$1" | sort -n | awk '{ a[NR] = $1 }
            END { printf "%s,", a[1] == "" ? "" : NR % 2 ? a[(NR + 1) / 2] : (a[NR / 2] + a[NR / 2 + 1]) / 2 }'
    done
    head -n 1 "$1" | cut -d, -f8-
}

missing=''
start_source
source_dir="$here/source"
start_gateway
RESTIC="s3:$AWS_ENDPOINT_URL/bench/restic"
export RCLONE_CONFIG_S3_ENDPOINT="$AWS_ENDPOINT_URL"
export DRCTL_SOURCE_URL="mysql://root@localhost/?socket=$here/source/sock"
export DRCTL_INTO_URL="mysql://root@localhost/?socket=$here/target/sock"
for run in $(seq "$runs"); do
    echo "run $run of $runs" >&2
    race
done
{
    echo "$HEADER"
    for work in backup restore; do
        for figures in "$here/figures/$work,"*; do
            contestant=${figures##*/}
            contestant=${contestant#*,}
            printf '%s,%s,%s,%s\n' "$flavour" "$work" "$contestant" "$(medians "$figures")"
        done
    done
} >"$csv"
printf '%s; %s cores; 4 × %s rows; medians of %s interleaved runs; %s\n' \
    "$(server_sql "$here/source" -N -e 'SELECT VERSION()')" "$(nproc)" "$rows" "$runs" "$(date -u +%F)"
awk -F, '{ gsub(/,/, " | "); print "| " $0 " |" } NR == 1 { gsub(/[^|]+/, "---"); print "|" $0 "|" }' "$csv"
[ -z "$missing" ] || printf 'not raced, since not installed:%s\n' "$missing"
echo "$csv"
