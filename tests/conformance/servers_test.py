#!/usr/bin/env python3
"""PostgreSQL 14 to 18 behind the gate, each adopted by `deploy/quickstart up --upstream URI`.

The servers come from npm (tests/node/package.json). 14 runs without TLS, as a server on the same host may; the others
with it, and verified.

    POSTERN_BIN_DIR=build/dev/bin PYTHONPATH=tests/integration tests/conformance/servers_test.py
"""
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import psycopg

import rig

MAJORS = (14, 15, 16, 17, 18)
SAMPLE = os.path.join(rig.ROOT, "deploy/sample/schema.sql")


def as_postgres(*command):
    """Postgres refuses to run as root."""
    words = ["runuser", "-u", "postgres", "--", *command] if os.getuid() == 0 else list(command)
    return subprocess.run(words, cwd="/", capture_output=True, text=True, timeout=120, check=False)


class Server:
    """One cluster of one major version, with the sample database."""

    def __init__(self, major, tls):
        self.home = tempfile.mkdtemp(prefix=f"postern-pg{major}-")
        self.native = os.path.join(rig.ROOT, f"tests/node/node_modules/postgres-{major}/native")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.ca = os.path.join(self.home, "server.crt")
        if os.getuid() == 0:
            shutil.copytree(self.native, os.path.join(self.home, "native"), symlinks=True)  # where that user can read it
            self.native = os.path.join(self.home, "native")
        if tls:
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                            "-keyout", os.path.join(self.home, "server.key"), "-out", self.ca], capture_output=True, check=True)
        with open(os.path.join(self.home, "password"), "w", encoding="utf-8") as file:
            file.write("a superuser's password")
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", "postgres", self.home], check=True)
        self.data = os.path.join(self.home, "data")
        self.must("initdb", "-D", self.data, "-U", "postgres", "--auth=scram-sha-256", "--pwfile=" + os.path.join(self.home, "password"),
                  "-E", "UTF8", "--locale=C")
        with open(os.path.join(self.data, "postgresql.auto.conf"), "a", encoding="utf-8") as conf:
            conf.write(f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\n")
            if tls:
                conf.write(f"ssl = on\nssl_cert_file = '{self.ca}'\nssl_key_file = '{self.home}/server.key'\n")
        self.start()
        self.admin = f"postgresql://postgres:a%20superuser%27s%20password@127.0.0.1:{self.port}/"
        self.mode = f"?sslmode=verify-full&sslrootcert={self.ca}" if tls else "?sslmode=disable"
        self.uri = self.admin + "postern_demo" + self.mode
        subprocess.run(["psql", "-X", "-q", self.admin + "postgres" + self.mode, "-c", "create database postern_demo"], check=True)
        subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", self.uri, "-f", SAMPLE], stdout=subprocess.DEVNULL, check=True)

    def must(self, program, *arguments):
        done = as_postgres(os.path.join(self.native, "bin", program), *arguments)
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stdout}{done.stderr}")

    def start(self):
        self.must("pg_ctl", "-D", self.data, "-l", os.path.join(self.data, "log"), "-w", "start")

    def close(self):
        as_postgres(os.path.join(self.native, "bin", "pg_ctl"), "-D", self.data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.home, ignore_errors=True)


class Servers(unittest.TestCase):
    def serve(self, major):
        server = Server(major, tls=major != 14)
        self.addCleanup(server.close)
        stack = rig.Stack("--upstream", server.uri)
        self.addCleanup(stack.close)
        return stack

    def check(self, major):
        stack = self.serve(major)
        token = stack.token()
        email, phone = stack.behind("select email, phone from app.customers where id = 7")[0]
        with psycopg.connect(stack.dsn(token), autocommit=True) as connection:
            self.assertEqual(connection.info.server_version // 10000, major)
            for sql in ("select id, email, phone from app.customers where id = 7", "select * from app.customers where id = 7"):
                for binary in (False, True):
                    row = connection.cursor(binary=binary).execute(sql).fetchone()
                    self.assertNotIn(email, repr(row))
                    self.assertNotIn(phone, repr(row))
            with connection.cursor() as cursor, cursor.copy("copy (select email from app.customers where id = 7) to stdout") as copy:
                self.assertNotIn(email, b"".join(bytes(block) for block in copy).decode())
            for sql in ("grant all on app.orders to public", "select upper(email) from app.customers"):
                with self.assertRaises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(sql)
            # The catalog follows what others make.
            stack.behind("create table app.made_later (id int, note text)")
            # A catalog that was read a moment before is not read again for an unknown name: then the next poll brings it.
            deadline = time.monotonic() + 10
            while True:
                try:
                    self.assertEqual(connection.execute("select count(*) from app.made_later").fetchone(), (0,))
                    break
                except psycopg.errors.InsufficientPrivilege:
                    self.assertLess(time.monotonic(), deadline)
            deleted = []
            worker = threading.Thread(target=lambda: deleted.append(connection.execute("delete from app.support_tickets where id = 3").rowcount))
            worker.start()
            approval = stack.wait_approval()
            self.assertEqual(stack.behind("select count(*) from app.support_tickets where id = 3"), [["1"]])
            stack.cli("approver", "approval", "approve", approval["id"])
            worker.join(20)
            self.assertEqual(deleted, [1])
        described = stack.psql("\\d app.orders", "\\dt app.*")
        self.assertIn("customer_id", described.stdout, described.stderr)
        stack.down()
        stack.up()  # the upstream is not ours to stop, and is found again
        self.assertEqual(stack.psql("select 1").stdout, "1\n")


for one in MAJORS:
    setattr(Servers, f"test_{one}", lambda self, major=one: self.check(major))

if __name__ == "__main__":
    unittest.main(verbosity=2)
