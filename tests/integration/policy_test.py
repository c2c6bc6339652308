#!/usr/bin/env python3
"""Policy's tools against the real stack.

What it proves: a policy that `suggest` writes from a recorded session passes lint and its own tests, allows exactly that
session again once it is loaded, and denies what is next to it; `who-can` answers from the policy in force; a grant's
tests of masked columns end at `probes_max`, whatever the protocol and however often it connects.
"""
import json
import os
import unittest

import psycopg

import rig

PROBING = """apiVersion: postern/v1
kind: Policy
metadata: {name: probing}
subjects: [{group: agents}]
targets: {databases: [postern_demo]}
rules:
  - id: read
    effect: allow
    do: [select]
    objects: [app.*]
    columns: {mask: {app.customers.email: hash}, lookup: [app.customers.email], probes_max: 4}
"""


class PolicyTest(rig.GateTest):
    def file(self, name, text):
        path = os.path.join(self.stack.dir, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    def apply(self, path):
        self.stack.cli("admin", "policy", "apply", path)
        revision = max(int(r["revision"]) for r in self.stack.json("admin", "policy", "history")["revisions"])
        return revision

    def connect(self, token):
        return psycopg.connect(self.stack.dsn(token), autocommit=True)


class Suggest(PolicyTest):
    # Each runs under the quickstart's policy; the second of a pair is its neighbour, which must not run.
    PAIRS = [
        ("select id, name, email from app.customers where id = %s", (7,), "select id, phone from app.customers where id = 7"),
        ("select count(*) from app.products", (), "select name from app.products"),
        ("select o.id, o.total from app.orders o join app.order_items i on i.order_id = o.id where o.customer_id = %s", (7,),
         "select o.status from app.orders o where o.customer_id = 7"),
        ("insert into app.support_tickets (customer_id, subject, body) values (%s, %s, %s)", (7, "Late", "Where?"),
         "delete from app.support_tickets where id = 1"),
        ("update app.support_tickets set status = 'closed' where id = %s", (1,),
         "update app.support_tickets set subject = 'x' where id = 1"),
    ]

    def run_all(self, token):
        with self.connect(token) as connection:
            for sql, values, _ in self.PAIRS:
                connection.execute(sql, values)
            connection.execute("prepare p as select id from app.orders where id = $1")
            connection.execute("execute p (1)")

    def test_what_ran_runs_again_and_nothing_beside_it(self):
        token = self.stack.token()
        self.run_all(token)
        done = self.stack.await_audit(lambda r: r["kind"] == "STATEMENT_OUTCOME" and r["execution"] == str(len(self.PAIRS) + 2))
        session = done["sessionId"]
        suggested = self.stack.cli("admin", "policy", "suggest", "--session", session)
        yaml = suggested.stdout
        self.assertNotIn("Where?", yaml, "values of strings are nobody's business")
        path = self.file("least.yaml", yaml)
        lint = self.stack.cli("admin", "policy", "lint", path)
        self.assertIn("no errors", lint.stdout)
        self.assertNotIn("no such", lint.stdout)
        self.assertIn("0 failed", self.stack.cli("admin", "policy", "test", path).stdout)

        # Offline, from an export, the catalog and the policies in files, it is the same.
        export = self.file("audit.jsonl", self.stack.cli("admin", "audit", "export").stdout)
        catalog = self.file("catalog.json", self.stack.cli("admin", "target", "catalog", "demo").stdout)
        sample = os.path.join(rig.ROOT, "deploy/policies/sample.yaml")
        offline = self.stack.cli("nobody", "policy", "suggest", "--file", export, "--session", session, "--policy", sample,
                                 "--catalog", catalog).stdout
        rules = lambda text: [line for line in text.splitlines() if line.startswith("    ") or line.startswith("  - id")]
        self.assertEqual(rules(offline), rules(yaml))
        self.assertIn("0 failed", self.stack.cli("nobody", "policy", "test", path, "--catalog", catalog).stdout)
        self.assertIn("no errors", self.stack.cli("nobody", "policy", "lint", path, "--catalog", catalog).stdout)

        # "who-can" sees both policies; the live grant is listed.
        ways = self.stack.json("admin", "policy", "who-can", "update", "app.support_tickets.status")
        self.assertIn("support-desk", [way["rule"]["policy"] for way in ways["ways"]])
        self.assertEqual([grant["decision"] for grant in ways["grants"]], ["allow"])
        self.assertEqual(ways["grants"][0]["agent"], "support-bot")

        self.apply(path)
        token = self.stack.token()
        self.run_all(token)
        with self.connect(token) as connection:
            row = connection.execute("select email from app.customers where id = 7").fetchone()
            self.assertTrue(row[0].startswith("***@"), "the mask is kept")
            for _, _, neighbour in self.PAIRS:
                with self.subTest(neighbour), self.assertRaises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(neighbour)
        ways = self.stack.json("admin", "policy", "who-can", "update", "app.support_tickets.subject")
        self.assertEqual(ways["ways"], [])
        self.assertEqual(ways["grants"], [])


class Probes(PolicyTest):
    def spent(self, connection, sql, values=()):
        with self.assertRaises(psycopg.Error) as caught:
            connection.execute(sql, values)
        self.assertEqual(caught.exception.diag.sqlstate, "53400")
        self.assertIn("postern:", caught.exception.diag.message_primary)
        self.assertIn("probes_max", caught.exception.diag.message_detail)

    def test_the_budget_is_the_grants(self):
        self.apply(self.file("probing.yaml", PROBING))
        token = self.stack.token()
        one = "select id from app.customers where email = 'a@example.com'"
        with self.connect(token) as connection:
            connection.execute(one, prepare=False)  # 1, simple
            connection.execute("select id from app.customers where email = %s", ("b",))  # 2, extended
            self.spent(connection, "select id from app.customers where email = any(%s)", (["a", "b", "c"],))
            connection.execute("select id from app.customers where email = any(%s)", (["a"],))  # 3
            # The session goes on, also a transaction that met the refusal.
            with self.assertRaises(psycopg.Error), connection.transaction():
                connection.execute("select id from app.customers where email in ('a', 'b')", prepare=False)
            self.assertEqual(connection.execute("select count(*) from app.products").rowcount, 1)
        with self.connect(token) as connection:
            connection.execute(one, binary=True)  # 4
            for _ in range(3):
                self.spent(connection, one)
            self.spent(connection, "select id from app.customers where email = %s", ("b",))
            with connection.pipeline() as pipeline:
                connection.execute("select 1")
                pipeline.sync()
            self.assertGreater(len(connection.execute("select email from app.customers").fetchall()), 1)
        self.stack.await_audit(lambda r: r.get("reasonCode") == "PROBES_SPENT", "--decision", "deny")
        # A new grant begins anew.
        with self.connect(self.stack.token()) as connection:
            connection.execute(one)


HARDENED = """apiVersion: postern/v1
kind: Policy
metadata: {name: narrow}
subjects: [{group: agents}]
targets: {databases: [postern_demo]}
session: {role: app_agent}
rules:
  - id: read
    effect: allow
    do: [select]
    objects: [app.customers, app.orders, app.products]
    columns: {mask: {app.customers.email: hash, app.customers.phone: last4, app.customers.national_id: redact}}
  - {id: ticket, effect: allow, do: [insert], objects: [app.support_tickets], columns: {only: [customer_id, subject, body]}}
  - {id: move, effect: allow, do: [update], objects: [app.support_tickets], columns: {only: [status]}, require: {where: true}}
  - {id: gone, effect: hold, do: [delete], objects: [app.order_items], hold: {by: [approvers]}}
"""


class Harden(PolicyTest):
    """Wall four: with the SQL of `target harden` the gate works the same, and Postgres refuses by itself."""
    WORKS = ["select id, name from app.customers where id = 7", "select count(*) from app.orders", "select * from app.products",
             "select o.total, c.name from app.orders o join app.customers c on c.id = o.customer_id where o.id = 1",
             "insert into app.support_tickets (customer_id, subject, body) values (7, 'a', 'b')",
             "update app.support_tickets set status = 'closed' where id = 1"]
    MASKED = ["email", "phone", "national_id"]

    def as_role(self, sql):
        """Past the gate, with the rights that a session has."""
        with psycopg.connect(self.stack.env["POSTERN_UPSTREAM_URI"]) as connection:
            connection.execute("set session authorization app_agent")
            rows = connection.execute(sql)
            found = rows.fetchall() if rows.description else []
            connection.rollback()
            return found

    def test_postgres_itself_refuses_and_the_gate_works_the_same(self):
        self.stack.behind("create view app.contacts as select id, email as mail, name from app.customers")
        self.stack.behind("create role app_agent nologin; grant app_agent to postern_gate; grant pg_read_all_data, pg_write_all_data to app_agent")
        self.apply(self.file("narrow.yaml", HARDENED))
        token = self.stack.token()
        with self.connect(token) as connection:
            before = [connection.execute(sql).rowcount for sql in self.WORKS]
            self.assertNotIn("@", connection.execute("select email from app.customers where id = 7").fetchone()[0])
            # What the catalog is made of, the sidecar has published by now; the view is in it.
            sql = rig.await_value(lambda: (lambda text: text if "contacts" in text else None)(
                self.stack.cli("admin", "target", "harden", "demo").stdout), "the catalog with the view")
        self.stack.behind(sql)
        self.stack.behind(sql)  # again, as after each change
        for column in self.MASKED:
            with self.subTest(column), self.assertRaises(psycopg.errors.InsufficientPrivilege):
                self.as_role(f"select {column} from app.customers")
        for refused in ("select c from app.customers c", "select mail from app.contacts", "select * from app.employees",
                        "select id from app.customers where email like 'a%'", "update app.orders set total = 0",
                        "update app.support_tickets set subject = 'x'", "select count(*) from app.payments",
                        "delete from app.customers"):
            with self.subTest(refused), self.assertRaises(psycopg.errors.InsufficientPrivilege):
                self.as_role(refused)
        self.assertEqual(len(self.as_role("select id, name from app.customers where id = 7")), 1)
        # The gate, on new and old sessions.
        with self.connect(token) as connection:
            self.assertEqual([connection.execute(sql).rowcount for sql in self.WORKS], before)
            with self.assertRaises(psycopg.errors.InsufficientPrivilege) as caught:
                connection.execute("select email from app.customers where id = 7")
            self.assertNotIn("postern: SELECT is not allowed", str(caught.exception), "the refusal is the server's")
            self.assertEqual(connection.execute("select name from app.customers where id = 7").rowcount, 1)
            with self.assertRaises(psycopg.errors.InsufficientPrivilege):
                connection.execute("reset role")
        # Whoever would still see a masked column by another way keeps the SQL from taking effect.
        self.stack.behind("grant select on app.customers to public")
        with self.assertRaises(AssertionError) as caught:
            self.stack.behind(sql)
        self.assertIn("can still read email of", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
