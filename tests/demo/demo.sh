#!/usr/bin/env bash
# A stranger's first minute: a real server with real data is backed up, damaged, restored, verified.
#
# It starts throw-away servers of its own in a temporary directory, asks nothing, and leaves nothing.
# DEMO=mariadb shows the same on MariaDB. `make demo` builds drctl first and calls this.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source-path=SCRIPTDIR source=../lab/server.sh
. ../lab/server.sh

flavour=${DEMO:-mysql}
case $flavour in
mysql | mariadb) ;;
*) echo "DEMO is mysql or mariadb, not $flavour" >&2; exit 2 ;;
esac
target_dir=${CARGO_TARGET_DIR:-$LAB/target}
here=$(mktemp -d /tmp/drctl-demo.XXXX)
trap 'servers_end; rm -rf "$here"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

bold='' dim='' plain=''
if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; fi
title() { printf '\n%s── %s%s\n' "$bold" "$*" "$plain"; }
# Shows a command as a person would type it, then runs it.
run() {
    printf '\n%s$ %s%s\n' "$bold" "$*" "$plain"
    "$@"
}
mysql() { server_sql "$here/shop" --table "$@"; }
seconds() { printf '%s.%s' "$(($1 / 1000))" "$(($1 % 1000 / 100))"; }
now() { date +%s%3N; }

begun=$(now)
title "A private $flavour server with real data: countries, languages, Unicode, time zones"
case $flavour in
mysql) log=(--gtid-mode=ON --enforce-gtid-consistency) ;;
mariadb) log=(--log-bin --binlog-format=ROW) ;;
esac
server_start "$flavour" "$here/shop" "${log[@]}"
server_sql "$here/shop" <world.sql
{
    # The zones as the server's own tool prints them, but into tables of ours.
    echo 'START TRANSACTION;'
    "$(server_clients "$flavour")/mysql_tzinfo_to_sql" /usr/share/zoneinfo 2>/dev/null |
        grep -E '^(INSERT|SET @time_zone_id|,\(| \(|;$)'
    echo 'COMMIT;'
} | server_sql "$here/shop" zones
server_sql "$here/shop" -N -e 'SELECT VERSION()' | sed 's/^/server version /'
run mysql -e 'SELECT * FROM world.parts_of ORDER BY parts DESC LIMIT 3'
server_fingerprint "$here/shop" world zones >"$here/before"

PATH="$target_dir/release:$(server_clients "$flavour"):$PATH"
export DRCTL_TARGET=shop
export DRCTL_STORE="file://$here/store"
export DRCTL_SOURCE_URL="mysql://root@localhost/?socket=$here/shop/sock"
export DRCTL_INTO_URL="$DRCTL_SOURCE_URL"
mkdir -p "$here/store"
title "Four variables are all drctl needs to know"
env | grep '^DRCTL_' | sort | sed "s/^/${dim}/; s/\$/${plain}/"

title "Back up: one consistent mysqldump, streamed, committed only when all of it was checked"
t0=$(now)
run drctl backup
t1=$(now)
backup_ms=$((t1 - t0))
run drctl list
run drctl show --latest

title "A table is lost"
run mysql -e 'DROP TABLE world.subdivision'
run drctl restore --latest --tables world.subdivision
run mysql -e 'SELECT * FROM world.parts_of ORDER BY parts DESC LIMIT 3'

title "Everything is lost"
run mysql -e 'DROP DATABASE world; DROP DATABASE zones'
t0=$(now)
run drctl restore --latest
t1=$(now)
restore_ms=$((t1 - t0))

title "What the server itself says: checksums of all tables, all definitions, before and after"
server_fingerprint "$here/shop" world zones >"$here/after"
run diff "$here/before" "$here/after"
echo "no difference in $(wc -l <"$here/before") lines"

title "And without drctl: zstd and the ordinary client, into a second server"
dump=$(find "$here/store/shop" -name 'dump.sql.zst')
server_start "$flavour" "$here/other"
printf '\n%s$ zstd -dc dump.sql.zst | mysql --binary-mode%s\n' "$bold" "$plain"
zstd -qdc "$dump" | server_sql "$here/other"
server_fingerprint "$here/other" world zones >"$here/plain"
diff "$here/before" "$here/plain"
echo "no difference there either"

title "And by itself, on a schedule: a drill, in a server that is thrown away"
export DRCTL_OBJECTIVES_RTO_SECONDS=14400 DRCTL_OBJECTIVES_RPO_SECONDS=3600
DRCTL_VERIFY_SERVER_DIRS="$(server_programs "$flavour")"
export DRCTL_VERIFY_SERVER_DIRS
run drctl verify --latest
report=${TMPDIR:-/tmp}/drctl-demo-drills.html
run drctl report --file "$report"

title "Between two backups: the binary log, archived as the server writes it, and a row every 100 ms"
run mysql -e 'CREATE TABLE world.visits (id INT AUTO_INCREMENT PRIMARY KEY, at TIMESTAMP(6) DEFAULT NOW(6))'
run drctl backup
export DRCTL_STREAM_CUT_SECONDS=1
printf '\n%s$ drctl stream &%s\n' "$bold" "$plain"
drctl stream 2>"$here/stream.log" &
streamer=$!
visit='INSERT INTO world.visits () VALUES (); SELECT LAST_INSERT_ID();'
# It ends at the first visit that fails.
while sleep 0.1 && echo "$visit"; do :; done 2>/dev/null |
    server_sql "$here/shop" -N --unbuffered >"$here/visits" 2>/dev/null &
sleep 3
run mysql -e 'DROP TABLE world.visits'
until drctl log --grep 'DROP TABLE.*visits' --output json | jq -e '.statements != []' >/dev/null; do
    kill -0 "$streamer" || { cat "$here/stream.log" >&2; exit 1; }
    sleep 0.2
done
run drctl log --grep visits
kill "$streamer"
wait "$streamer" || [ "$?" = 143 ]
server_start "$flavour" "$here/moment" "${log[@]}"
export DRCTL_INTO_URL="mysql://root@localhost/?socket=$here/moment/sock"
t0=$(now)
run drctl restore --before-statement 'DROP TABLE.*visits'
t1=$(now)
moment_ms=$((t1 - t0))
server_sql "$here/moment" -N -e 'SELECT id FROM world.visits ORDER BY id' >"$here/came-back"
diff "$here/visits" "$here/came-back"
echo "all $(wc -l <"$here/visits") visits that the server had confirmed are there"

title "A flipped bit in the store"
dump=$(find "$here/store/shop" -name 'dump.sql.zst' -newer "$dump")
dd if=/dev/zero of="$dump" bs=1 seek=$(($(stat -c %s "$dump") / 2)) count=8 conv=notrunc status=none
printf '\n%s$ drctl verify --latest --level archive%s\n' "$bold" "$plain"
if drctl verify --latest --level archive; then
    echo "the damage was not noticed" >&2
    exit 1
fi

title "Figures"
drctl list --output json | jq -r '.[0] | "rows              \(.rows) in \(.tables) tables",
    "SQL               \(.raw_bytes / 1e6 * 10 | round / 10) MB",
    "in the store      \(.stored_bytes / 1e6 * 10 | round / 10) MB"'
echo "backup            $(seconds "$backup_ms") s"
echo "restore, compare  $(seconds "$restore_ms") s"
echo "to a moment       $(seconds "$moment_ms") s"
echo "all of this       $(seconds $(($(now) - begun))) s"
echo "the drills' page  $report"
