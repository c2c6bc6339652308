"""psqlODBC through unixODBC and pyodbc."""
import os
import threading

import pyodbc

from steps import DENIED, LONG, MASKED, masked, run

# The driver takes its CA from libpq's variable; values in braces as ODBC quotes them.
CONNECTION = "DRIVER={%s};SERVER=%s;PORT=%s;DATABASE=%s;UID=%s;PWD={%s};SSLmode=verify-full;UseServerSidePrepare=1" % (
    "/usr/lib/x86_64-linux-gnu/odbc/psqlodbcw.so", *(os.environ[name] for name in ("PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD")))
connection = pyodbc.connect(CONNECTION, autocommit=True)


def one(sql, *values):
    return connection.execute(sql, *values).fetchone()


def fails(state, sql):
    try:
        connection.execute(sql)
    except pyodbc.Error as error:
        assert error.args[0] == state, error
        return
    raise AssertionError("no error")


def prepared():
    cursor = connection.cursor()
    for n in range(1, 11):
        row = cursor.execute("select id, email from app.customers where id = ?", n).fetchone()
        assert row[0] == n
        masked(row[1])


def batch():
    cursor = connection.cursor()
    cursor.executemany("insert into app.support_tickets (customer_id, subject) values (1, ?)", [(str(n),) for n in range(20)])
    cursor.execute("select 1; select 2")
    assert cursor.nextset() and cursor.fetchone()[0] == 2


def cancel():
    cursor = connection.cursor()
    timer = threading.Timer(0.5, cursor.cancel)
    timer.start()
    try:
        cursor.execute(LONG)
        raise AssertionError("no error")
    except pyodbc.Error as error:
        assert "canceling statement" in str(error), error
    timer.join()
    assert one("select 1")[0] == 1


def cursor():
    part = pyodbc.connect(CONNECTION + ";UseDeclareFetch=1;Fetch=5", autocommit=False)
    rows = part.execute("select id, email from app.customers order by id")
    for n in range(1, 12):
        row = rows.fetchone()
        assert row[0] == n
        masked(row[1])
    part.rollback()
    part.close()


def error():
    connection.autocommit = False
    try:
        fails("22012", "select 1 / 0")
        connection.rollback()
    finally:
        connection.autocommit = True
    assert one("select 1")[0] == 1


def held():
    ticket = one("insert into app.support_tickets (customer_id, subject) values (1, 'held') returning id")[0]
    assert connection.execute("delete from app.support_tickets where id = ?", ticket).rowcount == 1


def denied():
    fails("42501", DENIED)
    assert one("select 1")[0] == 1


run({"tls": lambda: None, "prepared": prepared, "batch": batch, "copy": lambda: "n/a: ODBC has no COPY", "cancel": cancel,
     "cursor": cursor, "error": error, "masked": lambda: masked(one(MASKED)[0]), "held": held, "denied": denied})
