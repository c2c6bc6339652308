// node-postgres (pg).
import fs from 'node:fs';
import pg from 'pg';
import { DENIED, LONG, MASKED, fails, masked, run } from './steps.mjs';

const options = { ssl: { ca: fs.readFileSync(process.env.PGSSLROOTCERT), rejectUnauthorized: true } };
const client = new pg.Client(options);
await client.connect();
const one = async (...query) => Object.values((await client.query(...query)).rows[0])[0];

await run({
  tls: () => { if (!client.connection.stream.encrypted) throw new Error('not encrypted'); },
  prepared: async () => {
    for (let n = 1; n <= 10; n++) {
      const { rows } = await client.query({ name: 'by-id', text: 'select id::int4 as id, email from app.customers where id = $1', values: [n] });
      if (rows[0].id !== n) throw new Error(`row ${rows[0].id}`);
      masked(rows[0].email);
    }
  },
  batch: async () => {
    const results = await client.query('select 1 as n; select 2 as n');
    if (results[1].rows[0].n !== 2) throw new Error('second result');
  },
  copy: () => 'n/a: pg alone has no COPY',
  // pg's own way: a CancelRequest on a connection of its own, in clear, with the key that the gate gave out.
  cancel: async () => {
    const query = client.query(LONG);
    const { connection } = new pg.Client({ ssl: false });
    connection.on('connect', () => connection.cancel(client.processID, client.secretKey));
    setTimeout(() => connection.connect(Number(process.env.PGPORT), process.env.PGHOST), 500);
    await fails('57014', query);
    if ((await one('select 1')) !== 1) throw new Error('does not go on');
  },
  cursor: async () => {
    await client.query('begin');
    await client.query('declare part cursor for select id::int4 as id, email from app.customers order by id');
    for (const expected of [1, 6]) {
      const { rows } = await client.query('fetch 5 from part');
      if (rows[0].id !== expected) throw new Error(`row ${rows[0].id}`);
      masked(rows[0].email);
    }
    await client.query('commit');
  },
  error: async () => {
    await client.query('begin');
    await fails('22012', client.query('select 1 / 0'));
    await fails('25P02', client.query('select 1'));
    await client.query('rollback');
    if ((await one('select 1')) !== 1) throw new Error('does not go on');
  },
  masked: async () => {
    masked(await one(MASKED));
    masked(await one('select email from app.customers where id = $1', [7]));
  },
  held: async () => {
    const id = await one("insert into app.support_tickets (customer_id, subject) values (1, 'held') returning id");
    const { rowCount } = await client.query('delete from app.support_tickets where id = $1', [id]);
    if (rowCount !== 1) throw new Error(`${rowCount} rows`);
  },
  denied: async () => {
    await fails('42501', client.query(DENIED));
    await fails('42501', client.query('select upper(email) from app.customers where id = $1', [7]));
    if ((await one('select 1')) !== 1) throw new Error('does not go on');
  },
});
await client.end();
