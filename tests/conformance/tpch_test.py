#!/usr/bin/env python3
"""Ordinary analytics under masks: TPC-H's 22 queries give the same answers as without the gate. tpch/README.md.

    POSTERN_BIN_DIR=build/dev/bin PYTHONPATH=tests/integration tests/conformance/tpch_test.py
"""
import os
import re
import subprocess
import unittest

import psycopg

import rig

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tpch")
MASKED = {"s_address": "[redacted]", "s_phone": re.compile(r"\*{4}\d{4}")}  # of those that the queries put out


def contents(name):
    with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
        return file.read()


QUERIES = dict(re.findall(r"^-- (q\d+) .*\n((?:(?!-- q).*\n)+)", contents("queries.sql"), re.M))


class Tpch(rig.GateTest):
    options = ("--policy", os.path.join(FOLDER, "policy.yaml"))

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        uri = cls.stack.env["POSTERN_UPSTREAM_URI"]
        subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", uri, "-f", os.path.join(FOLDER, "schema.sql")], stdin=subprocess.DEVNULL, check=True)
        cls.direct = psycopg.connect(uri, autocommit=True, options="-c search_path=tpch")
        cls.gate = cls.await_catalog()
        cls.addClassCleanup(cls.direct.close)
        cls.addClassCleanup(cls.gate.close)

    @classmethod
    def await_catalog(cls):
        """A name that the sidecar does not know yet is refused; a moment later it is known."""
        gate = psycopg.connect(cls.stack.dsn(cls.stack.token(), options="-c search_path=tpch"), autocommit=True)
        for _ in range(200):
            try:
                gate.execute("SELECT count(*) FROM lineitem")
                break
            except psycopg.errors.InsufficientPrivilege:
                pass
        return gate

    def answers(self, connection, sql):
        """The rows in each protocol, and the names of the columns."""
        simple = psycopg.ClientCursor(connection).execute(sql)
        columns = [column.name for column in simple.description]
        shown = {"simple": simple.fetchall()}
        for name, binary in (("extended", False), ("binary", True)):
            # prepare=True: a named statement, so that each is judged at Execute as well.
            shown[name] = connection.cursor(binary=binary).execute(sql, prepare=True).fetchall()
        return columns, shown

    def check(self, name):
        columns, want = self.answers(self.direct, QUERIES[name])
        same, got = self.answers(self.gate, QUERIES[name])
        self.assertEqual(same, columns)
        masked = [(i, MASKED[column]) for i, column in enumerate(columns) if column in MASKED]
        for protocol, rows in want.items():
            self.assertGreater(len(rows), 0, name)
            for i, mask in masked:
                for row in got[protocol]:
                    self.assertRegex(row[i], mask) if isinstance(mask, re.Pattern) else self.assertEqual(row[i], mask)
            hidden = {i for i, _ in masked}

            def plain(all_rows, hidden=hidden):
                return [tuple(value for i, value in enumerate(row) if i not in hidden) for row in all_rows]
            self.assertEqual(plain(got[protocol]), plain(rows), f"{name} in {protocol} protocol")

    def test_copy_out(self):
        sql = f"COPY ({QUERIES['q9']}) TO STDOUT"
        def copied(connection):
            with connection.cursor() as cursor, cursor.copy(sql) as copy:
                return b"".join(bytes(block) for block in copy)
        self.assertEqual(copied(self.gate), copied(self.direct))

    def test_masked_phone_stops_what_groups_by_it_and_no_more(self):
        path = os.path.join(self.stack.dir, "phone.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(contents("policy.yaml") + "        tpch.customer.c_phone: last4\n")
        self.stack.cli("admin", "policy", "apply", path, "--comment", "a test")
        try:
            refused = {}
            for name, sql in QUERIES.items():
                try:
                    self.gate.execute(sql)
                except psycopg.errors.InsufficientPrivilege as error:
                    refused[name] = error.diag.message_detail
            self.assertEqual(set(refused), {"q10", "q22"})
            for detail in refused.values():
                self.assertIn("tpch.customer.c_phone", detail)
        finally:
            self.stack.cli("admin", "policy", "apply", os.path.join(FOLDER, "policy.yaml"), "--comment", "a test")


for one in QUERIES:
    setattr(Tpch, f"test_{one}", lambda self, name=one: self.check(name))

if __name__ == "__main__":
    assert len(QUERIES) == 22
    unittest.main(verbosity=2)
