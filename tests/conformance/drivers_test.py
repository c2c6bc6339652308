#!/usr/bin/env python3
"""The driver matrix: every client that Debian and npm offer, through the real stack. drivers/README.md says what each step is.

    POSTERN_BIN_DIR=build/dev/bin PYTHONPATH=tests/integration tests/conformance/drivers_test.py
"""
import json
import os
import shutil
import subprocess
import threading
import unittest

import rig

HERE = os.path.dirname(os.path.abspath(__file__))
DRIVERS = os.path.join(HERE, "drivers")
NODE = os.path.join(rig.ROOT, "tests/node/drivers")  # beside the packages that they import
STEPS = ("tls", "prepared", "batch", "copy", "cancel", "cursor", "error", "masked", "held", "denied")
PYTHON = "/usr/bin/python3"
CLIENTS = {
    "psql": [PYTHON, "psql_client.py"],
    "pgbench": [PYTHON, "pgbench_client.py"],
    "psycopg 3": [PYTHON, "psycopg3.py"],
    "libpq pipeline": [PYTHON, "psycopg3.py", "pipeline"],
    "asyncpg": [PYTHON, "asyncpg_client.py"],
    "node-postgres": ["node", os.path.join(NODE, "node_postgres.mjs")],
    "postgres.js": ["node", os.path.join(NODE, "postgres_js.mjs")],
    "JDBC": ["java", "-cp", "/usr/share/java/postgresql.jar", "-XX:TieredStopAtLevel=1", "Jdbc.java"],
    "DBD::Pg": ["perl", "dbd_pg.pl"],
    "ODBC": [PYTHON, "odbc.py"],
    "pgx": ["go", "run", "pgx.go"],
    "tokio-postgres": [os.path.join(rig.ROOT, "build/tokio_postgres/debug/tokio-postgres-client")],
}
# What must be made first; kept in the build folder, which git does not see.
CARGO = ["cargo", "build", "--quiet", "--offline", "--target-dir", os.path.join(rig.ROOT, "build/tokio_postgres")]


class Drivers(rig.GateTest):
    options = ("--policy", os.path.join(HERE, "drivers.yaml"))

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.table = {}
        cls.watch = cls.stack.start_cli("approver", "-o", "json", "approval", "watch")
        cls.approver = threading.Thread(target=cls.approve_all)
        cls.approver.start()

        def stop():
            cls.watch.kill()
            cls.approver.join()
            cls.watch.communicate()
            cls.print_table()
        cls.addClassCleanup(stop)

    @classmethod
    def approve_all(cls):
        for line in cls.watch.stdout:
            approval = json.loads(line)
            if approval["state"] == "APPROVAL_PENDING":
                cls.stack.cli("approver", "approval", "approve", approval["id"], check=False)

    @classmethod
    def print_table(cls):
        print("| client | " + " | ".join(STEPS) + " |\n|---" + "|---" * len(STEPS) + "|")
        for name, result in cls.table.items():
            print(f"| {name} | " + " | ".join("n/a" if result.get(step, "").startswith("n/a") else result.get(step, "missing")[:40] for step in STEPS) + " |")

    def run_client(self, name):
        stack = self.stack
        if name == "tokio-postgres":
            if not os.path.isdir("/usr/share/cargo/registry/tokio-postgres-0.7.7") or shutil.which("cargo") is None:
                self.skipTest("Debian's Rust is not installed; drivers/README.md says what it takes")
            made = subprocess.run(CARGO, cwd=os.path.join(DRIVERS, "tokio_postgres"), capture_output=True, text=True, timeout=500, check=False)
            self.assertEqual(made.returncode, 0, made.stderr[-3000:])
        env = {**stack.env, "PGHOST": "127.0.0.1", "PGPORT": str(stack.port), "PGUSER": "support-bot", "PGDATABASE": "postern_demo",
               "PGPASSWORD": stack.token(), "PGSSLROOTCERT": os.path.join(stack.dir, "sidecar/tls/ca.pem"),
               "PGCONNECT_TIMEOUT": "10", "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": "-ldflags=-s"}
        done = subprocess.run(CLIENTS[name], cwd=DRIVERS, env=env, capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stderr[-3000:])
        result = json.loads(done.stdout.splitlines()[-1])
        self.table[name] = result
        wrong = {step: result.get(step, "missing") for step in STEPS if result.get(step) != "ok" and not result.get(step, "").startswith("n/a: ")}
        self.assertEqual(wrong, {}, done.stderr[-3000:])


def add(name):
    label = "".join(c if c.isalnum() else "_" for c in name.lower())
    setattr(Drivers, f"test_{label}", lambda self: self.run_client(name))


for client in CLIENTS:
    add(client)

if __name__ == "__main__":
    unittest.main(verbosity=2)
