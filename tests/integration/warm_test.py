#!/usr/bin/env python3
"""Connections to the server that serve one session after another: what may be used again, and that nothing is left on it."""
import os
import unittest

import psycopg

import rig

FUNCTION = "create or replace function app.leave_a_trace() returns text language sql volatile as $$ select set_config('app.trace', 'here', false) $$"


class Warm(rig.GateTest):
    options = ("--policy", os.path.join(rig.ROOT, "tests/integration/session/warm.yaml"))

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.behind(FUNCTION)
        cls.token = cls.stack.token()

    def connect(self, **more):
        return psycopg.connect(self.stack.dsn(self.token, **more), autocommit=True)

    def backends(self):
        """The gate's connections that the server has, by process: application_name."""
        return dict(self.stack.behind(
            "select pid, application_name from pg_stat_activity where usename = 'postern_gate' and backend_type = 'client backend'"
            " and application_name <> 'postern catalog'"))

    def idle(self):
        return {pid for pid, name in self.backends().items() if name == "postern"}

    def await_backends(self, condition, what):
        return rig.await_value(lambda: (lambda now: now if condition(now) else None)(self.backends()), what)

    def serve(self, *statements, **more):
        """One session; returns the process that served it, and what the last statement answered."""
        rows = None
        with self.connect(**more) as connection:
            pid = next(pid for pid, name in self.backends().items() if name != "postern")
            for statement in statements:
                cursor = connection.execute(statement)
                rows = cursor.fetchall() if cursor.description else None
        return pid, rows

    def setUp(self):
        # Whatever an earlier test left.
        self.await_backends(lambda now: all(name == "postern" for name in now.values()), "sessions end")
        for pid in self.idle():
            self.stack.behind(f"select pg_terminate_backend({pid})")
            self.gone(pid)

    def kept(self, pid):
        self.await_backends(lambda now: now.get(pid) == "postern", "the connection is kept")

    def gone(self, pid):
        self.await_backends(lambda now: pid not in now, "the connection is closed")

    def test_the_next_session_gets_it_clean(self):
        first, _ = self.serve("set statement_timeout = 1234", "set search_path = pg_temp", "set datestyle = 'German'",
                              "prepare p as select 1", "begin", "declare c cursor with hold for select 1", "commit")
        self.kept(first)
        second, rows = self.serve("select count(*) from pg_prepared_statements", "show datestyle", "show search_path")
        self.assertEqual(second, first)
        self.assertEqual(rows, [('"$user", public',)])
        third, rows = self.serve("show statement_timeout")
        self.assertEqual(third, first)
        self.assertNotEqual(rows, [("1234ms",)])
        with self.connect() as connection:
            with self.assertRaises(psycopg.Error):
                connection.execute("execute p")
            with self.assertRaises(psycopg.Error):
                connection.execute("fetch c")

    def test_the_database_shows_whose_it_is(self):
        first, _ = self.serve("select 1")
        self.kept(first)
        with self.connect(application_name="tool") as connection:
            name = self.backends()[first]
            self.assertTrue(name.startswith("tool/postern:"), name)
            self.assertEqual(connection.info.parameter_status("application_name"), name)
            # What RESET brings back is this session's name, too.
            connection.execute("reset all")
            connection.execute("select 1")
            self.assertEqual(self.backends()[first], name)

    def test_other_settings_are_another_connection(self):
        first, _ = self.serve("select 1")
        self.kept(first)
        second, _ = self.serve("select 1", options="-c datestyle=German")
        self.assertNotEqual(second, first)

    def test_code_that_nobody_looked_into_ends_it(self):
        pid, _ = self.serve("select app.leave_a_trace()")
        self.gone(pid)

    def test_an_open_transaction_ends_it(self):
        connection = self.connect()
        pid = next(iter(self.backends()))
        connection.execute("begin")
        connection.execute("insert into app.support_tickets (customer_id, subject) values (1, 'left open')")
        connection.close()
        self.gone(pid)
        self.assertEqual(self.stack.behind("select count(*) from app.support_tickets where subject = 'left open'"), [["0"]])

    def test_a_cancel_ends_it(self):
        connection = self.connect()
        pid = next(iter(self.backends()))
        connection.cancel()  # nothing runs: no harm
        with self.assertRaises(psycopg.errors.QueryCanceled):
            rig.cancel_when_running(connection, "select pg_sleep(20)")
        connection.close()
        self.gone(pid)

    def test_a_revoked_grant_ends_it(self):
        token = self.stack.token()
        with psycopg.connect(self.stack.dsn(token), autocommit=True) as connection:
            pid = next(iter(self.backends()))
            grant = self.backends()[pid].rsplit("/", 1)[1]
            self.stack.cli("admin", "token", "revoke", grant, "--reason", "a test")
            with self.assertRaises(psycopg.OperationalError):
                while True:
                    connection.execute("select 1")
        self.gone(pid)

    def test_a_connection_that_the_server_ended_is_not_used(self):
        pid, _ = self.serve("select 1")
        self.kept(pid)
        self.stack.behind(f"select pg_terminate_backend({pid})")
        self.gone(pid)
        other, _ = self.serve("select 1")
        self.assertNotEqual(other, pid)


if __name__ == "__main__":
    unittest.main()
