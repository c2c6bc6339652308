#!/usr/bin/env python3
"""Ordinary tools under an ordinary policy: what psql's \\d commands, JDBC's metadata and three ORMs see through the gate is
word for word what they see without it, but for the masked value.

    POSTERN_BIN_DIR=build/dev/bin PYTHONPATH=tests/integration tests/conformance/benign_test.py
"""
import os
import re
import subprocess
import unittest
import urllib.parse

import rig

HERE = os.path.dirname(os.path.abspath(__file__))
BENIGN = os.path.join(HERE, "benign")
ORMS = os.path.join(rig.ROOT, "tests/node/orms")  # beside the packages that they import
CLIENTS = {
    "JDBC metadata": ["java", "-cp", "/usr/share/java/postgresql.jar", "-XX:TieredStopAtLevel=1", os.path.join(BENIGN, "Metadata.java")],
    "SQLAlchemy": ["/usr/bin/python3", os.path.join(BENIGN, "sqlalchemy_client.py")],
    "TypeORM": ["node", os.path.join(ORMS, "typeorm.mjs")],
    "Sequelize": ["node", os.path.join(ORMS, "sequelize.mjs")],
}
# psql's \d family. Not here: \conninfo and \dconfig, which tell about the session itself.
BACKSLASH = (
    r"\d", r"\d+", r"\dS", r"\d app.*", r"\d+ app.orders", r"\d+ app.order_totals", r"\d pg_class", r"\dt app.*", r"\dt+ app.*", r"\dv app.*", r"\dv+ app.*", r"\dm", r"\di app.*",
    r"\di+ app.*", r"\ds app.*", r"\dE", r"\df", r"\df app.*", r"\dfS pg_sleep", r"\da", r"\daS sum", r"\dn", r"\dn+", r"\dT", r"\dTS+ int4", r"\du", r"\du+", r"\dg", r"\dp app.*", r"\z app.*",
    r"\ddp", r"\dx", r"\dx+", r"\dy", r"\dF", r"\dF+", r"\dFd", r"\dFp", r"\dFt", r"\dO", r'\dOS "C"', r"\dC", r"\dC+", r"\dc", r"\dD", r"\dD+", r"\do", r"\doS ||", r"\dL", r"\dL+", r"\db",
    r"\db+", r"\drds", r"\dRp", r"\des", r"\dew", r"\det", r"\dX", r"\dA", r"\dA+", r"\dAc", r"\dAf btree", r"\dAo btree", r"\dAp btree", r"\dP", r"\dd", r"\l", r"\l+", r"\dl",
    r"\sv app.order_totals", r"\sv+ app.order_totals", r"\encoding", r"\gdesc")
# They read what may hold passwords of other servers, which needs the named permission `statistics`.
REFUSED = (r"\dRs", r"\deu")


class Benign(rig.GateTest):
    maxDiff = 6000
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        uri = urllib.parse.urlsplit(cls.stack.env["POSTERN_UPSTREAM_URI"])
        common = {**cls.stack.env, "PGHOST": "127.0.0.1", "PGDATABASE": "postern_demo", "PGSSLMODE": "verify-full", "PGTZ": "UTC"}
        cls.direct = {**common, "PGPORT": str(uri.port), "PGUSER": uri.username, "PGPASSWORD": urllib.parse.unquote(uri.password),
                      "PGSSLROOTCERT": os.path.join(cls.stack.dir, "database-ca.pem")}
        cls.gate = {**common, "PGPORT": str(cls.stack.port), "PGUSER": "support-bot", "PGPASSWORD": cls.stack.token(),
                    "PGSSLROOTCERT": os.path.join(cls.stack.dir, "sidecar/tls/ca.pem"), "BEHIND_GATE": "yes"}

    def run_with(self, env, command, **more):
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False, **more)

    def test_backslash_d(self):
        script = "".join(f"\\echo === {i}\n{command}\n" for i, command in enumerate(BACKSLASH + REFUSED))
        shown = {}
        for name, env in (("direct", self.direct), ("gate", self.gate)):
            done = self.run_with(env, ["psql", "-X", "-q"], input=script)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stderr.count("ERROR"), len(REFUSED) if name == "gate" else 0, done.stderr)
            shown[name] = re.findall(r"^=== \d+\n((?:(?!=== ).*\n)*)", done.stdout, re.M)
            self.assertEqual(len(shown[name]), len(BACKSLASH + REFUSED))
        for i, command in enumerate(BACKSLASH):
            with self.subTest(command):
                self.assertEqual(shown["gate"][i], shown["direct"][i])

    def check(self, name):
        direct, gate = (self.run_with(env, CLIENTS[name]) for env in (self.direct, self.gate))
        self.assertEqual(direct.returncode, 0, direct.stderr[-3000:])
        self.assertEqual(gate.returncode, 0, gate.stderr[-3000:])
        extra = [line for line in gate.stdout.splitlines() if line.startswith(("denied", "goes on"))]
        want, got = ([line for line in done.stdout.splitlines() if line not in extra] for done in (direct, gate))
        masked = [line for line in want if line.startswith("masked ")]
        self.assertGreater(len(want), 10)
        self.assertEqual([line for line in got if not line.startswith("masked ")], [line for line in want if line not in masked])
        for line in (line for line in got if line.startswith("masked ")):
            self.assertRegex(line, r"^masked \"?\*\*\*@example\.com\"?$")
        if name in ("TypeORM", "Sequelize"):
            self.assertEqual(len(masked), 1)
            self.assertEqual(extra, ['denied ["42501",true]', "goes on 1"])


for one in CLIENTS:
    setattr(Benign, "test_" + one.lower().replace(" ", "_"), lambda self, name=one: self.check(name))

if __name__ == "__main__":
    unittest.main(verbosity=2)
