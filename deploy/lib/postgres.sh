# The upstream of the quickstart: a PostgreSQL of its own, or one that is there. Sourced by deploy/quickstart.

PG_BIN=/usr/lib/postgresql/15/bin

# Postgres refuses to run as root: then the package's own user runs it.
as_postgres() { if [ "$(id -u)" = 0 ]; then (cd / && runuser -u postgres -- "$@"); else "$@"; fi; }

postgres_pid() { as_postgres head -n 1 "$PG_HOME/data/postmaster.pid" 2>/dev/null || true; }

stop_postgres() {
  [ -n "${OWN_POSTGRES:-}" ] || return 0
  alive "$(postgres_pid)" || return 0
  as_postgres $PG_BIN/pg_ctl -D "$PG_HOME/data" -m fast -w stop >/dev/null || die "PostgreSQL did not stop: $PG_HOME/log"
}

# Where the cluster lives: below DIR if its user can get there, else in a folder of its own.
choose_postgres_home() {
  PG_HOME=$DIR/postgres
  [ "$(id -u)" = 0 ] || { mkdir -p "$PG_HOME"; return 0; }
  mkdir -p "$PG_HOME"
  chown postgres "$PG_HOME"
  if ! as_postgres test -x "$PG_HOME"; then
    rmdir "$PG_HOME"
    PG_HOME=/var/lib/postgresql/postern-$(printf %s "$DIR" | cksum | cut -d' ' -f1)
    mkdir -p "$PG_HOME"
    chown postgres "$PG_HOME"
  fi
}

make_certificates() {
  local d=$PG_HOME/tls
  mkdir -p "$d"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 825 -subj "/CN=Postern quickstart database CA" \
    -keyout "$d/ca.key" -out "$d/ca.pem" 2>/dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=localhost" -keyout "$d/server.key" -out "$d/server.csr" 2>/dev/null
  printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' >"$d/san"
  openssl x509 -req -in "$d/server.csr" -CA "$d/ca.pem" -CAkey "$d/ca.key" -CAcreateserial -days 825 -extfile "$d/san" \
    -out "$d/server.pem" 2>/dev/null
  rm -f "$d/ca.key" "$d/server.csr" "$d/san" "$d/ca.srl"
  cp "$d/ca.pem" "$DIR/database-ca.pem"
  [ "$(id -u)" != 0 ] || chown -R postgres "$d"
}

