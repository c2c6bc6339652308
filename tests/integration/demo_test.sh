#!/usr/bin/env bash
# Runs deploy/quickstart up, demo, up again, down on the binaries in POSTERN_BIN_DIR, and checks that nothing is left running.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../deploy/lib/common.sh"
DIR=$(mktemp -d)
cleanup() {
  "$ROOT/deploy/quickstart" down --dir "$DIR" >/dev/null 2>&1 || true
  # shellcheck disable=SC1091
  [ ! -f "$DIR/state" ] || . "$DIR/state"
  case "${PG_HOME:-}" in /var/lib/postgresql/postern-*) rm -rf "$PG_HOME" ;; esac
  rm -rf "$DIR"
}
trap cleanup EXIT
"$ROOT/deploy/quickstart" up --dir "$DIR"
"$ROOT/deploy/quickstart" demo --dir "$DIR"
"$ROOT/deploy/quickstart" up --dir "$DIR"
# shellcheck disable=SC1091
. "$DIR/env"
pids="$POSTERN_CONTROLPLANE_PID $POSTERN_SIDECAR_PID"
"$ROOT/deploy/quickstart" down --dir "$DIR"
for pid in $pids; do
  if alive "$pid"; then echo "process $pid still runs"; exit 1; fi
done
if psql -X -At "$POSTERN_UPSTREAM_URI" -c 'select 1' 2>/dev/null; then echo "PostgreSQL still runs"; exit 1; fi
echo "the demo told its story"
