"""psycopg 3; with the word `pipeline`, everything that can goes through libpq's pipeline mode."""
import contextlib
import os
import sys
import threading

import psycopg

from steps import DENIED, LONG, MASKED, masked, run

PIPELINE = "pipeline" in sys.argv
connection = psycopg.connect(f"sslmode=verify-full sslrootcert={os.environ['PGSSLROOTCERT']}", autocommit=True)


def mode():
    return connection.pipeline() if PIPELINE else contextlib.nullcontext()


def state_of(work):
    try:
        with mode():
            work()
    except psycopg.Error as error:
        return error.sqlstate
    return "no error"


def tls():
    assert connection.pgconn.ssl_in_use


def prepared():
    with mode():
        cursors = [connection.execute("select id, email from app.customers where id = %s", (n,), prepare=True) for n in range(1, 11)]
        for n, cursor in enumerate(cursors, 1):
            row = cursor.fetchone()
            assert row[0] == n
            masked(row[1])


def batch():
    with connection.pipeline():
        with connection.cursor() as cursor:
            cursor.executemany("insert into app.support_tickets (customer_id, subject) values (1, %s) returning id", [("a",), ("b",), ("c",)], returning=True)
            ids = [cursor.fetchone()[0]]
            while cursor.nextset():
                ids.append(cursor.fetchone()[0])
        two = connection.execute("select 2")
        assert len(set(ids)) == 3 and two.fetchone() == (2,)
    simple = connection.execute("select 1; select 2")
    assert simple.nextset() and simple.fetchone() == (2,)


def copy():
    with connection.cursor() as cursor:
        with cursor.copy("copy app.support_tickets (customer_id, subject) from stdin") as out:
            for n in range(1000):
                out.write_row((1, f"copied {n}"))
        assert cursor.rowcount == 1000
        for sql in ("copy (select id, email from app.customers where id = 7) to stdout",
                    "copy (select id, email from app.customers where id = 7) to stdout (format binary)"):
            with cursor.copy(sql) as out:
                data = b"".join(bytes(block) for block in out)
            assert b"***@" in data, data


def cancel():
    timer = threading.Timer(0.5, connection.cancel)
    timer.start()
    assert state_of(lambda: connection.execute(LONG).fetchone()) == "57014"
    timer.join()
    assert connection.execute("select 1").fetchone() == (1,)


def cursor():
    with connection.transaction(), connection.cursor(name="part") as part:
        part.execute("select id, email from app.customers order by id")
        for expected in (1, 6):
            rows = part.fetchmany(5)
            assert rows[0][0] == expected
            masked(rows[0][1])


def error():
    connection.execute("begin")
    assert state_of(lambda: connection.execute("select 1 / 0")) == "22012"
    assert state_of(lambda: connection.execute("select 1")) == "25P02"
    connection.execute("rollback")
    assert connection.execute("select 1").fetchone() == (1,)


def show_masked():
    for binary in (False, True):
        with mode():
            masked(connection.cursor(binary=binary).execute(MASKED).fetchone()[0])


def held():
    with mode():
        ticket = connection.execute("insert into app.support_tickets (customer_id, subject) values (1, 'held') returning id").fetchone()[0]
        assert connection.execute("delete from app.support_tickets where id = %s", (ticket,)).rowcount in (1, -1)
    with mode():
        gone = connection.execute("select count(*) from app.support_tickets where id = %s", (ticket,)).fetchone()
    assert gone == (0,), gone


def denied():
    assert state_of(lambda: connection.execute(DENIED)) == "42501"
    if PIPELINE:
        def skipped():
            connection.execute("select 1")
            connection.execute(DENIED)
            connection.execute("select 2")
        assert state_of(skipped) == "42501"
    assert connection.execute("select 1").fetchone() == (1,)


run({"tls": tls, "prepared": prepared, "batch": batch, "copy": copy, "cancel": cancel, "cursor": cursor, "error": error,
     "masked": show_masked, "held": held, "denied": denied})
