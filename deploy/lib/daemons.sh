# Configuration, start and readiness of the two daemons, and what the quickstart tells them. Sourced by deploy/quickstart.

STATE_VARIABLES="UPSTREAM_URI OWN_POSTGRES PG_HOME PG_HOST PG_PORT PG_DATABASE PG_TLS_MODE TARGET_NAME CONTROLPLANE_PORT CONTROLPLANE_PID
  CONTROLPLANE_METRICS_PORT SIDECAR_PORT SIDECAR_PID SIDECAR_METRICS_PORT BIN POLICY_APPLIED"

save_state() {
  local name
  for name in $STATE_VARIABLES; do printf '%s=%q\n' "$name" "${!name:-}"; done >"$DIR/state.new"
  mv "$DIR/state.new" "$DIR/state"
}

load_state() {
  # shellcheck disable=SC1091
  [ ! -f "$DIR/state" ] || . "$DIR/state"
}

cli() { POSTERN_CONFIG=$DIR/config.yaml "$BIN/postern" "$@"; }

start_controlplane() {
  mkdir -p "$DIR/controlplane" "$DIR/keys"
  [ -n "${CONTROLPLANE_PORT:-}" ] || { CONTROLPLANE_PORT=$(free_port) CONTROLPLANE_METRICS_PORT=$(free_port); }
  [ -f "$DIR/controlplane.yaml" ] || cat >"$DIR/controlplane.yaml" <<EOF
# Every key is documented in controlplane/server/config.h.
origin: quickstart.postern.internal
listen: 127.0.0.1:$CONTROLPLANE_PORT
tls_hosts: [127.0.0.1, localhost]
data_dir: $DIR/controlplane
kek_file: $DIR/keys/kek
store: "${STORE:-sqlite}"
metrics: 127.0.0.1:$CONTROLPLANE_METRICS_PORT
EOF
  if [ ! -f "$DIR/keys/admin.pub" ]; then
    cli identity keygen "$DIR/keys/admin.pem" >"$DIR/keys/admin.pub"
    "$BIN/postern-controlplane" --config "$DIR/controlplane.yaml" init --admin-id admin --admin-key "$DIR/keys/admin.pub" \
      >"$DIR/log/init.log" 2>&1 || die "the control plane could not be set up: $(tail -n 1 "$DIR/log/init.log")"
  fi
  write_profiles
  if ! alive "${CONTROLPLANE_PID:-}"; then
    say "Starting the control plane"
    "$BIN/postern-controlplane" --config "$DIR/controlplane.yaml" serve </dev/null >>"$DIR/log/controlplane.log" 2>&1 &
    CONTROLPLANE_PID=$!
    disown
    save_state
  fi
  wait_for 30 "the control plane ($DIR/log/controlplane.log)" cli --profile admin whoami
}

profile_with_key() {
  cat <<EOF
  $1:
    controlplane: 127.0.0.1:$CONTROLPLANE_PORT
    ca_file: controlplane/ca.pem
    audience: quickstart.postern.internal
    account: $2
    key_file: keys/$2.pem
EOF
}

write_profiles() {
  {
    echo "default_profile: agent"
    echo "profiles:"
    profile_with_key admin admin
    profile_with_key approver alice
    profile_with_key approver2 bob
    profile_with_key agent support-bot
    cat <<EOF
  ci:
    controlplane: 127.0.0.1:$CONTROLPLANE_PORT
    ca_file: controlplane/ca.pem
    exec: [$BIN/postern, identity, workload-token, --key, $DIR/keys/ci.pem, --issuer, "https://ci.quickstart.internal", --subject, "pipeline:deploy", --audience, quickstart.postern.internal]
EOF
  } >"$DIR/config.yaml"
}

# add_account NAME KIND GROUPS [OWNER]
add_account() {
  [ -f "$DIR/keys/$1.pub" ] && return 0
  cli identity keygen "$DIR/keys/$1.pem" >"$DIR/keys/$1.pub.new"
  cli --profile admin identity add "$1" --kind "$2" --groups "$3" ${4:+--owner "$4"} --key "$DIR/keys/$1.pub.new" >/dev/null
  mv "$DIR/keys/$1.pub.new" "$DIR/keys/$1.pub"
}

make_identities() {
  [ -f "$DIR/keys/identities" ] && return 0
  say "Making identities: two approvers, an agent, a CI workload"
  add_account alice person approvers
  add_account bob person approvers
  add_account support-bot agent agents admin
  cli --profile admin identity bind --group approvers --role approver
  [ -f "$DIR/keys/ci.pem" ] || cli identity keygen "$DIR/keys/ci.pem" >/dev/null
  cli identity jwks "$DIR/keys/ci.pem" >"$DIR/keys/ci.jwks"
  cli --profile admin identity add-provider quickstart-ci --issuer https://ci.quickstart.internal --audience quickstart.postern.internal \
    --kind agent --jwks-file "$DIR/keys/ci.jwks" --algorithms ES256 --require sub=pipeline:deploy --agent-id ci-pipeline --groups ci >/dev/null
  touch "$DIR/keys/identities"
}

