#!/usr/bin/env python3
"""The gate from outside: psql, psycopg 3 and node-postgres through the real stack.

What it proves: masks hold in simple and extended protocol and in COPY; a denial leaves the session, and a pipeline, in
sync; a held statement sends nothing upstream and runs once when approved; cancel and disconnect withdraw it; a revoked
grant ends its session; expired, wrong and missing tokens are refused; all of it is in the audit log.
"""
import json
import os
import socket
import threading
import time
import unittest

import psycopg

import rig


class Masks(rig.GateTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.token = cls.stack.token()
        cls.real = cls.stack.behind("select email, phone, national_id from app.customers where id = 7")[0]

    def connect(self, **more):
        return psycopg.connect(self.stack.dsn(self.token), autocommit=True, **more)

    def assert_clean(self, text):
        for secret in self.real:
            self.assertNotIn(secret, text)

    def test_psql_simple(self):
        done = self.stack.psql("select id, name, email, phone, national_id from app.customers where id = 7")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("@example.com", done.stdout)
        self.assert_clean(done.stdout + done.stderr)

    def test_star_and_alias(self):
        done = self.stack.psql("select * from app.customers where id = 7", "select phone as code from app.customers c where c.id = 7")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_clean(done.stdout)

    def test_expressions_are_refused(self):
        for sql in ("select upper(email) from app.customers", "select email || '' from app.customers",
                    "select c::text from app.customers c", "select row_to_json(c) from app.customers c",
                    "select max(phone) from app.customers", "select id from app.customers where email like 'a%'",
                    "select id from app.customers order by national_id", "select email::int from app.customers",
                    "select (select phone from app.customers where id = 7)::text"):
            with self.subTest(sql):
                done = self.stack.psql(sql)
                self.assertIn("postern:", done.stderr)
                self.assert_clean(done.stdout + done.stderr)

    def test_extended_text_and_binary(self):
        with self.connect() as connection:
            for binary in (False, True):
                with connection.cursor(binary=binary) as cursor:
                    cursor.execute("select id, email, phone from app.customers where id = %s", (7,))
                    row = cursor.fetchone()
                    self.assertEqual(row[0], 7)
                    self.assertTrue(row[1].endswith("@example.com"))
                    self.assert_clean(repr(row))

    def test_prepared_and_executed_again(self):
        with self.connect(prepare_threshold=0) as connection:
            for _ in range(10):
                row = connection.execute("select email from app.customers where id = %s", (7,)).fetchone()
                self.assert_clean(repr(row))

    def test_server_side_cursor(self):
        with self.connect() as connection, connection.transaction():
            with connection.cursor(name="c") as cursor:
                cursor.execute("select email, phone from app.customers where id = 7")
                self.assert_clean(repr(cursor.fetchall()))

    def test_copy_out(self):
        with self.connect() as connection, connection.cursor() as cursor:
            for sql in ("copy (select id, email, phone from app.customers where id = 7) to stdout",
                        "copy (select id, email, phone from app.customers where id = 7) to stdout (format csv)",
                        "copy app.customers (id, email, phone) to stdout"):
                with self.subTest(sql):
                    data = b""
                    with cursor.copy(sql) as copy:
                        for block in copy:
                            data += bytes(block)
                    self.assertIn(b"7", data)
                    self.assert_clean(data.decode())

    def test_returning(self):
        done = self.stack.psql("insert into app.support_tickets (customer_id, subject) values (7, 'hello') returning id, subject")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("hello", done.stdout)

    def test_unmasked_rows_are_exact(self):
        want = self.stack.behind("select id, status, total from app.orders order by id limit 50")
        done = self.stack.psql("select id, status, total from app.orders order by id limit 50", options=("-F", "\t"))
        self.assertEqual([line.split("\t") for line in done.stdout.splitlines()], want)

    def test_node_postgres(self):
        script = os.path.join(rig.ROOT, "tests/node/gate_client.mjs")
        done = self.stack.cli("agent", "run", "--target", "demo", "--do", "all", "--reason", "node", "--", "node", script)
        result = json.loads(done.stdout)
        self.assertEqual(result["simple"]["id"], "7")
        self.assert_clean(done.stdout)
        self.assertEqual(result["denied"]["code"], "42501")
        self.assertTrue(result["denied"]["message"].startswith("postern:"))
        self.assertEqual(result["after"], 1)


class Denials(rig.GateTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.token = cls.stack.token()

    def connect(self, **more):
        return psycopg.connect(self.stack.dsn(self.token), **more)

    def test_fields_of_a_denial(self):
        with self.connect(autocommit=True) as connection:
            with self.assertRaises(psycopg.errors.InsufficientPrivilege) as raised:
                connection.execute("grant all on app.orders to public")
            diag = raised.exception.diag
            self.assertEqual(diag.sqlstate, "42501")
            self.assertTrue(diag.message_primary.startswith("postern:"))
            self.assertTrue(diag.message_detail)
            self.assertEqual(connection.execute("select 1").fetchone(), (1,))

    def test_denied_inside_a_transaction_aborts_it(self):
        with self.connect() as connection:
            connection.execute("insert into app.support_tickets (customer_id, subject) values (1, 'undone')")
            with self.assertRaises(psycopg.errors.InsufficientPrivilege):
                connection.execute("grant all on app.orders to public")
            with self.assertRaises(psycopg.errors.InFailedSqlTransaction):
                connection.execute("select 1")
            connection.rollback()
            self.assertEqual(connection.execute("select 1").fetchone(), (1,))
        self.assertEqual(self.stack.behind("select count(*) from app.support_tickets where subject = 'undone'"), [["0"]])

    def test_denied_in_a_pipeline(self):
        with self.connect(autocommit=True) as connection:
            with self.assertRaises(psycopg.Error):
                with connection.pipeline():
                    first = connection.execute("select 1")
                    connection.execute("grant all on app.orders to public")
                    connection.execute("select 3")
            self.assertEqual(connection.execute("select 4").fetchone(), (4,))
            del first

    def test_multi_statement_message_is_judged_whole(self):
        done = self.stack.psql("insert into app.support_tickets (customer_id, subject) values (1, 'half'); grant all on app.orders to public")
        self.assertIn("postern:", done.stderr)
        self.assertEqual(self.stack.behind("select count(*) from app.support_tickets where subject = 'half'"), [["0"]])

    def test_side_doors(self):
        for sql in ("set role postgres", "set session authorization postgres", "select query_to_xml('select 1', true, true, '')",
                    "select pg_read_file('/etc/passwd')", "copy app.orders to program 'cat'", "copy app.orders to '/tmp/x'",
                    "do $$ begin end $$", "create function f() returns int language sql as 'select 1'", "load 'x'",
                    "alter system set work_mem = '1MB'", "set standard_conforming_strings = off", "select lo_import('/etc/passwd')",
                    "select pg_terminate_backend(1)", "create extension dblink", "select * from pg_stats", "select * from pg_authid"):
            with self.subTest(sql):
                done = self.stack.psql(sql)
                self.assertIn("postern:", done.stderr)
                self.assertIn("ERROR", done.stderr)

    def test_syntax_error_is_postgres_own(self):
        done = self.stack.psql("selekt 1", "select 'next'")
        self.assertIn("syntax error", done.stderr)
        self.assertIn("next", done.stdout)

    def test_psql_describe_commands(self):
        done = self.stack.cli("agent", "run", "--target", "demo", "--do", "all", "--reason", "look", "--",
                              "psql", "-X", "-c", "\\dt app.*", "-c", "\\d app.orders", "-c", "\\dn", "-c", "\\du", "-c", "\\l", check=False)
        self.assertIn("order_items", done.stdout)
        self.assertIn("customer_id", done.stdout)
        self.assertNotIn("postern:", done.stderr)


class Pinned(rig.GateTest):
    """What the policy's `session` sets holds against everything that its rules allow."""
    options = ("--policy", os.path.join(rig.ROOT, "tests/integration/session/pinned.yaml"))

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.behind("create function app.lift() returns void language plpgsql as $$ begin "
                         "perform set_config('statement_timeout', '0', false); "
                         "perform set_config('default_transaction_read_only', 'off', false); "
                         "perform set_config('role', 'none', false); end $$")
        cls.token = cls.stack.token()

    def connect(self, **more):
        return psycopg.connect(self.stack.dsn(self.token, **more), autocommit=True)

    def shown(self, connection):
        return tuple(connection.execute("show " + name).fetchone()[0]
                     for name in ("statement_timeout", "default_transaction_read_only", "role"))

    def test_sets_are_refused(self):
        with self.connect() as connection:
            for sql in ("set statement_timeout = 0", "set local statement_timeout = '1h'", "select set_config('statement_timeout', '0', false)",
                        "set default_transaction_read_only = off", "begin read write", "set session characteristics as transaction read write",
                        "set role none", "set session authorization default; set role none"):
                with self.subTest(sql), self.assertRaises(psycopg.errors.InsufficientPrivilege) as raised:
                    connection.execute(sql)
                self.assertIn("policy", raised.exception.diag.message_detail)
            connection.execute("set statement_timeout = '2s'")
            self.assertEqual(self.shown(connection), ("2s", "on", "app_reader"))

    def test_resets_bring_the_terms_back(self):
        with self.connect() as connection:
            for sql in ("reset statement_timeout", "reset all", "discard all", "reset role", "set statement_timeout to default"):
                with self.subTest(sql):
                    connection.execute("set statement_timeout = '1s'")
                    connection.execute(sql)
                    self.assertIn(self.shown(connection), (("3s", "on", "app_reader"), ("1s", "on", "app_reader")))
            self.assertEqual(connection.execute("select current_user").fetchone(), ("app_reader",))

    def test_a_function_cannot_lift_them(self):
        with self.connect() as connection:
            connection.execute("select app.lift()")
            self.assertEqual(self.shown(connection), ("3s", "on", "app_reader"))
            self.assertEqual(connection.execute("select current_user").fetchone(), ("app_reader",))
            with connection.transaction():
                connection.execute("select app.lift()")
                self.assertEqual(self.shown(connection), ("3s", "on", "app_reader"))
            self.assertEqual(self.shown(connection), ("3s", "on", "app_reader"))
            with self.assertRaises(psycopg.errors.ReadOnlySqlTransaction):
                connection.execute("insert into app.support_tickets (customer_id, subject) values (1, 'x')")

    def test_startup_asks_for_less_only(self):
        for options, timeout in (("-c statement_timeout=0", "3s"), ("-c statement_timeout=1h", "3s"), ("-c statement_timeout=1500", "1500ms")):
            with self.subTest(options), self.connect(options=options) as connection:
                self.assertEqual(self.shown(connection)[0], timeout)
                connection.execute("reset all")
                self.assertEqual(self.shown(connection)[0], timeout)
        for options in ("-c default_transaction_read_only=off", "-c role=postgres"):
            with self.subTest(options), self.assertRaises(psycopg.OperationalError):
                self.connect(options=options)

    def test_the_timeout_is_in_force(self):
        with self.connect() as connection, self.assertRaises(psycopg.errors.QueryCanceled):
            connection.execute("select count(*) from generate_series(1, 100000000000)")


class Tokens(rig.GateTest):
    def refused(self, **words):
        with self.assertRaises(psycopg.OperationalError) as raised:
            psycopg.connect(self.stack.dsn(words.pop("password", "x"), **words), connect_timeout=10)
        return str(raised.exception)

    def test_wrong_passwords(self):
        good = self.stack.token()
        for password in ("", "x", "eyJhbGciOiJub25lIn0.e30.", good[:-4] + "AAAA", "A" * 5000):
            with self.subTest(password[:10]):
                self.assertIn("FATAL", self.refused(password=password) if password else "FATAL")

    def test_wrong_database(self):
        self.assertIn("FATAL", self.refused(password=self.stack.token(), dbname="postgres"))

    def test_plaintext_works_on_loopback_and_socket(self):
        token = self.stack.token()
        with psycopg.connect(self.stack.dsn(token, sslmode="disable", sslrootcert="")) as connection:
            self.assertEqual(connection.execute("select 1").fetchone(), (1,))
        folder = os.path.join(self.stack.dir, "sidecar/socket")
        with psycopg.connect(self.stack.dsn(token, host=folder, sslmode="disable", sslrootcert="")) as connection:
            self.assertEqual(connection.execute("select 1").fetchone(), (1,))

    def test_expiry_ends_the_session(self):
        token = self.stack.token("all", "agent", "--ttl", "3s")
        with psycopg.connect(self.stack.dsn(token), autocommit=True) as connection:
            begun = time.monotonic()
            with self.assertRaises(psycopg.OperationalError):
                connection.execute("select count(*) from generate_series(1, 100000000000)")
            self.assertLess(time.monotonic() - begun, 8)
        self.assertIn("FATAL", self.refused(password=token))

    def test_revocation_cuts_and_refuses(self):
        minted = self.stack.json("agent", "token", "request", "--target", "demo", "--do", "select", "--reason", "r")
        with psycopg.connect(self.stack.dsn(minted["token"]), autocommit=True) as connection:
            failed = {}

            def run():
                try:
                    connection.execute("select count(*) from generate_series(1, 100000000000)")
                except psycopg.Error as error:
                    failed.update(at=time.monotonic(), state=error.sqlstate or (error.diag and error.diag.sqlstate))
            worker = threading.Thread(target=run)
            worker.start()
            while self.stack.behind("select count(*) from pg_stat_activity where state='active' and query like '%100000000000%' and pid <> pg_backend_pid()") == [["0"]]:
                time.sleep(0.05)
            begun = time.monotonic()
            self.stack.cli("admin", "token", "revoke", minted["grant"]["id"])
            worker.join(10)
            self.assertFalse(worker.is_alive())
            self.assertLess(failed["at"] - begun, 2)
        self.assertIn("FATAL", self.refused(password=minted["token"]))
        deadline = time.monotonic() + 5
        while self.stack.behind("select count(*) from pg_stat_activity where state='active' and query like '%100000000000%' and pid <> pg_backend_pid()") != [["0"]]:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def test_policy_refuses_a_request(self):
        done = self.stack.cli("ci", "token", "request", "--target", "demo", "--do", "delete", "--reason", "r", check=False)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertEqual(done.stdout, "")

    def test_request_id_returns_the_same_grant(self):
        request = "5f0c2f4e-6a1b-4d57-9a55-0c9f7f3f1f11"
        first = self.stack.json("agent", "token", "request", "--target", "demo", "--do", "select", "--reason", "r", "--request-id", request)
        second = self.stack.json("agent", "token", "request", "--target", "demo", "--do", "select", "--reason", "r", "--request-id", request)
        self.assertEqual(first["grant"]["id"], second["grant"]["id"])

    def test_intent_narrows(self):
        token = self.stack.token("select", "agent", "--objects", "app.orders")
        with psycopg.connect(self.stack.dsn(token), autocommit=True) as connection:
            connection.execute("select count(*) from app.orders")
            for sql in ("select count(*) from app.products", "insert into app.support_tickets (customer_id, subject) values (1, 'x')"):
                with self.assertRaises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(sql)


class Holds(rig.GateTest):
    def setUp(self):
        self.stack.behind("drop table if exists app.victim")
        self.stack.behind("create table app.victim (id int)")

    def held_psql(self, *commands):
        words = [word for command in commands for word in ("-c", command)]
        return self.stack.start_cli("agent", "run", "--target", "demo", "--do", "all", "--reason", "hold", "--", "psql", "-X", "-At", *words)

    def exists(self):
        return self.stack.behind("select to_regclass('app.victim') is not null") == [["t"]]

    def test_approved_runs_once(self):
        client = self.held_psql("drop table app.victim", "select 'next'")
        approval = self.stack.wait_approval()
        self.assertEqual(approval["statement"], "drop table app.victim")
        self.assertTrue(self.exists())
        self.assertEqual(self.stack.behind("select count(*) from pg_stat_activity where query ilike '%drop table app.victim%' and pid <> pg_backend_pid()"), [["0"]])
        agent = self.stack.cli("agent", "approval", "approve", approval["id"], check=False)
        self.assertNotEqual(agent.returncode, 0)
        self.stack.cli("approver", "approval", "approve", approval["id"], "--comment", "yes")
        out, err = client.communicate(timeout=30)
        self.assertEqual(client.returncode, 0, err)
        self.assertIn("held for approval " + approval["id"], err)
        self.assertIn("next", out)
        self.assertFalse(self.exists())
        again = self.stack.cli("approver2", "approval", "approve", approval["id"], check=False)
        self.assertEqual(again.returncode, 1)
        self.assertEqual(self.stack.json("approver", "approval", "show", approval["id"])["state"], "APPROVAL_USED")

    def test_denied_tells_why_and_goes_on(self):
        client = self.held_psql("drop table app.victim", "select 'next'")
        approval = self.stack.wait_approval()
        self.stack.cli("approver2", "approval", "deny", approval["id"], "--comment", "not that one")
        out, err = client.communicate(timeout=30)
        self.assertIn("not that one", err)
        self.assertIn("next", out)
        self.assertTrue(self.exists())

    def test_client_cancel_withdraws(self):
        connection = psycopg.connect(self.stack.dsn(self.stack.token()), autocommit=True)
        failed = []

        def run():
            try:
                connection.execute("drop table app.victim")
            except psycopg.Error as error:
                failed.append(error.sqlstate)
        worker = threading.Thread(target=run)
        worker.start()
        approval = self.stack.wait_approval()
        connection.cancel()
        worker.join(15)
        self.assertEqual(failed, ["57014"])
        self.assertEqual(connection.execute("select 1").fetchone(), (1,))
        connection.close()
        self.assertEqual(self.wait_state(approval["id"]), "APPROVAL_CANCELLED")
        self.assertTrue(self.exists())

    def wait_state(self, approval_id):
        deadline = time.monotonic() + 10
        while True:
            state = self.stack.json("approver", "approval", "show", approval_id)["state"]
            if state != "APPROVAL_PENDING" or time.monotonic() > deadline:
                return state
            time.sleep(0.05)

    def test_client_disconnect_withdraws(self):
        connection = psycopg.connect(self.stack.dsn(self.stack.token()), autocommit=True)
        wire = socket.socket(fileno=os.dup(connection.fileno()))
        failed = []

        def run():
            try:
                connection.execute("drop table app.victim")
            except psycopg.Error as error:
                failed.append(error)
        worker = threading.Thread(target=run)
        worker.start()
        approval = self.stack.wait_approval()
        wire.shutdown(socket.SHUT_RDWR)
        wire.close()
        worker.join(15)
        self.assertEqual(len(failed), 1)
        self.assertEqual(self.wait_state(approval["id"]), "APPROVAL_CANCELLED")
        late = self.stack.cli("approver", "approval", "approve", approval["id"], check=False)
        self.assertEqual(late.returncode, 1)
        self.assertTrue(self.exists())

    def test_held_in_extended_protocol_with_values(self):
        connection = psycopg.connect(self.stack.dsn(self.stack.token()), autocommit=True)
        done = []
        worker = threading.Thread(target=lambda: done.append(connection.execute("delete from app.support_tickets where id = %s", (3,)).rowcount))
        worker.start()
        approval = self.stack.wait_approval()
        self.assertEqual(len(approval["binding"]["values"]), 1)
        self.assertEqual(self.stack.behind("select count(*) from app.support_tickets where id = 3"), [["1"]])
        self.stack.cli("approver", "approval", "approve", approval["id"])
        worker.join(15)
        self.assertEqual(done, [1])
        connection.close()

    def test_nobody_approves_as_the_owner(self):
        client = self.held_psql("drop table app.victim")
        approval = self.stack.wait_approval()
        owner = self.stack.cli("admin", "approval", "approve", approval["id"], check=False)
        self.assertNotEqual(owner.returncode, 0)
        self.stack.cli("approver", "approval", "deny", approval["id"])
        client.communicate(timeout=30)


class Audit(rig.GateTest):
    def test_records_and_proof(self):
        self.stack.psql("select 1 as marker_one", "grant all on app.orders to public", "insert into app.support_tickets (customer_id, subject) values (1, 'marked')")
        intent = self.stack.await_audit(lambda r: r["kind"] == "STATEMENT_INTENT" and "marker_one" in r.get("sql", ""))
        self.assertEqual(intent["decision"], "allow")
        self.assertEqual(intent["agent"], "support-bot")
        denied = self.stack.await_audit(lambda r: "grant all" in r.get("sql", ""), "--decision", "deny")
        self.assertTrue(denied["reason"])
        outcome = self.stack.await_audit(lambda r: r["kind"] == "STATEMENT_OUTCOME" and r["commandTag"].startswith("INSERT"),
                                         "--session", intent["sessionId"])
        self.assertEqual(outcome["rows"], "1")
        self.stack.await_audit(lambda r: r["kind"] == "SESSION_END", "--session", intent["sessionId"])
        verified = self.stack.json("admin", "audit", "verify")
        self.assertTrue(verified["ok"])
        export = self.stack.cli("admin", "audit", "export").stdout.splitlines(keepends=True)
        records = [i for i, line in enumerate(export) if '"record":' in line]
        for name, lines in {"removed": export[:records[4]] + export[records[4] + 1:],
                            "swapped": export[:records[4]] + [export[records[5]], export[records[4]]] + export[records[5] + 1:],
                            "cut": export[:records[-1]]}.items():
            with self.subTest(name):
                done = self.stack.cli("admin", "audit", "verify", "--file", "-", check=False, input_text="".join(lines))
                self.assertEqual(done.returncode, 1)
                self.assertIn("damaged", done.stderr)

    def test_replay(self):
        self.stack.psql("select 'replayed'")
        intent = self.stack.await_audit(lambda r: r["kind"] == "STATEMENT_INTENT" and "replayed" in r.get("sql", ""))
        self.stack.await_audit(lambda r: r["kind"] == "SESSION_END", "--session", intent["sessionId"])
        replay = self.stack.cli("admin", "session", "replay", intent["sessionId"]).stdout
        self.assertIn("select 'replayed'", replay)
        self.assertIn("session ends", replay)
        sessions = self.stack.json("admin", "session", "list")["sessions"]
        self.assertIn(intent["sessionId"], [session["id"] for session in sessions])


class Outage(rig.GateTest):
    def test_control_plane_away(self):
        token = self.stack.token()
        connection = psycopg.connect(self.stack.dsn(token), autocommit=True)
        control_plane = int(self.stack.env["POSTERN_CONTROLPLANE_PID"])
        os.kill(control_plane, 15)
        rig.await_end(control_plane)
        deadline = time.monotonic() + 15
        while True:  # what is granted goes on; new sessions need the control plane
            self.assertEqual(connection.execute("select 1").fetchone(), (1,))
            try:
                psycopg.connect(self.stack.dsn(token), connect_timeout=10).close()
            except psycopg.OperationalError as error:
                self.assertIn("FATAL", str(error))
                break
            self.assertLess(time.monotonic(), deadline)
        done = self.stack.cli("agent", "whoami", check=False)
        self.assertEqual(done.returncode, 5, done.stderr)
        with self.assertRaises(psycopg.Error) as raised:
            connection.execute("drop table app.orders")
        self.assertEqual(raised.exception.sqlstate, "57P03")
        self.assertEqual(connection.execute("select 2").fetchone(), (2,))
        connection.close()
        self.stack.up()
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.stack.dsn(self.stack.token()), connect_timeout=10).close()
                break
            except psycopg.OperationalError:
                self.assertLess(time.monotonic(), deadline)


if __name__ == "__main__":
    unittest.main(verbosity=2)
