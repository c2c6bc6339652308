#!/usr/bin/env python3
"""What becomes of a statement when something else than the statement decides. README.md says what each class proves."""
import os
import signal
import threading
import time
import unittest

import psycopg

import rig

HERE = os.path.dirname(os.path.abspath(__file__))
POLICY = os.path.join(HERE, "policy.yaml")
EVERYTHING = os.path.join(HERE, "everything.yaml")


class RowLimit(rig.GateTest):
    options = ("--policy", POLICY)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.behind("create table app.pairs (id int primary key, twin int unique deferrable initially deferred)")
        cls.stack.behind("insert into app.pairs values (1, 1), (2, 2)")
        cls.token = cls.stack.token()

    def connect(self, simple, autocommit=True):
        return psycopg.connect(self.stack.dsn(self.token), autocommit=autocommit, prepare_threshold=None,
                               cursor_factory=psycopg.ClientCursor if simple else psycopg.Cursor)

    def await_table(self, connection):
        """A name that the sidecar does not know yet is refused; a moment later it is known."""
        deadline = time.monotonic() + 10
        while True:
            try:
                return connection.execute("select count(*) from app.pairs").fetchone()
            except psycopg.errors.InsufficientPrivilege:
                self.assertLess(time.monotonic(), deadline)

    def outcome_of(self, marker):
        intent = self.stack.await_audit(lambda r: r["kind"] == "STATEMENT_INTENT" and marker in r.get("sql", ""))
        return self.stack.await_audit(lambda r: r["kind"] == "STATEMENT_OUTCOME" and r["execution"] == intent["execution"], "--session", intent["sessionId"])

    def check(self, simple):
        marker = "simple" if simple else "extended"
        with self.connect(simple) as connection:
            self.await_table(connection)
            # Its one row is within the limit; that the twins are alike shows only at COMMIT.
            with self.assertRaises(psycopg.errors.UniqueViolation):
                connection.execute(f"update app.pairs set twin = 1 where id = 2 /* {marker} */")
            self.assertEqual(connection.info.transaction_status, psycopg.pq.TransactionStatus.IDLE)
            self.assertEqual(self.stack.behind("select id, twin from app.pairs order by id"), [["1", "1"], ["2", "2"]])
            self.assertEqual(connection.execute("select twin from app.pairs where id = 2").fetchone(), (2,))
            with self.assertRaises(psycopg.errors.InsufficientPrivilege) as raised:
                connection.execute(f"update app.pairs set twin = twin + 10 /* too many {marker} */")
            self.assertIn("too many rows", raised.exception.diag.message_primary)
            self.assertEqual(connection.execute("update app.pairs set twin = 3 where id = 2").rowcount, 1)
            self.assertEqual(self.stack.behind("select twin from app.pairs where id = 2"), [["3"]])
            connection.execute("update app.pairs set twin = 2 where id = 2")
        outcome = self.outcome_of(f"/* {marker} */")
        self.assertEqual((outcome["outcome"], outcome["sqlstate"]), ("failed", "23505"), outcome)
        self.assertEqual(self.outcome_of(f"/* too many {marker} */")["outcome"], "failed")

    def test_commit_fails_in_the_simple_protocol(self):
        self.check(simple=True)

    def test_commit_fails_in_the_extended_protocol(self):
        self.check(simple=False)

    def test_the_clients_own_commit_fails(self):
        for simple in (True, False):
            with self.subTest(simple=simple), self.connect(simple, autocommit=False) as connection:
                self.await_table(connection)
                self.assertEqual(connection.execute("update app.pairs set twin = 1 where id = 2").rowcount, 1)
                with self.assertRaises(psycopg.errors.UniqueViolation):
                    connection.commit()
                connection.rollback()
                self.assertEqual(connection.execute("select twin from app.pairs where id = 2").fetchone(), (2,))


