"""What the benchmark compares: one PostgreSQL, and in front of it HAProxy, PgBouncer and Postern, all on loopback."""
import os
import resource
import shutil
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PG_BIN = "/usr/lib/postgresql/15/bin"
DATABASE, USER, PASSWORD = "bench", "bench", "bench-password"
WIDE_COLUMNS = [f"c{i}" for i in range(10)]
MASKED_COLUMNS = {"c1": "hash", "c4": "last4", "c7": "redact"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def as_postgres():
    """Keywords of subprocess: PostgreSQL and PgBouncer refuse to run as root."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}


def run(words, **more):
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words[:3])}… failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def wait_port(port, what, timeout=30):
    deadline = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what} did not listen on port {port} in time") from None
            time.sleep(0.05)


class Endpoint:
    """Where a client connects, and the process whose cost counts (None: no proxy)."""

    def __init__(self, name, port, pid, user=USER, password=PASSWORD):
        self.name, self.port, self.pid, self.user, self.password = name, port, pid, user, password
        self.tls = False
        self.also = None  # a process beside the path whose CPU is told, too

    def env(self):
        return {**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": self.user, "PGPASSWORD": self.password,
                "PGDATABASE": DATABASE, "PGSSLMODE": "require" if self.tls else "disable", "PGAPPNAME": "bench"}

    def conninfo(self):
        return (f"host=127.0.0.1 port={self.port} user={self.user} password={self.password} dbname={DATABASE} "
                f"sslmode={'require' if self.tls else 'disable'}")

    def cpu(self):
        return process_cpu(self.pid) if self.pid else 0.0


def process_cpu(pid):
    """utime + stime of a process, in seconds."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def process_rss(pid):
    """Resident bytes of a process."""
    with open(f"/proc/{pid}/statm", encoding="utf-8") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Systems:
    """Starts everything; close() ends it. `endpoints(tls)` are in the order of the table."""

    def __init__(self, options):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.options = options
        self.dir = tempfile.mkdtemp(prefix="postern-bench-")
        os.chmod(self.dir, 0o755)
        self.processes = []
        self.stacks = []
        try:
            self._certificate()
            self._postgres()
            self._haproxy()
            self.bouncers = {tls: self._pgbouncer(tls) for tls in (False, True)}
            self.stacks = [Postern(self, tls) for tls in (False, True)]
        except BaseException:
            self.close()
            raise

    def close(self):
        for stack in self.stacks:
            stack.close()
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        if not self.options.keep:
            shutil.rmtree(self.dir, ignore_errors=True)

    def endpoints(self, tls):
        found = [Endpoint("direct", self.pg_port, None), Endpoint("haproxy", self.haproxy_port, self.haproxy_pid),
                 Endpoint("pgbouncer", *self.bouncers[tls]), self.stacks[tls].endpoint("agent")]
        for endpoint in found:
            endpoint.tls = tls
        return found

    def masked(self):
        """Postern for an agent that three of the ten columns are masked for."""
        return self.stacks[False].endpoint("ci")

    def superuser_uri(self, tls=False, database=DATABASE):
        return (f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.pg_port}/{database}?"
                + (f"sslmode=verify-full&sslrootcert={self.dir}/cert.pem" if tls else "sslmode=disable"))

    def sql(self, text, database=DATABASE):
        return run(["psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", self.superuser_uri(database=database), "-c", text])

    def end_backends(self):
        """Ends the sessions' backends, those that a proxy keeps for later as well: the next one needs their places."""
        theirs = f"FROM pg_stat_activity WHERE usename = '{USER}'"
        self.sql(f"SELECT pg_terminate_backend(pid) {theirs}")
        deadline = time.monotonic() + 60
        # A few come back at once: the sidecars read their catalogs as the same user.
        while (left := int(self.sql(f"SELECT count(*) {theirs}"))) > 20:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{left} backends are still there a minute after they were told to end")
            time.sleep(0.2)

    def _start(self, words, log, **more):
        with open(os.path.join(self.dir, log), "wb") as out:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **more)
        self.processes.append(process)
        return process.pid

    def _write(self, name, text, mode=0o644):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(path, mode)
        if os.getuid() == 0:
            shutil.chown(path, "postgres", "postgres")
        return path

    def _certificate(self):
        run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
             "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", f"{self.dir}/key.pem",
             "-out", f"{self.dir}/cert.pem"])
        os.chmod(f"{self.dir}/key.pem", 0o600)
        if os.getuid() == 0:
            shutil.chown(f"{self.dir}/key.pem", "postgres", "postgres")

    def _postgres(self):
        self.pg_port = free_port()
        home = os.path.join(self.dir, "pg")
        os.mkdir(home, 0o700)
        if os.getuid() == 0:
            shutil.chown(home, "postgres", "postgres")
        password = self._write("password", PASSWORD, 0o600)
        run([f"{PG_BIN}/initdb", "-D", home, "-U", "postgres", "--auth=scram-sha-256", f"--pwfile={password}", "-E", "UTF8",
             "--locale=C.UTF-8", "--no-sync"], **as_postgres())
        settings = {"port": self.pg_port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "ssl": "on",
                    "ssl_cert_file": f"{self.dir}/cert.pem", "ssl_key_file": f"{self.dir}/key.pem", "shared_buffers": "256MB",
                    "max_connections": max(self.options.idle + [100]) + 150, "fsync": "off", "autovacuum": "off",
                    "log_min_messages": "error"}
        words = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        self._start([f"{PG_BIN}/postgres", "-D", home, *words], "postgres.log", **as_postgres())
        wait_port(self.pg_port, "PostgreSQL")
        self.sql(f"CREATE DATABASE {DATABASE}", database="postgres")
        self.sql(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}' IN ROLE pg_read_all_data, pg_write_all_data")
        run([f"{PG_BIN}/pgbench", "-i", "-q", "-s", str(self.options.scale), self.superuser_uri()])
        columns = ", ".join(f"{name} text" for name in WIDE_COLUMNS)
        values = ", ".join(f"repeat(md5((i + {n})::text), 3)" for n in range(len(WIDE_COLUMNS)))
        rows = self.options.result_mb * 1000  # of about 1 KB
        self.sql(f"CREATE UNLOGGED TABLE bench_wide (id bigint, {columns}); "
                 f"INSERT INTO bench_wide SELECT i, {values} FROM generate_series(1, {rows}) i; "
                 f"CREATE UNLOGGED TABLE bench_copy (LIKE bench_wide)")
        self.sql("VACUUM ANALYZE bench_wide")

    def _haproxy(self):
        self.haproxy_port = free_port()
        config = self._write("haproxy.cfg", f"""
global
  maxconn 7000
defaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
listen postgres
  bind 127.0.0.1:{self.haproxy_port}
  server one 127.0.0.1:{self.pg_port}
""")
        self.haproxy_pid = self._start(["haproxy", "-db", "-f", config], "haproxy.log")
        wait_port(self.haproxy_port, "HAProxy")

    def _pgbouncer(self, tls):
        port = free_port()
        users = self._write("userlist.txt", f'"{USER}" "{PASSWORD}"\n', 0o600)
        encryption = (f"client_tls_sslmode = require\nclient_tls_key_file = {self.dir}/key.pem\n"
                      f"client_tls_cert_file = {self.dir}/cert.pem\nserver_tls_sslmode = require\n") if tls else ""
        config = self._write(f"pgbouncer-{tls}.ini", f"""
[databases]
{DATABASE} = host=127.0.0.1 port={self.pg_port} dbname={DATABASE}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = session
default_pool_size = 10000
max_client_conn = 10000
log_connections = 0
log_disconnections = 0
ignore_startup_parameters = extra_float_digits
{encryption}""")
        pid = self._start(["pgbouncer", config], f"pgbouncer-{tls}.log", **as_postgres())
        wait_port(port, "PgBouncer")
        return port, pid


