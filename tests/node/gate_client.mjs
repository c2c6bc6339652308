// node-postgres through the gate, configured by the environment alone (postern run). Prints what it saw as JSON.
import pg from 'pg';

const client = new pg.Client();
await client.connect();
const result = {};
result.simple = (await client.query('select id, email, phone from app.customers where id = 7')).rows[0];
result.extended = (await client.query('select id, email, phone from app.customers where id = $1', [7])).rows[0];
for (let i = 0; i < 5; i++) {
  result.named = (await client.query({ name: 'by-id', text: 'select email from app.customers where id = $1', values: [7] })).rows[0];
}
try {
  await client.query('grant all on app.orders to public');
} catch (error) {
  result.denied = { code: error.code, message: error.message, detail: error.detail };
}
result.after = (await client.query('select 1 as one')).rows[0].one;
await client.end();
console.log(JSON.stringify(result));
