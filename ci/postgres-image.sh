#!/usr/bin/env bash
# Builds a small PostgreSQL 15 image from Debian's packages, for machines that have Docker but no image registry.
#
#   usage: ci/postgres-image.sh [IMAGE]        (default: deadheat-postgres:15)
#
# The image behaves like the official `postgres` image in what deadheat and testcontainers use of it: the same entry
# point name, PGDATA, POSTGRES_PASSWORD, POSTGRES_HOST_AUTH_METHOD, POSTGRES_USER, POSTGRES_DB, arguments handed to
# the server, and the log line "database system is ready to accept connections" on stderr.
# It needs root (or passwordless sudo), apt and Docker; takes about half a minute.
set -euo pipefail

image=${1:-deadheat-postgres:15}
suite=bookworm
packages=postgresql-15

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

if ! command -v mmdebstrap >/dev/null; then
  as_root apt-get -qq update
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends mmdebstrap </dev/null >/dev/null
fi

work=$(mktemp -d)
trap 'as_root rm -rf "$work"' EXIT
chmod 755 "$work"

cat >"$work/docker-entrypoint.sh" <<'ENTRYPOINT'
#!/bin/bash
# A short form of the official image's entry point: initialise PGDATA once, then become the server.
set -eu
export PATH="/usr/lib/postgresql/15/bin:$PATH"
case "${1:-}" in
  -*) set -- postgres "$@" ;;
esac
if [ "${1:-}" != postgres ]; then
  exec "$@"
fi
if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA" /run/postgresql
  chown -R postgres:postgres "$PGDATA" /run/postgresql
  chmod 700 "$PGDATA"
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi
user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
  if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "$method" != trust ]; then
    echo >&2 "Error: the database is not initialised and POSTGRES_PASSWORD is not set (or set POSTGRES_HOST_AUTH_METHOD=trust)."
    exit 1
  fi
  initdb --username="$user" --encoding=UTF8 --locale=C.UTF-8 --auth-local=trust --auth-host="$method" --no-sync \
    ${POSTGRES_PASSWORD:+--pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD")} >/dev/null
  printf 'host all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
  if [ "$database" != postgres ]; then
    printf 'CREATE DATABASE "%s";\n' "${database//\"/\"\"}" | postgres --single -j postgres >/dev/null
  fi
fi
exec "$@" -c listen_addresses='*'
ENTRYPOINT
chmod 755 "$work/docker-entrypoint.sh"

# The server's packages create a cluster of their own unless told not to; documentation is not needed.
bootstrap() {
  as_root mmdebstrap --quiet --variant=minbase --include="$packages" \
    --dpkgopt=force-confold \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --essential-hook='mkdir -p "$1/etc/postgresql-common" && echo "create_main_cluster = false" >"$1/etc/postgresql-common/createcluster.conf"' \
    --customize-hook="upload $work/docker-entrypoint.sh /usr/local/bin/docker-entrypoint.sh" \
    --customize-hook='chmod 755 "$1/usr/local/bin/docker-entrypoint.sh"' \
    "$@"
}

# This machine's own apt sources, for networks where Debian's default mirror cannot be reached. Only files that apt itself reads.
own_sources() {
  local file
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    if [ -s "$file" ] && grep -q "$suite" "$file"; then echo "$file"; fi
  done
}

if ! bootstrap "$suite" "$work/root.tar" 2>"$work/default.log"; then
  mapfile -t sources < <(own_sources)
  if [ ${#sources[@]} = 0 ]; then
    cat "$work/default.log" >&2
    exit 1
  fi
  echo "the default mirror did not work; using this machine's apt sources" >&2
  as_root rm -f "$work/root.tar"
  apt-config dump Acquire >"$work/apt.conf"
  bootstrap --aptopt="$work/apt.conf" "$suite" "$work/root.tar" "${sources[@]}"
fi

docker import \
  --change 'ENV PGDATA=/var/lib/postgresql/data' \
  --change 'ENV LANG=C.UTF-8' \
  --change 'EXPOSE 5432' \
  --change 'ENTRYPOINT ["/usr/local/bin/docker-entrypoint.sh"]' \
  --change 'CMD ["postgres"]' \
  "$work/root.tar" "$image" >/dev/null
echo "built $image"
