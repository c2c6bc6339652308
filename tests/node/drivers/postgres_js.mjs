// postgres.js: pipelines by itself, whatever is awaited together.
import fs from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import postgres from 'postgres';
import { DENIED, LONG, fails, masked, run } from './steps.mjs';

const sql = postgres({ max: 1, ssl: { ca: fs.readFileSync(process.env.PGSSLROOTCERT), rejectUnauthorized: true }, onnotice: () => {} });

await run({
  tls: async () => { await sql`select 1`; },
  prepared: async () => {
    for (let n = 1; n <= 10; n++) {
      const [row] = await sql`select id::int4 as id, email from app.customers where id = ${n}`;
      if (row.id !== n) throw new Error(`row ${row.id}`);
      masked(row.email);
    }
  },
  batch: async () => {
    const rows = await Promise.all([1, 2, 3, 4, 5].map((n) => sql`select id::int4 as id, email from app.customers where id = ${n}`));
    rows.forEach(([row], i) => { if (row.id !== i + 1) throw new Error(`row ${row.id}`); masked(row.email); });
    const both = await sql`select 1 as n; select 2 as n`.simple();
    if (both[1][0].n !== 2) throw new Error('second result');
  },
  copy: async () => {
    const into = await sql`copy app.support_tickets (customer_id, subject) from stdin`.writable();
    await pipeline(Readable.from(Array.from({ length: 1000 }, (_, n) => `1\tcopied ${n}\n`)), into);
    let text = '';
    for await (const chunk of await sql`copy (select email from app.customers where id = 7) to stdout`.readable()) text += chunk;
    masked(text);
  },
  cancel: async () => {
    const query = sql.unsafe(LONG).execute();
    setTimeout(() => query.cancel(), 500);
    await fails('57014', query);
    if ((await sql`select 1 as one`)[0].one !== 1) throw new Error('does not go on');
  },
  cursor: async () => {
    let expected = 1;
    await sql`select id::int4 as id, email from app.customers order by id`.cursor(5, (rows) => {
      if (rows[0].id !== expected) throw new Error(`row ${rows[0].id}`);
      masked(rows[0].email);
      expected += 5;
      return expected > 6 ? sql.CLOSE : undefined;
    });
  },
  error: async () => {
    await fails('22012', sql.begin(async (tx) => {
      await fails('22012', tx`select 1 / 0`);
      await fails('25P02', tx`select 1`);
      await tx`select 1`.catch(() => { throw Object.assign(new Error('rolled back'), { code: '22012' }); });
    }));
    if ((await sql`select 1 as one`)[0].one !== 1) throw new Error('does not go on');
  },
  masked: async () => masked((await sql`select email from app.customers where id = 7`)[0].email),
  held: async () => {
    const [{ id }] = await sql`insert into app.support_tickets (customer_id, subject) values (1, 'held') returning id`;
    const done = await sql`delete from app.support_tickets where id = ${id}`;
    if (done.count !== 1) throw new Error(`${done.count} rows`);
  },
  denied: async () => {
    await fails('42501', sql.unsafe(DENIED));
    await fails('42501', sql`select upper(email) from app.customers where id = ${7}`);
    if ((await sql`select 1 as one`)[0].one !== 1) throw new Error('does not go on');
  },
});
await sql.end();
