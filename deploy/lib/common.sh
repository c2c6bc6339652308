# Helpers of deploy/quickstart and tests/run. POSIX sh where it costs nothing, bash where it helps.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
LOG_INSTALL=${TMPDIR:-/tmp}/postern-install.$$.log

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then BOLD=$'\033[1m' DIM=$'\033[2m' PLAIN=$'\033[0m'; else BOLD='' DIM='' PLAIN=''; fi

STARTED=$(date +%s)
say() { printf '%s[%4ss] %s%s\n' "$BOLD" "$(($(date +%s) - STARTED))" "$*" "$PLAIN"; }
note() { printf '%s        %s%s\n' "$DIM" "$*" "$PLAIN"; }
die() { printf 'postern: %s\n' "$*" >&2; exit 1; }

# free_port: prints a loopback port that nothing listens on, below the range that outgoing connections take theirs from.
free_port() {
  local port
  for _ in $(seq 50); do
    port=$((20000 + RANDOM % 12000))
    (: </dev/tcp/127.0.0.1/$port) 2>/dev/null || { echo $port; return; }
  done
  die "found no free port between 20000 and 32000"
}

# wait_for SECONDS WHAT CMD…: until CMD succeeds.
wait_for() {
  local deadline=$(($(date +%s) + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$(date +%s)" -lt "$deadline" ] || die "$what did not become ready in time"
    sleep 0.1
  done
}

# alive PID: whether that process runs; one that has ended and waits to be reaped does not.
alive() { [ -n "${1:-}" ] && kill -0 "$1" 2>/dev/null && ! grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null; }

# stop_process PID NAME: TERM, then KILL after ten seconds.
stop_process() {
  alive "${1:-}" || return 0
  kill -TERM "$1" 2>/dev/null || return 0
  for _ in $(seq 100); do
    alive "$1" || return 0
    sleep 0.1
  done
  note "$2 ($1) did not stop when asked; ending it"
  kill -KILL "$1" 2>/dev/null || true
}
