# drctl with the clients of both flavours: what it runs are mysqldump, mysql,
# mysqlbinlog, mariadb-dump, mariadb and mariadb-binlog.
#
#   cargo build --locked --release
#   docker build --build-arg BINARY=target/release/drctl -t drctl .
#
# BASE    a Debian 13 or newer; its C library has to be as new as the one that drctl was built with
# BINARY  where the binary stands in the build context
#
# It runs as 65532 and needs nothing to be writable but /tmp. Debian keeps MySQL in its development suite
# alone: the programs are taken out of its packages, and what they link with comes from the base.
ARG BASE=debian:trixie-slim

FROM ${BASE} AS clients
WORKDIR /clients
RUN mirror=$(sed -n 's/^\(deb\|URIs:\) *//p' /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n1) \
    && echo "deb ${mirror%% *} sid main" >/etc/apt/sources.list.d/sid.list \
    && apt-get update -qq \
    && apt-get download -qq -o APT::Sandbox::User=root \
        mysql-client-core/sid mysql-server-core/sid mariadb-client/trixie mariadb-client-core/trixie \
    && mkdir -p status.d root \
    && for package in *.deb; do \
        dpkg-deb --extract "$package" root && dpkg-deb --field "$package" >"status.d/${package%%_*}"; \
    done

FROM ${BASE}
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ca-certificates tzdata \
        libedit2 libncurses6 libssl3t64 libstdc++6 libgoogle-perftools4t64 libzstd1 zlib1g >/dev/null \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/apt /var/log/dpkg.log
COPY --from=clients /clients/root/usr/bin/mysql /clients/root/usr/bin/mysqldump /clients/root/usr/bin/mysqlbinlog \
    /clients/root/usr/bin/mariadb /clients/root/usr/bin/mariadb-dump /clients/root/usr/bin/mariadb-binlog /usr/bin/
# So that scanners of images see the packages that these programs are from.
COPY --from=clients /clients/status.d/ /var/lib/dpkg/status.d/
ARG BINARY=target/release/drctl
COPY ${BINARY} /usr/local/bin/drctl
# Each has to start here, or there is no image.
RUN for program in drctl mysql mysqldump mysqlbinlog mariadb mariadb-dump mariadb-binlog; do \
        "$program" --version || exit 1; \
    done

ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="drctl" \
    org.opencontainers.image.description="Backs up MySQL and MariaDB, and verifies that the backups restore" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
USER 65532:65532
ENV HOME=/tmp
WORKDIR /tmp
ENTRYPOINT ["drctl"]