register_target() {
  cli --profile admin target show "$TARGET_NAME" >/dev/null 2>&1 && return 0
  say "Registering the target $TARGET_NAME"
  make_gate_role
  local ca=()
  [ ! -f "$DIR/database-ca.pem" ] || ca=(--tls-ca-file "$DIR/database-ca.pem")
  printf %s "$GATE_PASSWORD" | cli --profile admin target add "$TARGET_NAME" --host "$PG_HOST" --port "$PG_PORT" --database "$PG_DATABASE" \
    --login-role postern_gate --password-file - --env demo --tls-mode "$PG_TLS_MODE" "${ca[@]}" >/dev/null
}

apply_policy() {
  local policy=${POLICY:-$ROOT/deploy/policies}
  [ -n "$POLICY" ] || [ -z "${POLICY_APPLIED:-}" ] || return 0
  say "Applying the policy $policy"
  make_session_roles $(cli --profile admin -o json policy lint "$policy" | grep -o '"sessionRoles":\[[^]]*\]' | grep -o '"[^"]*"' | tr -d '"' | grep -v '^sessionRoles$' || true)
  cli --profile admin policy apply "$policy" --comment "quickstart" >"$DIR/log/policy.log" 2>&1 ||
    { cat "$DIR/log/policy.log" >&2; die "the policy was refused"; }
  POLICY_APPLIED=yes
  save_state
}

# The certificate that Postgres clients see. A deployment brings its own; here it is made, with a CA of one use.
make_client_certificate() {
  local d=$DIR/sidecar/tls
  [ ! -f "$d/server.pem" ] || return 0
  mkdir -p "$d"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 825 -subj "/CN=Postern quickstart sidecar CA" \
    -keyout "$d/ca.key" -out "$d/ca.pem" 2>/dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=localhost" -keyout "$d/server.key" -out "$d/server.csr" 2>/dev/null
  printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' >"$d/san"
  openssl x509 -req -in "$d/server.csr" -CA "$d/ca.pem" -CAkey "$d/ca.key" -CAcreateserial -days 825 -extfile "$d/san" \
    -out "$d/server.pem" 2>/dev/null
  rm -f "$d/ca.key" "$d/server.csr" "$d/san" "$d/ca.srl"
}

start_sidecar() {
  mkdir -p "$DIR/sidecar"
  [ -n "${SIDECAR_PORT:-}" ] || { SIDECAR_PORT=$(free_port) SIDECAR_METRICS_PORT=$(free_port); }
  make_client_certificate
  mkdir -p "$DIR/sidecar/socket"
  [ -f "$DIR/sidecar.yaml" ] || cat >"$DIR/sidecar.yaml" <<EOF
# Every key is documented in sidecar/app/config.h.
listen: [127.0.0.1:$SIDECAR_PORT]
unix_socket_dir: $DIR/sidecar/socket
data_dir: $DIR/sidecar/data
tls: {certificate: $DIR/sidecar/tls/server.pem, key: $DIR/sidecar/tls/server.key, ca: $DIR/sidecar/tls/ca.pem}
advertise: {host: 127.0.0.1, port: $SIDECAR_PORT}
metrics: 127.0.0.1:$SIDECAR_METRICS_PORT
EOF
  if [ ! -f "$DIR/sidecar/joined" ]; then
    mkdir -p "$DIR/sidecar/data"
    "$BIN/postern-sidecar" --config "$DIR/sidecar.yaml" join \
      "$(cli --profile admin sidecar invite --name quickstart --targets "$TARGET_NAME")" >"$DIR/log/join.log" 2>&1 ||
      die "the sidecar could not join: $(tail -n 1 "$DIR/log/join.log")"
    touch "$DIR/sidecar/joined"
  fi
  if ! alive "${SIDECAR_PID:-}"; then
    say "Starting the sidecar"
    "$BIN/postern-sidecar" --config "$DIR/sidecar.yaml" run </dev/null >>"$DIR/log/sidecar.log" 2>&1 &
    SIDECAR_PID=$!
    disown
    save_state
  fi
  wait_for 30 "the sidecar ($DIR/log/sidecar.log)" sidecar_ready
}

# It is connected, and a client reaches its port.
sidecar_ready() {
  alive "$SIDECAR_PID" || die "the sidecar ended: $(tail -n 1 "$DIR/log/sidecar.log")"
  cli --profile admin -o json sidecar list | grep -q '"connected":true' && (: </dev/tcp/127.0.0.1/"$SIDECAR_PORT") 2>/dev/null
}

write_env() {
  local uri
  printf -v uri %q "$UPSTREAM_URI"
  cat >"$DIR/env" <<EOF
export POSTERN_CONFIG=$DIR/config.yaml
export POSTERN_CONTROLPLANE=127.0.0.1:$CONTROLPLANE_PORT
export POSTERN_SIDECAR_HOST=127.0.0.1
export POSTERN_SIDECAR_PORT=$SIDECAR_PORT
export POSTERN_UPSTREAM_URI=$uri
export POSTERN_CONTROLPLANE_PID=$CONTROLPLANE_PID
export POSTERN_SIDECAR_PID=$SIDECAR_PID
export POSTERN_BIN=$BIN
export POSTERN_CONTROLPLANE_METRICS=http://127.0.0.1:$CONTROLPLANE_METRICS_PORT/metrics
export POSTERN_SIDECAR_METRICS=http://127.0.0.1:$SIDECAR_METRICS_PORT/metrics
EOF
}
