#!/usr/bin/env bash
# A Postgres that exists already, as target and as the control plane's store: deploy/quickstart up --upstream --store.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../deploy/lib/common.sh"
FIRST=$(mktemp -d) SECOND=$(mktemp -d)
cleanup() {
  for dir in "$SECOND" "$FIRST"; do "$ROOT/deploy/quickstart" down --dir "$dir" >/dev/null 2>&1 || true; done
  # shellcheck disable=SC1091
  [ ! -f "$FIRST/state" ] || . "$FIRST/state"
  case "${PG_HOME:-}" in /var/lib/postgresql/postern-*) rm -rf "$PG_HOME" ;; esac
  rm -rf "$FIRST" "$SECOND"
}
trap cleanup EXIT
fail() { echo "$*" >&2; exit 1; }

"$ROOT/deploy/quickstart" up --dir "$FIRST"
# shellcheck disable=SC1091
. "$FIRST/env"
superuser=$POSTERN_UPSTREAM_URI
sql() { psql -X -At "$superuser" -c "$1"; }
sql 'CREATE DATABASE kept_elsewhere' >/dev/null
tables_before=$(sql "SELECT count(*) FROM pg_class WHERE relnamespace NOT IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace)")
store=$(printf %s "$superuser" | sed 's#/postern_demo#/kept_elsewhere#')

"$ROOT/deploy/quickstart" up --dir "$SECOND" --upstream "$superuser" --target shop --store "$store"
# shellcheck disable=SC1091
. "$SECOND/env"
postern() { "$POSTERN_BIN/postern" "$@"; }
look() { postern --profile agent run --target shop --do select --reason "a look" -- psql -X -At -c "$1"; }
[ "$(look 'SELECT count(*) > 0 FROM app.orders')" = t ] || fail "the target that existed does not answer"
[ "$tables_before" = "$(sql "SELECT count(*) FROM pg_class WHERE relnamespace NOT IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace)")" ] ||
  fail "something was left in the target's database"
grants=$(psql -X -At "$store" -c 'SELECT count(*) FROM postern.grants')
[ "$grants" -gt 0 ] || fail "the store is empty"

# What was kept is there after a restart, and both chains prove themselves.
"$ROOT/deploy/quickstart" down --dir "$SECOND"
"$ROOT/deploy/quickstart" up --dir "$SECOND" --upstream "$superuser" --target shop --store "$store"
# shellcheck disable=SC1091
. "$SECOND/env"
[ "$(postern --profile admin -o json token list | grep -c '"id"')" -ge "$grants" ] || fail "grants were lost"
look 'SELECT 1' >/dev/null
postern --profile admin audit verify || fail "the audit log does not verify"
grep -q "$(printf %s "$store" | sed 's/.*:\([^@]*\)@.*/\1/')" "$SECOND"/log/* && fail "the store's password is in a log"
echo "an existing Postgres serves as target and as store"
