# The story that deploy/quickstart demo tells. Every line of it happens on the running system. Sourced by deploy/quickstart.

step() { printf '\n%s%s. %s%s\n' "$BOLD" "$1" "$2" "$PLAIN"; }
tell() { printf '   %s\n' "$@"; }
indent() { sed 's/^/   | /'; }

postern() { "$POSTERN_BIN/postern" "$@"; }
as() { POSTERN_PROFILE=$1 "$POSTERN_BIN/postern" "${@:2}"; }
behind() { psql -X -At "$POSTERN_UPSTREAM_URI" "$@"; }
gate() { as agent run --target "$TARGET_NAME" --do all --reason "$1" -- psql -X -q "${@:2}"; }
expect() { "$@" || die "the demo expected otherwise: $*"; }

demo() {
  load_state
  [ -f "$DIR/env" ] || die "nothing runs in $DIR; start with: deploy/quickstart up --dir $DIR"
  # shellcheck disable=SC1091
  . "$DIR/env"
  alive "$POSTERN_CONTROLPLANE_PID" && alive "$POSTERN_SIDECAR_PID" || die "Postern is stopped; start with: deploy/quickstart up --dir $DIR"
  [ -n "${OWN_POSTGRES:-}" ] || die "the demo plays on the sample database; start another DIR without --upstream for it"
  DEMO=$(mktemp -d)
  trap 'rm -rf "$DEMO"' EXIT
  show_token
  show_masks
  show_denial
  show_hold
  show_revocation
  show_replay
  show_audit
  printf '\n%sThat was all real. Try it yourself:%s\n' "$BOLD" "$PLAIN"
  tell ". $DIR/env" "$POSTERN_BIN/postern --profile agent run --target $TARGET_NAME --do select --reason 'a look' -- psql" \
    "$POSTERN_BIN/postern --profile approver approval watch"
}

show_token() {
  step 1 "An agent proves who it is and gets a token for minutes, for a stated purpose"
  tell "The agent signs with its own key; it holds no database password, and the token is worth nothing anywhere else."
  as agent whoami | indent
  as agent token request --target "$TARGET_NAME" --do select --objects app.orders --reason "look up order 42" --ttl 5m >"$DEMO/token"
  tell "It asked to select from app.orders for 5 minutes, and got $(wc -c <"$DEMO/token") bytes that expire by themselves:"
  as agent token list --active --limit 1 | indent
}

show_masks() {
  step 2 "A SELECT in psql: sensitive columns come back masked, the rest untouched"
  gate "customer 7 called" -c 'SELECT id, name, email, phone, national_id, city FROM app.customers WHERE id = 7' | indent
  tell "What the table really holds (seen past the gate, as the superuser):"
  behind -F ' | ' -c 'SELECT id, name, email, phone, national_id, city FROM app.customers WHERE id = 7' | indent
  tell "The mask follows the data, not the label: an alias does not help, an expression is refused."
  gate "customer 7 called" -c 'SELECT phone AS code FROM app.customers WHERE id = 7' | indent
  gate "customer 7 called" -c 'SELECT reverse(phone) FROM app.customers WHERE id = 7' 2>&1 | indent || true
}

show_denial() {
  step 3 "A statement that policy does not allow: refused with a reason, and the session goes on"
  gate "tidy up" -c 'GRANT ALL ON app.orders TO PUBLIC' -c "SELECT 'still here' AS session" 2>&1 | indent || true
}