class Postern:
    """deploy/quickstart's control plane and sidecar before that PostgreSQL, with a policy of 50 rules and limits lifted."""

    def __init__(self, systems, tls):
        self.dir = os.path.join(systems.dir, "postern-tls" if tls else "postern-plain")
        self.policy = os.path.join(systems.dir, "policy.yaml")
        with open(self.policy, "w", encoding="utf-8") as out:
            out.write(policy_text())
        self.environment = {**os.environ, "GATE_PASSWORD": "bench-gate-password"}
        if systems.options.bin:
            self.environment["POSTERN_BIN_DIR"] = os.path.abspath(systems.options.bin)
        self._quickstart("up", "--upstream", systems.superuser_uri(tls), "--policy", self.policy)
        self._quickstart("down")
        # The benchmark is one agent with all the sessions there are.
        self._append("sidecar.yaml", "limits: {sessions: 20000, sessions_per_agent: 20000}\n")
        self._append("controlplane.yaml", "limits: {calls_per_second: 0}\n")
        self._quickstart("up", "--policy", self.policy)
        self.state = self._state()

    def _quickstart(self, command, *words):
        run([os.path.join(ROOT, "deploy/quickstart"), command, "--dir", self.dir, *words], env=self.environment)

    def _append(self, name, text):
        with open(os.path.join(self.dir, name), "a", encoding="utf-8") as out:
            out.write(text)

    def _state(self):
        text = run(["bash", "-c", f"set -a; . '{self.dir}/state'; env -0"])
        return dict(item.split("=", 1) for item in text.split("\0") if "=" in item)

    def endpoint(self, profile):
        token = run([os.path.join(self.state["BIN"], "postern"), "--profile", profile, "token", "request", "--target", "demo", "--do",
                     "all", "--reason", "benchmark"], env={**os.environ, "POSTERN_CONFIG": f"{self.dir}/config.yaml"}).strip()
        endpoint = Endpoint("postern", int(self.state["SIDECAR_PORT"]), int(self.state["SIDECAR_PID"]), "agent", token)
        endpoint.also = int(self.state["CONTROLPLANE_PID"])
        return endpoint

    def close(self):
        self._quickstart("down")


