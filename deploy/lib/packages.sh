# Names of every Debian 12 package that Postern is built, run and tested with. Sourced by deploy/quickstart and tests/run.

BUILD_PACKAGES="
  build-essential cmake ninja-build pkg-config git ca-certificates lld
  libpg-query-dev postgresql-server-dev-15 libpq-dev
  libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc
  libabsl-dev libfmt-dev libspdlog-dev libyaml-cpp-dev nlohmann-json3-dev libcli11-dev
  libssl-dev libcjose-dev libjansson-dev libcurl4-openssl-dev libsqlite3-dev zlib1g-dev libncurses-dev
  prometheus-cpp-dev"

RUN_PACKAGES="postgresql-15 postgresql-client-15 openssl"

TEST_PACKAGES="
  libgtest-dev libgmock-dev
  clang clang-format clang-tidy libclang-rt-14-dev
  python3 python3-psycopg python3-asyncpg python3-pyodbc odbc-postgresql
  libpostgresql-jdbc-java openjdk-17-jdk-headless libdbd-pg-perl
  golang-go golang-github-jackc-pgx-v4-dev
  sqlsmith python3-sqlalchemy python3-psycopg2"

# Of tests/bench/run, beside the above.
BENCH_PACKAGES="pgbouncer haproxy python3 libpq5 libbenchmark-dev"

# as_root CMD…: runs it as root, through sudo where needed.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
    die "installing packages needs root; install these by hand: $*"
  fi
}

missing_packages() {
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || echo "$package"
  done
}

# install_packages NAME…: installs those that are missing, without recommends.
install_packages() {
  missing=$(missing_packages "$@")
  [ -n "$missing" ] || return 0
  say "Installing $(echo "$missing" | wc -l) Debian packages"
  export DEBIAN_FRONTEND=noninteractive
  as_root apt-get -qq update
  # A server package would start a cluster of its own on port 5432: not asked for here.
  if echo "$missing" | grep -q '^postgresql-15$' && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    as_root mkdir -p /etc/postgresql-common
    echo "create_main_cluster = false" | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
  fi
  # shellcheck disable=SC2086
  as_root apt-get -qq install -y --no-install-recommends -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold \
    $missing >"$LOG_INSTALL" 2>&1 || { tail -n 20 "$LOG_INSTALL" >&2; die "apt-get failed; the whole log is $LOG_INSTALL"; }
}