show_hold() {
  step 4 "A DROP waits for a person; meanwhile nothing of it reaches the server"
  behind -q -c 'DROP TABLE IF EXISTS app.old_orders' -c 'CREATE TABLE app.old_orders AS SELECT * FROM app.orders' >/dev/null
  (POSTERN_PROFILE=approver exec "$POSTERN_BIN/postern" approval watch >"$DEMO/watch" 2>/dev/null) &
  local watcher=$!
  gate "retire last year's copy" -c 'DROP TABLE app.old_orders' -c "SELECT to_regclass('app.old_orders') IS NULL AS dropped" >"$DEMO/hold" 2>&1 &
  local held=$!
  APPROVAL=$(timeout 30 sh -c "tail -n +1 -F '$DEMO/watch' 2>/dev/null | grep -m 1 -o 'apr_[0-9a-z]*  pending' | cut -d' ' -f1") ||
    { cat "$DEMO/hold" >&2; die "the DROP was not held"; }
  kill "$watcher" 2>/dev/null || true
  tell "psql waits. The approver sees:"
  as approver approval show "$APPROVAL" | indent
  tell "The server's own statistics, while it is held (its sessions of the agent, and whether the table is there):"
  behind -F ' | ' -c "SELECT state, left(query, 60) AS last_query FROM pg_stat_activity WHERE application_name LIKE '%postern:%' AND pid <> pg_backend_pid()" | indent
  expect [ "$(behind -c "SELECT count(*) FROM pg_stat_activity WHERE query ILIKE 'drop table app.old_orders%' AND pid <> pg_backend_pid()")" = 0 ]
  expect [ "$(behind -c "SELECT to_regclass('app.old_orders') IS NOT NULL")" = t ]
  step 5 "A person approves that exact statement, and it runs"
  tell "The agent cannot approve:"
  as agent approval approve "$APPROVAL" 2>&1 | indent || true
  as approver approval approve "$APPROVAL" --comment "the copy is in the archive" | indent
  wait "$held" || { cat "$DEMO/hold" >&2; die "the approved DROP failed"; }
  tell "What psql saw:"
  indent <"$DEMO/hold"
  expect [ "$(behind -c "SELECT to_regclass('app.old_orders') IS NULL")" = t ]
}

show_revocation() {
  step 6 "A revocation cuts a running session"
  local token grant
  as agent -o json token request --target "$TARGET_NAME" --do select --reason "a long report" >"$DEMO/minted"
  token=$(grep -o '"token":"[^"]*"' "$DEMO/minted" | cut -d'"' -f4)
  grant=$(grep -o '"id":"grt_[^"]*"' "$DEMO/minted" | cut -d'"' -f4)
  PGPASSWORD=$token psql -X "host=$POSTERN_SIDECAR_HOST port=$POSTERN_SIDECAR_PORT dbname=postern_demo user=support-bot sslmode=require" \
    -c 'SELECT count(*) FROM generate_series(1, 100000000000)' >"$DEMO/cut" 2>&1 &
  local running=$!
  wait_for 10 "the long report" sh -c "[ \$(psql -X -At \"\$POSTERN_UPSTREAM_URI\" -c \"SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%generate_series(1, 100000000000)%' AND pid <> pg_backend_pid()\") = 1 ]"
  tell "A report runs that would take hours. The administrator revokes its grant:"
  local begin end
  begin=$(date +%s%N)
  as admin token revoke "$grant" --reason "the agent misbehaves" | indent
  wait "$running" && die "the session survived its revocation"
  end=$(date +%s%N)
  tell "psql ended $(((end - begin) / 1000000)) ms after that command began:"
  indent <"$DEMO/cut"
  wait_for 10 "the cancelled statement" sh -c "[ \$(psql -X -At \"\$POSTERN_UPSTREAM_URI\" -c \"SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%generate_series(1, 100000000000)%' AND pid <> pg_backend_pid()\") = 0 ]"
  tell "At the server nothing of it runs any more."
}

show_replay() {
  step 7 "The session that dropped the table, replayed from the audit log"
  local session
  wait_for 15 "the session's records" sh -c "POSTERN_PROFILE=admin '$POSTERN_BIN/postern' -o json audit query --approval $APPROVAL --limit 1 | grep -q sessionId"
  session=$(as admin -o json audit query --approval "$APPROVAL" --limit 1 | grep -o '"sessionId":"ses_[^"]*"' | head -n 1 | cut -d'"' -f4)
  wait_for 15 "the end of the session" sh -c "POSTERN_PROFILE=admin '$POSTERN_BIN/postern' session replay $session | grep -q 'session ends'"
  as admin session replay "$session" | indent
}

show_audit() {
  step 8 "The audit log proves itself: nothing missing, nothing altered"
  as admin audit export >"$DEMO/audit.jsonl"
  postern audit verify --file "$DEMO/audit.jsonl" | indent
  tell "The same export with one record taken out:"
  grep -n '"record":' "$DEMO/audit.jsonl" | sed -n '5p' | cut -d: -f1 >"$DEMO/line"
  sed "$(cat "$DEMO/line")d" "$DEMO/audit.jsonl" >"$DEMO/cut.jsonl"
  if postern audit verify --file "$DEMO/cut.jsonl" >"$DEMO/verdict" 2>&1; then die "a missing record went unnoticed"; fi
  indent <"$DEMO/verdict"
}
