"""pgbench in its three query modes, with scripts of its own."""
import os
import shutil
import subprocess
import tempfile

from steps import DENIED, run

PGBENCH = shutil.which("pgbench") or "/usr/lib/postgresql/15/bin/pgbench"
HAS_NONE = "n/a: a benchmark"


def pgbench(mode, script, transactions=50, clients=2):
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        done = subprocess.run([PGBENCH, "-n", "-M", mode, "-f", file.name, "-c", str(clients), "-j", "1", "-t", str(transactions)],
                              env={**os.environ, "PGSSLMODE": "verify-full"}, capture_output=True, text=True, timeout=60, check=False)
    return done


def works(mode, script, transactions=50):
    done = pgbench(mode, script, transactions)
    assert done.returncode == 0 and "number of failed transactions: 0" in done.stdout, done.stderr


READ = "\\set id random(1, 50)\nselect name, email from app.customers where id = :id;\n"
WRITE = "\\set id random(1, 50)\nbegin;\ninsert into app.support_tickets (customer_id, subject) values (:id, 'b');\nselect count(*) from app.support_tickets;\nend;\n"


def batch():
    works("extended", "\\startpipeline\n" + READ + "select 1;\n\\endpipeline\n")
    works("prepared", "\\startpipeline\n" + READ + "select 1;\n\\endpipeline\n")
    works("simple", WRITE)


def held():
    works("extended", "insert into app.support_tickets (customer_id, subject) values (1, 'held') returning id \\gset\n"
                      "delete from app.support_tickets where id = :id;\n", 1)


def denied():
    done = pgbench("simple", DENIED + ";\n", 1, 1)
    assert done.returncode != 0 and "postern:" in done.stderr, done.stderr


run({"tls": lambda: works("simple", READ), "prepared": lambda: works("prepared", READ), "batch": batch, "copy": lambda: HAS_NONE,
     "cancel": lambda: HAS_NONE, "cursor": lambda: HAS_NONE, "error": lambda: HAS_NONE, "masked": lambda: works("extended", READ),
     "held": held, "denied": denied})
