"""The canaries in a real stack: deploy/quickstart with this folder's policy and schema."""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../integration")]

import model  # noqa: E402
import needles  # noqa: E402
import rig  # noqa: E402
import wire  # noqa: E402

POLICY = os.path.join(HERE, "policy.yaml")
DATABASE = "postern_demo"


class CanaryStack(rig.Stack):
    """A stack in which each masked column holds canaries."""

    def __init__(self):
        super().__init__("--policy", POLICY)
        self.load_schema()
        self.relations, values = model.read(self.behind, needles.Needles())
        self.needles = needles.Needles(values)
        self.await_catalog()

    def load_schema(self):
        subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", self.env["POSTERN_UPSTREAM_URI"], "-f", os.path.join(HERE, "schema.sql")],
                       env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=60)

    def await_catalog(self):
        """A name that the sidecar does not know yet is refused; a moment later it is known."""
        client = self.through_gate(self.token())
        for _ in range(200):
            client.send(wire.query("SELECT count(*) FROM crm.plain_people"))
            if any(kind == b"D" for kind, _ in client.until_ready()):
                client.close()
                return
        raise AssertionError("the sidecar does not see the schema")

    def through_gate(self, token):
        return wire.Client(("127.0.0.1", self.port), "support-bot", token, DATABASE)

    def direct(self):
        """Straight to Postgres, as its superuser in the agent's role."""
        password, port = re.search(r"postgres:([^@]+)@127\.0\.0\.1:(\d+)/", self.env["POSTERN_UPSTREAM_URI"]).groups()
        with open(os.path.join(self.dir, "state"), encoding="utf-8") as text:
            home = re.search(r"^PG_HOME=(.*)$", text.read(), re.M).group(1).strip("'")
        client = wire.Client(f"{home}/.s.PGSQL.{port}", "postgres", password, DATABASE, statement_timeout="2000")
        client.send(wire.query("SET ROLE canary_agent"))
        client.until_ready()
        return client

    def apply(self, text):
        path = os.path.join(self.dir, "canary.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        self.cli("admin", "policy", "apply", path, "--comment", "a test")

    def apply_placeholders(self):
        """Where a statement would be refused for what it does with masked columns, NULL stands in their place."""
        with open(POLICY, encoding="utf-8") as file:
            self.apply(file.read().replace("    columns:\n", "    columns:\n      in_expression: placeholder\n"))

    def count_canaries(self):
        return self.behind("SELECT (SELECT count(*) FROM crm.people WHERE email LIKE 'kq7vZxWmTn%'), (SELECT count(*) FROM crm.visits WHERE remark LIKE 'kq7vZxWmTn%'), "
                           "(SELECT count(*) FROM crm.events WHERE payload::text LIKE '%kq7vZxWmTn%'), (SELECT count(*) FROM crm.accounts WHERE iban LIKE '%kq7vZxWmTn%')")[0]