def policy_text():
    """Fifty rules, most of which speak of other tables, for `agents`; the masks are another agent's, `ci`."""
    rules = ["  - {id: read, effect: allow, do: [select], objects: [public.*]}",
             "  - {id: copy, effect: allow, do: [copy_out, copy_in]}",
             "  - {id: load, effect: allow, do: [insert], objects: [public.bench_copy]}"]
    for n in range(7):
        rules.append(f"  - {{id: never-{n}, effect: deny, do: [read, write], objects: [secret.table_{n}, vault.*_{n}]}}")
    while len(rules) < 50:
        n = len(rules)
        rules.append(f"  - {{id: other-{n}, effect: allow, do: [select], objects: [app_{n}.*, sales.orders_{n}], "
                     f"columns: {{except: [password_{n}]}}, require: {{where_on: [customer_id]}}}}")
    masks = ", ".join(f"public.bench_wide.{column}: {mask}" for column, mask in MASKED_COLUMNS.items())
    head = "apiVersion: postern/v1\nkind: Policy\n"
    return (f"{head}metadata: {{name: bench}}\nsubjects: [{{group: agents}}]\ntargets: {{databases: [{DATABASE}]}}\n"
            f"session: {{ttl: 12h}}\nrules:\n" + "\n".join(rules) + "\n---\n"
            f"{head}metadata: {{name: bench-masked}}\nsubjects: [{{group: ci}}]\ntargets: {{databases: [{DATABASE}]}}\n"
            f"session: {{ttl: 12h}}\nrules:\n"
            f"  - {{id: read, effect: allow, do: [select, copy_out], objects: [public.*], columns: {{mask: {{{masks}}}}}}}\n")
