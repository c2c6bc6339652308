"""asyncpg: extended protocol and binary formats throughout, its own statement cache."""
import asyncio
import io
import os
import ssl

import asyncpg

from steps import DENIED, LONG, MASKED, masked, run

loop = asyncio.new_event_loop()
context = ssl.create_default_context(cafile=os.environ["PGSSLROOTCERT"])
connection = loop.run_until_complete(asyncpg.connect(ssl=context))


def step(work):
    return lambda: loop.run_until_complete(work())


async def fails(state, work):
    try:
        await work
    except asyncpg.PostgresError as error:
        assert error.sqlstate == state, error
        return
    raise AssertionError("no error")


async def tls():
    assert connection._transport.get_extra_info("ssl_object") is not None


async def prepared():
    statement = await connection.prepare("select id, email from app.customers where id = $1")
    for n in range(1, 11):
        row = await statement.fetchrow(n)
        assert row["id"] == n
        masked(row["email"])


async def batch():
    await connection.executemany("insert into app.support_tickets (customer_id, subject) values ($1, $2)", [(1, str(n)) for n in range(500)])
    await connection.execute("select 1; select 2")


async def copy():
    done = await connection.copy_records_to_table("support_tickets", schema_name="app", columns=["customer_id", "subject"],
                                                  records=[(1, f"copied {n}") for n in range(1000)])
    assert done == "COPY 1000", done
    out = io.BytesIO()
    await connection.copy_from_query(MASKED, output=out)
    assert out.getvalue().startswith(b"***@"), out.getvalue()


async def cancel():
    task = asyncio.ensure_future(connection.execute(LONG))
    await asyncio.sleep(0.5)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    assert await connection.fetchval("select 1") == 1


async def cursor():
    async with connection.transaction():
        part = await connection.cursor("select id, email from app.customers order by id")
        for expected in (1, 6):
            rows = await part.fetch(5)
            assert rows[0]["id"] == expected
            masked(rows[0]["email"])


async def error():
    transaction = connection.transaction()
    await transaction.start()
    await fails("22012", connection.fetch("select 1 / 0"))
    await fails("25P02", connection.fetch("select 1"))
    await transaction.rollback()
    assert await connection.fetchval("select 1") == 1


async def show_masked():
    masked(await connection.fetchval(MASKED))


async def held():
    ticket = await connection.fetchval("insert into app.support_tickets (customer_id, subject) values (1, 'held') returning id")
    assert await connection.execute("delete from app.support_tickets where id = $1", ticket) == "DELETE 1"


async def denied():
    await fails("42501", connection.execute(DENIED))
    await fails("42501", connection.fetch("select upper(email) from app.customers where id = $1", 7))
    assert await connection.fetchval("select 1") == 1


run({name: step(work) for name, work in {"tls": tls, "prepared": prepared, "batch": batch, "copy": copy, "cancel": cancel, "cursor": cursor,
                                         "error": error, "masked": show_masked, "held": held, "denied": denied}.items()})
