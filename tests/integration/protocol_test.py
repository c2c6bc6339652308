#!/usr/bin/env python3
"""The wire beneath the drivers: what a client may send before, beside and instead of SQL, and how the gate's process behaves.

Raw sockets where no driver would do it; psycopg for the sessions that must not notice.
"""
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time

import psycopg

import rig
from raw_wire import GSS_REQUEST, SSL_REQUEST, Wire, message, startup


def contents(path):
    with open(path, "rb") as file:
        return file.read()


class ProtocolTest(rig.GateTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.token = cls.stack.token()

    def connect(self, **more):
        return psycopg.connect(self.stack.dsn(self.token, **more), autocommit=True)

    def assert_last_words(self, wire, sqlstate):
        """One FATAL of that SQLSTATE, and then the end."""
        kind, body = wire.next()
        self.assertEqual(kind, b"E", body)
        self.assertIn(b"SFATAL\0", body)
        self.assertIn(b"C" + sqlstate + b"\0", body)
        self.assertEqual(wire.rest(), b"")

    def context(self, alpn=()):
        context = ssl.create_default_context(cafile=os.path.join(self.stack.dir, "sidecar/tls/ca.pem"))
        if alpn:
            context.set_alpn_protocols(alpn)
        return context


class Openings(ProtocolTest):
    def test_gss_is_declined_and_tls_follows(self):
        with Wire(self.stack.port) as wire:
            wire.send(GSS_REQUEST)
            self.assertEqual(wire.exactly(1), b"N")
            wire.send(SSL_REQUEST)
            self.assertEqual(wire.exactly(1), b"S")
            wire.tls(self.context())
            self.assertEqual(wire.log_in(self.token)[-1], (b"Z", b"I"))

    def test_plaintext_behind_an_ssl_request(self):
        with Wire(self.stack.port) as wire:
            wire.send(SSL_REQUEST + startup(user="me", database="postern_demo"))
            self.assertIn(b"unencrypted data", wire.rest())

    def test_direct_tls(self):
        with Wire(self.stack.port) as wire:
            wire.tls(self.context(["postgresql"]))
            self.assertEqual(wire.socket.selected_alpn_protocol(), "postgresql")
            self.assertEqual(wire.log_in(self.token)[-1], (b"Z", b"I"))

    def test_direct_tls_needs_its_alpn(self):
        with Wire(self.stack.port) as wire:
            wire.tls(self.context())
            with self.assertRaises((EOFError, OSError)):
                wire.log_in(self.token)
        with Wire(self.stack.port) as wire, self.assertRaises((ssl.SSLError, OSError)):
            wire.tls(self.context(["h2"]))
            wire.log_in(self.token)

    def test_later_versions_and_options_are_negotiated_down(self):
        with Wire(self.stack.port) as wire:
            seen = wire.log_in(self.token, minor=9999, **{"_pq_.of_tomorrow": "1"})
            kind, body = seen[0]
            self.assertEqual(kind, b"v")
            self.assertEqual(struct.unpack("!hhi", body[:8]), (3, 2, 1))
            self.assertEqual(body[8:], b"_pq_.of_tomorrow\0")

    def test_protocol_3_2_has_long_cancel_keys(self):
        for minor, length in ((0, 4), (2, 32)):
            with Wire(self.stack.port) as wire:
                seen = wire.log_in(self.token, minor=minor)
                self.assertNotIn(b"v", [kind for kind, _ in seen])
                [key] = [body for kind, body in seen if kind == b"K"]
                self.assertEqual(len(key), 4 + length)
                wire.send(message(b"Q", b"select count(*) from app.orders a, app.orders b, app.orders c, app.orders d\0"))
                # A cancel that comes too early cancels nothing, as with Postgres.
                rig.await_value(lambda: self.stack.behind("select 1 from pg_stat_activity where state = 'active' and query like 'select count(*) from app.orders a,%'"),
                                "the statement runs")
                for wrong in (key[:-1] + bytes([key[-1] ^ 1]), key[:-1], key + b"\0"):
                    self.cancel(wrong)
                self.cancel(key)
                # Not the statement timeout, which has the same SQLSTATE.
                self.assertIn(b"Mcanceling statement due to user request\0", dict(wire.until(b"Z"))[b"E"])

    def cancel(self, key):
        with Wire(self.stack.port) as other:
            other.send(struct.pack("!ii", len(key) + 8, 80877102) + key)
            other.rest()

    def test_replication_is_refused(self):
        with Wire(self.stack.port) as wire:
            wire.send(startup(user="me", database="postern_demo", replication="database"))
            self.assertIn(b"replication", wire.rest())


class OauthBearer(ProtocolTest):
    """RFC 7628, by raw bytes and by libpq 18, whose own flow is replaced by a hook that has the token."""

    def ask(self, wire):
        wire.send(startup(user="me", database="postern_demo", options="-c postern.auth=oauthbearer"))
        self.assertEqual(wire.next(), (b"R", struct.pack("!i", 10) + b"OAUTHBEARER\0\0"))

    def initial(self, data):
        return message(b"p", b"OAUTHBEARER\0" + struct.pack("!i", len(data)) + data)

    def test_a_token_opens_the_session(self):
        with Wire(self.stack.port) as wire:
            self.ask(wire)
            wire.send(self.initial(b"n,,\1auth=Bearer " + self.token.encode() + b"\1\1"))
            self.assertEqual(wire.next(), (b"R", struct.pack("!i", 0)))
            wire.until(b"Z")
            self.assertIn(b"D", [kind for kind, _ in wire.query("select 1")])

    def test_without_a_token_the_client_is_told_and_then_refused(self):
        for auth, sqlstate in ((b"", b"28000"), (b"Bearer not.a.token", b"28P01")):
            with Wire(self.stack.port) as wire:
                self.ask(wire)
                wire.send(self.initial(b"n,,\1auth=" + auth + b"\1\1"))
                self.assertEqual(wire.next(), (b"R", struct.pack("!i", 11) + b'{"status":"invalid_token"}'))
                wire.send(message(b"p", b"\1"))
                self.assert_last_words(wire, sqlstate)

    def test_hostile_exchanges_end(self):
        for data in (b"", b"n,,\1\1", b"n,a=postgres,\1auth=Bearer x\1\1", b"p=tls-unique,,\1auth=Bearer x\1\1"):
            with Wire(self.stack.port) as wire:
                self.ask(wire)
                wire.send(self.initial(data))
                self.assert_last_words(wire, b"08P01")
        with Wire(self.stack.port) as wire:
            self.ask(wire)
            wire.send(message(b"p", b"SCRAM-SHA-256\0\0\0\0\0"))
            self.assert_last_words(wire, b"08P01")

    def test_libpq_18(self):
        native = os.path.join(rig.ROOT, "tests/node/node_modules/postgres-18/native/lib")
        done = subprocess.run([sys.executable, os.path.join(rig.ROOT, "tests/integration/session/libpq_oauth.py")],
                              env={**os.environ, "LD_LIBRARY_PATH": native, "LIBPQ": os.path.join(native, "libpq.so.5"),
                                   "PGHOST": "localhost", "PGPORT": str(self.stack.port), "PGDATABASE": "postern_demo",
                                   "PGSSLMODE": "verify-full", "PGSSLROOTCERT": os.path.join(self.stack.dir, "sidecar/tls/ca.pem"),
                                   "TOKEN": self.token},
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(done.stdout.strip(), "1")


class Messages(ProtocolTest):
    def test_function_call_is_refused_and_the_session_goes_on(self):
        with Wire(self.stack.port) as wire:
            wire.log_in(self.token)
            for _ in range(2):
                wire.send(message(b"F", struct.pack("!ihhh", 1598, 0, 0, 0)))
                seen = wire.until(b"Z")
                self.assertEqual([kind for kind, _ in seen], [b"E", b"Z"])
                self.assertIn(b"C42501\0", seen[0][1])
            wire.send(message(b"Q", b"select 1\0"))
            self.assertIn(b"D", [kind for kind, _ in wire.until(b"Z")])

    def test_malformed_bytes_end_that_session_alone(self):
        bad = {
            "unknown type": message(b"~"),
            "negative length": b"Q" + struct.pack("!i", -1),
            "length below itself": b"Q" + struct.pack("!i", 3),
            "query without its end": message(b"Q", b"select 1"),
            "parse without its end": message(b"P", b"s\0select") + message(b"S"),
            "bind that counts too far": message(b"B", b"\0\0" + struct.pack("!hh", 0, 2)) + message(b"S"),
            "execute cut short": message(b"E", b"\0\0") + message(b"S"),
            "a second start-up": startup(user="me"),
            "huge": b"Q" + struct.pack("!i", 0x7fffffff),
        }
        with self.connect() as witness:
            for name, data in bad.items():
                with self.subTest(name), Wire(self.stack.port) as wire:
                    wire.log_in(self.token)
                    wire.send(data)
                    rest = wire.rest()
                    self.assertIn(b"FATAL", rest)
                    self.assertTrue(b"C08P01\0" in rest or b"C54000\0" in rest, rest)
                    self.assertEqual(witness.execute("select 1").fetchone(), (1,))

    def test_a_result_that_is_not_what_was_judged(self):
        """Columns change places between the catalog's last reading and the statement: nothing of the result goes out."""
        with self.connect() as connection:
            secret = self.stack.behind("select email from app.customers where id = 7")[0][0]
            connection.execute("select name from app.customers where id = 7")
            swap = "alter table app.customers rename {0} to x; alter table app.customers rename {1} to {0}; alter table app.customers rename x to {1}"
            with psycopg.connect(self.stack.env["POSTERN_UPSTREAM_URI"], autocommit=True) as owner:
                owner.execute(swap.format("name", "email"))
                try:
                    with self.assertRaises(psycopg.Error) as raised:
                        self.assertNotIn(secret, repr(connection.execute("select name from app.customers where id = 7").fetchone()))
                    self.assertNotIn(secret, str(raised.exception))
                finally:
                    owner.execute(swap.format("name", "email"))
        self.stack.await_audit(lambda r: r["kind"] == "ALARM" and r.get("action") == "ORIGIN_MISMATCH")


class Process(ProtocolTest):
    """The sidecar with small limits."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with open(os.path.join(cls.stack.dir, "sidecar.yaml"), "a", encoding="utf-8") as config:
            config.write("limits: {startup: 2s, sessions: 4, sessions_per_agent: 3}\ndrain: 5s\n")
        cls.restart()

    @classmethod
    def restart(cls):
        pid = int(cls.stack.env["POSTERN_SIDECAR_PID"])
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        rig.await_end(pid)
        cls.stack.up()

    def test_a_silent_client_is_put_out(self):
        begun = time.monotonic()
        with Wire(self.stack.port) as silent, Wire(self.stack.port) as halfway:
            halfway.send(SSL_REQUEST)
            with self.connect() as connection:  # the door is open meanwhile
                self.assertEqual(connection.execute("select 1").fetchone(), (1,))
            self.assertEqual(silent.rest(), b"")
            halfway.rest()
        self.assertLess(time.monotonic() - begun, 10)

    def test_limits(self):
        open_ones = [self.connect() for _ in range(3)]
        try:
            with Wire(self.stack.port) as wire:
                wire.send(startup(user="me", database="postern_demo"))
                wire.until(b"R")
                wire.send(message(b"p", self.token.encode() + b"\0"))
                self.assertIn(b"C53300\0", wire.rest())
        finally:
            for one in open_ones:
                one.close()
        deadline = time.monotonic() + 10
        while True:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError:
                self.assertLess(time.monotonic(), deadline)

    def test_sighup_reads_the_certificates_again(self):
        folder = os.path.join(self.stack.dir, "sidecar/tls")
        pid = int(self.stack.env["POSTERN_SIDECAR_PID"])

        def presented():
            with Wire(self.stack.port) as wire:
                wire.send(SSL_REQUEST)
                self.assertEqual(wire.exactly(1), b"S")
                context = ssl.create_default_context()
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                wire.tls(context)
                return wire.socket.getpeercert(binary_form=True)

        keep = {name: contents(os.path.join(folder, name)) for name in ("server.pem", "server.key")}
        with self.connect() as connection:
            before = presented()
            try:
                with open(os.path.join(folder, "server.pem"), "wb") as file:
                    file.write(b"not a certificate")
                os.kill(pid, signal.SIGHUP)
                self.wait_log("certificate for clients not replaced")
                self.assertEqual(presented(), before)
                subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                                "/CN=localhost", "-keyout", os.path.join(folder, "server.key"), "-out", os.path.join(folder, "server.pem")],
                               capture_output=True, check=True)
                os.kill(pid, signal.SIGHUP)
                self.wait_log("certificate for clients read again")
                self.assertNotEqual(presented(), before)
                self.assertEqual(connection.execute("select 1").fetchone(), (1,))
            finally:
                for name, data in keep.items():
                    with open(os.path.join(folder, name), "wb") as file:
                        file.write(data)
                os.kill(pid, signal.SIGHUP)
                # The next test's clients trust the old certificate only.
                deadline = time.monotonic() + 10
                while presented() != before:
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.02)

    def wait_log(self, text):
        deadline = time.monotonic() + 10
        path = os.path.join(self.stack.dir, "log/sidecar.log")
        while text.encode() not in contents(path):
            self.assertLess(time.monotonic(), deadline, text)
            time.sleep(0.05)

    def test_sigterm_lets_transactions_end_and_tells_the_idle(self):
        pid = int(self.stack.env["POSTERN_SIDECAR_PID"])
        try:
            with Wire(self.stack.port) as idle, Wire(self.stack.port) as busy:
                idle.log_in(self.token)
                busy.log_in(self.token)
                self.assertEqual(busy.query("begin; insert into app.support_tickets (customer_id, subject) values (1, 'drained')")[-1], (b"Z", b"T"))
                os.kill(pid, signal.SIGTERM)
                self.assert_last_words(idle, b"57P01")
                self.assertEqual(busy.query("commit")[-1], (b"Z", b"I"))
                self.assert_last_words(busy, b"57P01")
            rig.await_end(pid)
            self.assertEqual(self.stack.behind("select count(*) from app.support_tickets where subject = 'drained'"), [["1"]])
        finally:
            self.restart()


class Lease(ProtocolTest):
    def test_the_lease_ends_sessions(self):
        self.stack.cli("admin", "target", "update", "demo", "--lease", "3s")
        with Wire(self.stack.port) as wire:
            wire.log_in(self.token)
            control_plane = int(self.stack.env["POSTERN_CONTROLPLANE_PID"])
            os.kill(control_plane, signal.SIGTERM)
            rig.await_end(control_plane)
            begun = time.monotonic()
            self.assertEqual(wire.query("select 1")[-1], (b"Z", b"I"))
            wire.socket.settimeout(40)
            self.assert_last_words(wire, b"57P03")
            # The lease, and what the heartbeat needs to miss one.
            self.assertLess(time.monotonic() - begun, 25)


if __name__ == "__main__":
    import unittest
    unittest.main(verbosity=2)
