# shellcheck shell=bash
# The parts `trust`, `copy` and `standby` of the bench: encryption and signatures, the second store, the second server.
# Sourced by bench.sh.
# shellcheck disable=SC2154

# The keys of an operator: an age identity and its recipient, and a key that signs.
make_keys() {
    [ ! -f "$here/identity" ] || return 0
    age-keygen -o "$here/identity" 2>/dev/null
    ssh-keygen -q -t ed25519 -N '' -f "$here/signing"
    printf 'backup namespaces="drctl" %s\n' "$(cut -d' ' -f1,2 "$here/signing.pub")" >"$here/signers"
}

# Runs a command with these keys.
sealed() {
    DRCTL_ENCRYPTION_RECIPIENTS=$(age-keygen -y "$here/identity") DRCTL_IDENTITY_FILE=$here/identity \
        DRCTL_SIGNING_KEY_FILE=$here/signing DRCTL_ALLOWED_SIGNERS_FILE=$here/signers DRCTL_TRUST=require "$@"
}

# A backup and its restore, with and without keys.
part_trust() {
    ours || return 0
    local _
    make_keys
    [ -n "${AWS_ENDPOINT_URL:-}" ] || start_gateway
    for _ in $(each_run); do
        forget_backups
        as s3 one zstd
        timed backup-plain drctl backup
        start_target
        timed restore-plain drctl restore --latest --no-compare
        forget_backups
        timed backup-sealed sealed drctl backup
        start_target
        timed restore-sealed sealed drctl restore --latest --no-compare
    done
    row 'backup to S3, encrypted and signed' backup-sealed 'without' backup-plain '≤ 1.15 × its time'
    row 'restore of it, signature required' restore-sealed 'of the plain one' restore-plain '≤ 1.10 × its time'
}

# A backup into a second store through this machine, checked; by rclone, which compares sizes and checksums that the
# stores name; and by the server itself, which nothing passes through.
part_copy() {
    local _
    fresh_backup_in_s3 one
    for _ in $(each_run); do
        rm -rf "$here"/s3/bench/{second,cloned,synced}
        ours && timed drctl-copy drctl copy --once --to s3://bench/second
        ! command -v rclone >/dev/null || timed rclone-copy clone_objects
        timed aws-sync aws s3 sync --only-show-errors s3://bench/store s3://bench/synced
    done
    ours || return 0
    [ ! -f "$here/times/rclone-copy" ] ||
        row 'copy of a backup' drctl-copy 'rclone copy' rclone-copy '≤ 1.2 × its time'
    row 'copy of a backup' drctl-copy 'aws s3 sync, copied by the server' aws-sync ''
}

# It takes no bundle of certificates from the variable that the others read.
clone_objects() {
    env -u AWS_CA_BUNDLE RCLONE_CONFIG=/dev/null RCLONE_CONFIG_S3_TYPE=s3 RCLONE_CONFIG_S3_PROVIDER=Other RCLONE_CONFIG_S3_ENV_AUTH=true \
        RCLONE_CONFIG_S3_ENDPOINT="$AWS_ENDPOINT_URL" rclone copy --quiet --disable copy s3:bench/store s3:bench/cloned
}

fresh_backup_in_s3() {
    [ -n "${AWS_ENDPOINT_URL:-}" ] || start_gateway
    forget_backups
    as s3 "$1" zstd
    ! ours || drctl backup >/dev/null 2>"$here/err" || { tail -n 5 "$here/err" >&2; return 1; }
}

# How far a standby is behind commits on its primary: through the streamer, the first store, the copier and the second.
part_standby() {
    ours || return 0
    local logging cut=5 poll=1 p
    start_logging standby
    standby_dir="$here/behind"
    rm -rf "$standby_dir"
    mkdir -p "$standby_dir"
    cp -r --reflink=auto "$LAB/templates/$flavour/data" "$standby_dir/data"
    rm -f "$standby_dir/data/auto.cnf"
    server_start "$flavour" "$standby_dir" --innodb-buffer-pool-size=1G "${logging[@]}" --server-id=8
    server_sql "$pitr_dir" -e 'CREATE TABLE pitr.beat (at DATETIME(6) NOT NULL) ENGINE=InnoDB; INSERT INTO pitr.beat VALUES (UTC_TIMESTAMP(6))'
    drctl backup >/dev/null 2>"$here/err" || { tail -n 5 "$here/err" >&2; return 1; }
    export DRCTL_COPY_TO=s3://bench/second DRCTL_COPY_INTERVAL_SECONDS=$poll DRCTL_STANDBY_POLL_SECONDS=$poll
    export DRCTL_INTO_URL="mysql://root@localhost/?socket=$standby_dir/sock"
    in_background stream
    until drctl copy --once >/dev/null 2>"$here/err"; do sleep 1; done
    in_background copy
    DRCTL_STORE=s3://bench/second in_background standby
    wait_for_rows
    watch_lag &
    SERVER_PIDS+=("$!")
    sysbench_pitr oltp_write_only --tables=4 --table-size=25000 --rate=500 --time="$load_seconds" --threads=8 run
    sleep $((cut + 2 * poll))
    touch "$here/lag.end"
    for p in 50 99; do
        fact "a standby's lag behind commits, $(load_rate) transactions/s, p$p" \
            "$(in_seconds "$(percentile "$p" "$here/lag")") s" "$([ "$p" = 50 ] || echo "≤ $cut s (the cut) + 15 s")"
    done
    for p in standby copy stream; do stop_in_background "$p"; done
    server_stop "$standby_dir"
    server_stop "$pitr_dir"
}

in_background() {
    drctl "$1" >"$here/$1.out" 2>"$here/$1.err" &
    SERVER_PIDS+=("$!")
    echo "$!" >"$here/$1.pid"
}

stop_in_background() {
    kill -TERM "$(cat "$here/$1.pid")"
    wait "$(cat "$here/$1.pid")" || true
}

# Until the standby has what the primary has.
wait_for_rows() {
    local waited=0
    until server_sql "$standby_dir" -N -e 'SELECT at FROM pitr.beat' >/dev/null 2>&1; do
        sleep 1
        waited=$((waited + 1))
        [ "$waited" -lt 120 ] || { tail -n 5 "$here/standby.err" >&2; return 1; }
    done
}

# Writes the time on the primary ten times a second, and how old is what the standby shows, into $here/lag, in ms.
watch_lag() {
    until [ -f "$here/lag.end" ]; do
        server_sql "$pitr_dir" -e 'UPDATE pitr.beat SET at = UTC_TIMESTAMP(6)'
        server_sql "$standby_dir" -N -e 'SELECT TIMESTAMPDIFF(MICROSECOND, at, UTC_TIMESTAMP(6)) DIV 1000 FROM pitr.beat' >>"$here/lag"
        sleep 0.1
    done
}

percentile() { sort -n "$2" | awk -v p="$1" '{ a[NR] = $1 } END { i = int(NR * p / 100 + 0.999999); print a[i < 1 ? 1 : i] }'; }