make_cluster() {
  say "Making a PostgreSQL of its own, with TLS and SCRAM"
  PG_PASSWORD=$(openssl rand -hex 16)
  printf %s "$PG_PASSWORD" >"$PG_HOME/password"
  [ "$(id -u)" != 0 ] || chown postgres "$PG_HOME/password"
  as_postgres $PG_BIN/initdb -D "$PG_HOME/data" -U postgres --auth=scram-sha-256 --pwfile="$PG_HOME/password" -E UTF8 --locale=C.UTF-8 \
    >"$DIR/log/initdb.log" 2>&1 || die "initdb failed: $DIR/log/initdb.log"
  rm -f "$PG_HOME/password"
  make_certificates
  PG_PORT=$(free_port)
  cat >"$PG_HOME/postgresql.extra.conf" <<EOF
port = $PG_PORT
listen_addresses = '127.0.0.1'
unix_socket_directories = '$PG_HOME'
ssl = on
ssl_cert_file = '$PG_HOME/tls/server.pem'
ssl_key_file = '$PG_HOME/tls/server.key'
password_encryption = 'scram-sha-256'
max_connections = 200
EOF
  cat >"$PG_HOME/pg_hba.conf" <<EOF
hostssl all all 127.0.0.1/32 scram-sha-256
local   all all              scram-sha-256
EOF
  [ "$(id -u)" != 0 ] || chown postgres "$PG_HOME"/*.conf
  as_postgres cp "$PG_HOME/pg_hba.conf" "$PG_HOME/data/pg_hba.conf"
  as_postgres sh -c "echo \"include '$PG_HOME/postgresql.extra.conf'\" >> '$PG_HOME/data/postgresql.conf'"
}

start_postgres() {
  alive "$(postgres_pid)" && return 0
  as_postgres $PG_BIN/pg_ctl -D "$PG_HOME/data" -l "$PG_HOME/log" -w -t 60 start >/dev/null ||
    { as_postgres tail -n 5 "$PG_HOME/log" >&2; die "PostgreSQL did not start: $PG_HOME/log"; }
}

superuser_psql() { psql -X -q -v ON_ERROR_STOP=1 "$UPSTREAM_URI" "$@"; }

load_sample() {
  say "Loading the sample database (customers, orders, payments, employees…)"
  local admin="postgresql://postgres:$PG_PASSWORD@127.0.0.1:$PG_PORT/postgres?sslmode=verify-full&sslrootcert=$DIR/database-ca.pem"
  psql -X -q -v ON_ERROR_STOP=1 "$admin" -c 'CREATE DATABASE postern_demo'
  superuser_psql -f "$ROOT/deploy/sample/schema.sql" >/dev/null
}

start_upstream() {
  if [ -n "${UPSTREAM_URI:-}" ] && [ -z "${OWN_POSTGRES:-}" ]; then
    [ -z "$UPSTREAM" ] || [ "$UPSTREAM" = "$UPSTREAM_URI" ] || die "this DIR was made for another upstream; choose another --dir"
  elif [ -z "${UPSTREAM_URI:-}" ] && [ -n "$UPSTREAM" ]; then
    UPSTREAM_URI=$UPSTREAM
  fi
  TARGET=${TARGET:-${TARGET_NAME:-demo}}
  [ -z "${TARGET_NAME:-}" ] || [ "$TARGET" = "$TARGET_NAME" ] || die "this DIR was made for target $TARGET_NAME; choose another --dir"
  TARGET_NAME=$TARGET
  if [ -z "${UPSTREAM_URI:-}" ]; then
    choose_postgres_home
    OWN_POSTGRES=yes
    make_cluster
    start_postgres
    UPSTREAM_URI="postgresql://postgres:$PG_PASSWORD@127.0.0.1:$PG_PORT/postern_demo?sslmode=verify-full&sslrootcert=$DIR/database-ca.pem"
    load_sample
    PG_TLS_MODE=verify-full PG_HOST=127.0.0.1 PG_DATABASE=postern_demo
    save_state
  elif [ -n "${OWN_POSTGRES:-}" ]; then
    start_postgres
  else
    adopt_upstream
  fi
}

# Reads host, port and database of a Postgres that exists, and whether it speaks TLS, from a connection to it.
adopt_upstream() {
  say "Looking at your Postgres"
  local seen
  seen=$(psql -X -At -F ' ' "$UPSTREAM_URI" -c '\echo :HOST :PORT :DBNAME' -c 'SELECT usesuper FROM pg_user WHERE usename = current_user' \
    -c 'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()' 2>"$DIR/log/upstream.log") ||
    die "cannot connect to --upstream: $(head -n 1 "$DIR/log/upstream.log")"
  read -r PG_HOST PG_PORT PG_DATABASE <<<"$(sed -n 1p <<<"$seen")"
  [ "$(sed -n 2p <<<"$seen")" = t ] || die "--upstream must be a superuser's URI: Postern makes the role postern_gate with it"
  PG_TLS_MODE=disable
  [ "$(sed -n 3p <<<"$seen")" = f ] || PG_TLS_MODE=require
  # A URI that verifies the server's certificate hands its CA on.
  if grep -q 'sslmode=verify-full' <<<"$UPSTREAM_URI" && grep -qo 'sslrootcert=[^&]*' <<<"$UPSTREAM_URI"; then
    PG_TLS_MODE=verify-full
    cp "$(grep -o 'sslrootcert=[^&]*' <<<"$UPSTREAM_URI" | cut -d= -f2)" "$DIR/database-ca.pem"
  fi
  save_state
}

# The login role of the sidecar, and its membership in the roles whose rights sessions use: the owner of what the
# database holds (so that an approved DDL can run) and the session roles that policy names. Postern takes care that
# sessions never change role; docs/security-model.md tells what a production deployment narrows.
make_gate_role() {
  [ -n "${GATE_PASSWORD:-}" ] || GATE_PASSWORD=$(openssl rand -hex 24)
  superuser_psql -v password="$GATE_PASSWORD" >/dev/null 2>"$DIR/log/roles.log" <<'EOF' || die "cannot make the role postern_gate: $(head -n 1 "$DIR/log/roles.log")"
SELECT 'CREATE ROLE postern_gate LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'postern_gate') \gexec
ALTER ROLE postern_gate PASSWORD :'password';
SELECT format('GRANT CONNECT ON DATABASE %I TO postern_gate', current_database()) \gexec
GRANT pg_read_all_data, pg_write_all_data TO postern_gate;
SELECT DISTINCT format('GRANT %I TO postern_gate', r.rolname)
FROM pg_roles r WHERE r.rolname !~ '^pg_' AND r.rolname <> 'postern_gate' AND (
  r.oid IN (SELECT relowner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')
  OR r.rolname = current_user) \gexec
EOF
  save_state
}

# make_session_roles NAME…: session roles of the policy, made where they do not exist.
make_session_roles() {
  local role
  for role in "$@"; do
    superuser_psql -v role="$role" >/dev/null 2>"$DIR/log/roles.log" <<'EOF' || die "cannot make the role $role: $(head -n 1 "$DIR/log/roles.log")"
SELECT NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') AS missing \gset
\if :missing
SELECT format('CREATE ROLE %I NOLOGIN', :'role') \gexec
SELECT format('GRANT pg_read_all_data, pg_write_all_data TO %I', :'role') \gexec
\endif
SELECT format('GRANT %I TO postern_gate', :'role') \gexec
EOF
  done
}