class Rejoin(rig.GateTest):
    options = ("--policy", POLICY)
    HELD = "delete from app.support_tickets where id = {}"

    def connect(self):
        return psycopg.connect(self.stack.dsn(self.token), autocommit=True)

    def setUp(self):
        self.token = self.stack.token()

    def send_and_leave(self, sql, others=()):
        """Sends what will be held, and drops the connection once somebody is asked. Returns the approval."""
        connection = self.connect()
        self.start(connection, sql)
        approval = self.await_pending(sql, others)
        connection.pgconn.finish()
        return approval

    def await_pending(self, sql, others=()):
        deadline = time.monotonic() + 30
        while True:
            found = [one for one in self.pending(sql) if one["id"] not in others]
            if found:
                return found[0]
            self.assertLess(time.monotonic(), deadline, "nobody is asked")
            time.sleep(0.05)

    @staticmethod
    def start(connection, sql):
        connection.pgconn.send_query_params(sql.encode(), [])
        connection.pgconn.flush()

    def state(self, approval):
        return self.stack.json("approver", "approval", "show", approval["id"])["state"]

    def pending(self, sql):
        listed = self.stack.json("approver", "approval", "list").get("approvals", [])
        return [one for one in listed if one["state"] == "APPROVAL_PENDING" and one["statement"] == sql]

    def test_who_comes_back_joins_and_it_runs_once(self):
        sql = self.HELD.format(11)
        approval = self.send_and_leave(sql)
        again = self.connect()
        finished = []

        def run():
            with again:
                finished.append(again.execute(sql).rowcount)
        worker = threading.Thread(target=run)
        worker.start()
        self.stack.await_audit(lambda _: len(self.holds_of(approval)) == 2)  # the second client waits, too
        self.assertEqual([one["id"] for one in self.pending(sql)], [approval["id"]], "nobody is asked twice")
        self.assertEqual(self.stack.behind("select count(*) from app.support_tickets where id = 11"), [["1"]])
        self.stack.cli("approver", "approval", "approve", approval["id"])
        worker.join(20)
        self.assertEqual(finished, [1])
        self.assertEqual(self.state(approval), "APPROVAL_USED")

    def holds_of(self, approval):
        """Sessions that waited for it."""
        return {record["sessionId"] for record in self.stack.audit("--kind", "hold") if record.get("approvalId") == approval["id"]}

    def test_another_statement_asks_anew(self):
        first = self.send_and_leave(self.HELD.format(12))
        second = self.send_and_leave(self.HELD.format(13))
        self.assertNotEqual(first["id"], second["id"])

    def test_another_grant_asks_anew(self):
        first = self.send_and_leave(self.HELD.format(14))
        self.token = self.stack.token()
        second = self.send_and_leave(self.HELD.format(14), others=(first["id"],))
        self.assertNotEqual(first["id"], second["id"])

    def test_nobody_comes_back(self):
        approval = self.send_and_leave(self.HELD.format(15))
        self.assertEqual(self.state(approval), "APPROVAL_PENDING")
        deadline = time.monotonic() + 60
        while self.state(approval) == "APPROVAL_PENDING":
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.2)
        self.assertEqual(self.state(approval), "APPROVAL_CANCELLED")
        late = self.stack.cli("approver", "approval", "approve", approval["id"], check=False)
        self.assertEqual(late.returncode, 1, late.stderr)
        self.assertEqual(self.stack.behind("select count(*) from app.support_tickets where id = 15"), [["1"]])


