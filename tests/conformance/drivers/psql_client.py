"""psql, as a program that is fed scripts."""
import signal
import subprocess
import time

from steps import DENIED, LONG, MASKED, masked, run


def psql(script, *options):
    return subprocess.run(["psql", "-X", "-At", "-v", "VERBOSITY=verbose", *options, "sslmode=verify-full"],
                          input=script, capture_output=True, text=True, timeout=40, check=False)


def lines(script, *options):
    done = psql(script, *options)
    assert done.returncode == 0 and "ERROR" not in done.stderr, done.stderr
    return done.stdout.splitlines()


def tls():
    assert any("SSL connection" in line for line in lines("\\conninfo\n"))


def prepared():
    rows = lines("prepare p as select email from app.customers where id = $1;\n" + "execute p(7);\n" * 10)
    assert len(rows) == 11
    masked(rows[-1])


def batch():
    assert lines("select 1\\; select 2;\n")[-1] == "2"


def copy():
    assert lines("copy app.support_tickets (customer_id, subject) from stdin;\n1\tone\n1\ttwo\n\\.\n") == ["COPY 2"]
    masked(lines(f"copy ({MASKED}) to stdout;\n")[0])
    masked(lines(f"\\copy ({MASKED}) to stdout csv\n")[0])


def cancel():
    client = subprocess.Popen(["psql", "-X", "-At", "sslmode=verify-full", "-c", LONG, "-c", "select 'goes on'"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(1)
    client.send_signal(signal.SIGINT)
    out, err = client.communicate(timeout=20)
    assert "canceling statement" in err, err
    assert "goes on" in out or client.returncode != 0


def cursor():
    masked(lines("begin;\ndeclare part cursor for select email from app.customers;\nfetch 5 from part;\ncommit;\n")[2])
    rows = lines("\\set FETCH_COUNT 5\nselect email from app.customers order by id limit 12;\n")
    assert len(rows) == 12
    masked(rows[-1])


def error():
    done = psql("begin;\nselect 1 / 0;\nselect 1;\nrollback;\nselect 'goes on';\n")
    assert "22012" in done.stderr and "25P02" in done.stderr and "goes on" in done.stdout, done.stderr


def held():
    ticket = lines("insert into app.support_tickets (customer_id, subject) values (1, 'held') returning id;\n")[0]
    assert lines(f"delete from app.support_tickets where id = {ticket};\n") == ["DELETE 1"]


def denied():
    done = psql(DENIED + ";\nselect 'goes on';\n")
    assert "42501" in done.stderr and "goes on" in done.stdout, done.stderr


run({"tls": tls, "prepared": prepared, "batch": batch, "copy": copy, "cancel": cancel, "cursor": cursor, "error": error,
     "masked": lambda: masked(lines(MASKED + ";\n")[0]), "held": held, "denied": denied})
