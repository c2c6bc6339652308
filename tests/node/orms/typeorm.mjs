// TypeORM: its own look at the schema, then reads, a write and a rolled-back transaction; prints what it saw.
import fs from 'node:fs';
import { DataSource, EntitySchema, In, MoreThan } from 'typeorm';

const env = process.env;
const id = { type: 'bigint', primary: true, generated: 'identity' };
const Customer = new EntitySchema({
  name: 'Customer', tableName: 'customers', schema: 'app',
  columns: { id, name: { type: 'text' }, email: { type: 'text' }, phone: { type: 'text', nullable: true }, city: { type: 'text' } },
  relations: { orders: { type: 'one-to-many', target: 'Order', inverseSide: 'customer' } },
});
const Order = new EntitySchema({
  name: 'Order', tableName: 'orders', schema: 'app',
  columns: { id, status: { type: 'text' }, total: { type: 'numeric' }, createdAt: { name: 'created_at', type: 'timestamptz' } },
  relations: { customer: { type: 'many-to-one', target: 'Customer', joinColumn: { name: 'customer_id' } } },
});
const Ticket = new EntitySchema({
  name: 'Ticket', tableName: 'support_tickets', schema: 'app',
  columns: { id, customerId: { name: 'customer_id', type: 'bigint' }, subject: { type: 'text' }, status: { type: 'text', default: 'open' } },
});
const source = new DataSource({
  type: 'postgres', host: env.PGHOST, port: Number(env.PGPORT), username: env.PGUSER, password: env.PGPASSWORD, database: env.PGDATABASE, schema: 'app',
  ssl: { ca: fs.readFileSync(env.PGSSLROOTCERT), rejectUnauthorized: true }, entities: [Customer, Order, Ticket], installExtensions: false,
});
await source.initialize();
const show = (name, value) => console.log(name, JSON.stringify(value));

// What `migration:generate` asks the catalog.
const runner = source.createQueryRunner();
const table = await runner.getTable('app.orders');
show('table', { columns: table.columns.map((c) => [c.name, c.type, c.isNullable, c.isPrimary]), keys: table.foreignKeys.map((k) => [k.columnNames, k.referencedTableName]),
  indices: table.indices.map((i) => [i.name, i.columnNames]), checks: table.checks.map((c) => c.expression) });
show('tables', (await runner.getTables(['app.customers', 'app.support_tickets'])).map((t) => t.name));
await runner.release();

const orders = source.getRepository('Order');
const customers = source.getRepository('Customer');
show('find', await orders.find({ where: { total: MoreThan('100') }, relations: { customer: true }, select: { id: true, total: true, customer: { id: true, name: true } }, order: { id: 'ASC' }, take: 5 }));
show('page', await customers.findAndCount({ where: { city: In(['York', 'Bath']) }, select: { id: true, name: true }, order: { id: 'ASC' }, skip: 10, take: 5 }));
show('whole', (await customers.findOne({ where: { id: '7' }, relations: { orders: true } })).orders.length);
show('masked', (await customers.findOneBy({ id: '7' })).email);
show('groups', await customers.createQueryBuilder('c').select('c.city', 'city').addSelect('count(*)', 'many').groupBy('c.city').orderBy('c.city').getRawMany());
show('joined', await orders.createQueryBuilder('o').innerJoinAndSelect('o.customer', 'c').where('c.city = :city', { city: 'Leeds' }).orderBy('o.id').limit(3).select(['o.id', 'o.status', 'c.id', 'c.name']).getMany());
show('exists', await orders.exists({ where: { status: 'paid' } }));
show('sum', await orders.sum('total', { status: 'paid' }));
const written = await source.getRepository('Ticket').save({ customerId: '7', subject: 'of an ORM' });
show('written', written.status);
await source.transaction(async (manager) => {
  await manager.insert('Ticket', { customerId: '8', subject: 'undone' });
  throw new Error('undo');
}).catch((error) => show('rolled back', error.message));
show('tickets', await source.getRepository('Ticket').countBy({ subject: 'undone' }));
if (env.BEHIND_GATE) {
  await orders.update({ id: '1' }, { total: '0' }).then(() => show('denied', 'no'), (error) => show('denied', [error.driverError.code, error.driverError.detail !== undefined]));
  show('goes on', await orders.countBy({ id: '1' }));
}
await source.destroy();