class FullSpool(rig.GateTest):
    """With the least limit there is, and no control plane to take the records."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.cli("admin", "target", "update", "demo", "--lease", "300s")
        with open(os.path.join(cls.stack.dir, "sidecar.yaml"), "a", encoding="utf-8") as config:
            config.write("spool: {max_bytes: 67108864}\n")
        pid = int(cls.stack.env["POSTERN_SIDECAR_PID"])
        os.kill(pid, signal.SIGTERM)
        rig.await_end(pid)
        cls.stack.up()

    def fill(self, connection):
        """Statements of about the greatest size there is, then ever smaller ones, until none can be recorded. Returns how many great ones ran."""
        great = 0
        for size in (1000000, 100000, 10000, 1000, 100):
            for _ in range(200):
                try:
                    connection.execute("select 1 /* " + "x" * size + " */")
                    great += size == 1000000
                except psycopg.Error as error:
                    self.assertEqual(error.sqlstate, "58030", error)
                    break
            else:
                raise AssertionError("the spool did not become full")
        return great

    def test_statements_stop_and_go_on(self):
        connection = psycopg.connect(self.stack.dsn(self.stack.token()), autocommit=True, cursor_factory=psycopg.ClientCursor)
        control_plane = int(self.stack.env["POSTERN_CONTROLPLANE_PID"])
        os.kill(control_plane, signal.SIGTERM)
        rig.await_end(control_plane)
        ran = self.fill(connection)
        self.assertGreater(ran, 10)
        for sql in ("select 1", "select count(*) from app.orders", "insert into app.support_tickets (customer_id, subject) values (1, 'unrecorded')"):
            with self.assertRaises(psycopg.Error) as raised:
                connection.execute(sql)
            self.assertEqual(raised.exception.sqlstate, "58030")
        with self.assertRaises(psycopg.Error) as raised:  # in the extended protocol, and in a transaction
            psycopg.Cursor(connection).execute("select %s::int", (1,))
        self.assertEqual(raised.exception.sqlstate, "58030")
        self.assertEqual(self.stack.behind("select count(*) from app.support_tickets where subject = 'unrecorded'"), [["0"]])
        self.stack.up()  # the control plane is back and takes what waited
        deadline = time.monotonic() + 60
        while True:
            try:
                self.assertEqual(connection.execute("select 'room again'").fetchone(), ("room again",))
                break
            except psycopg.Error as again:
                self.assertEqual(again.sqlstate, "58030")
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.1)
        connection.execute("insert into app.support_tickets (customer_id, subject) values (1, 'recorded')")
        self.assertEqual(self.stack.behind("select count(*) from app.support_tickets where subject = 'recorded'"), [["1"]])
        connection.close()
        self.stack.await_audit(lambda r: r["kind"] == "STATEMENT_INTENT", "--text", "room again")
        # The great ones are all there, and in the chain: each was recorded before it ran.
        self.assertTrue(self.stack.json("admin", "audit", "verify")["ok"])
        self.assertGreater(len(self.stack.cli("admin", "audit", "export", timeout=120).stdout), ran * 1000000)


class Everything(rig.GateTest):
    """A policy that allows everything, and the same with one reservation."""
    options = ("--policy", EVERYTHING)

    def setUp(self):
        self.connection = psycopg.connect(self.stack.dsn(self.stack.token()), autocommit=True, prepare_threshold=None)
        self.addCleanup(self.connection.close)

    def narrow(self):
        """Takes one thing away, and sees it in force."""
        with open(EVERYTHING, encoding="utf-8") as file:
            text = file.read()
        path = os.path.join(self.stack.dir, "narrower.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text + "  - {id: no-drop, effect: deny, do: [drop], objects: [app.orders]}\n")
        self.stack.cli("admin", "policy", "apply", path, "--comment", "a test")
        self.addCleanup(self.stack.cli, "admin", "policy", "apply", EVERYTHING, "--comment", "a test")
        with psycopg.connect(self.stack.dsn(self.stack.token()), autocommit=True) as witness:
            deadline = time.monotonic() + 10
            while True:
                try:
                    witness.execute("select * from nowhere")
                except psycopg.errors.InsufficientPrivilege as error:
                    return error
                except psycopg.errors.UndefinedTable:
                    self.assertLess(time.monotonic(), deadline)

    def test_the_servers_own_words(self):
        for sql, state in (("select * from nowhere", "42P01"), ("select nothing from app.orders", "42703"), ("select nowhat(1)", "42883"), ("selec 1", "42601")):
            with self.subTest(sql), self.assertRaises(psycopg.Error) as raised:
                self.connection.execute(sql)
            self.assertEqual(raised.exception.sqlstate, state)
            self.assertNotIn("postern", str(raised.exception))
        # Our grammar has other words for this one.
        with self.assertRaisesRegex(psycopg.errors.SyntaxError, 'trailing junk after numeric literal at or near "123abc"'):
            self.connection.execute("select 123abc")
        intent = self.stack.await_audit(lambda r: r["kind"] == "STATEMENT_INTENT" and r.get("sql") == "select * from nowhere")
        self.assertEqual(intent["decision"], "allow")
        self.assertEqual(intent["rule"], "everything/everything")

    def test_what_only_the_session_knows(self):
        for factory in (psycopg.ClientCursor, psycopg.Cursor):
            with self.subTest(factory.__name__), self.connection.cursor() as copying:
                cursor = factory(self.connection)
                cursor.execute("create temp table orders (n int, t text)")
                cursor.execute("begin")
                cursor.execute("alter table orders add column more int default 5")
                cursor.execute("insert into orders values (%s, %s)", (1, "one"))
                with copying.copy("copy orders (n, t) from stdin") as copy:
                    copy.write_row((2, "two"))
                with copying.copy("copy orders to stdout") as copy:
                    self.assertEqual(b"".join(bytes(block) for block in copy), b"1\tone\t5\n2\ttwo\t5\n")
                cursor.execute("commit")
                self.assertEqual(cursor.execute("select sum(n) from orders").fetchone(), (3,))
                cursor.execute("drop table orders")

    def test_copy_in_the_extended_protocol(self):
        self.connection.execute("create temp table fresh (n int)")
        pgconn = self.connection.pgconn
        done = pgconn.exec_params(b"copy fresh from stdin", [])
        self.assertEqual(done.status, psycopg.pq.ExecStatus.COPY_IN)
        pgconn.put_copy_data(b"7\n8\n")
        pgconn.put_copy_end()
        while pgconn.get_result() is not None:
            pass
        self.assertEqual(self.connection.execute("select array_agg(n) from fresh").fetchone(), ([7, 8],))

    def test_one_reservation_and_it_is_over(self):
        self.connection.execute("create temp table hidden (n int)")
        self.assertEqual(self.connection.execute("select count(*) from hidden").fetchone(), (0,))
        error = self.narrow()
        self.assertIn("unanalysable", error.diag.message_detail)
        with self.assertRaises(psycopg.errors.InsufficientPrivilege):
            self.connection.execute("select count(*) from hidden")
        self.assertEqual(self.connection.execute("select 1").fetchone(), (1,))

    def test_a_session_that_reads_otherwise_ends_when_policy_narrows(self):
        self.connection.execute("set standard_conforming_strings = off")
        self.assertEqual(self.connection.execute("select 1").fetchone(), (1,))
        self.narrow()
        with self.assertRaises(psycopg.OperationalError):
            self.connection.execute("select 1")


if __name__ == "__main__":
    unittest.main(verbosity=2)
