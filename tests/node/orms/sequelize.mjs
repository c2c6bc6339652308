// Sequelize: describes tables as its migrations do, then reads with includes, scopes and raw queries; prints what it saw.
import fs from 'node:fs';
import { DataTypes, Op, Sequelize, fn, col } from 'sequelize';

const env = process.env;
const sequelize = new Sequelize(env.PGDATABASE, env.PGUSER, env.PGPASSWORD, {
  host: env.PGHOST, port: Number(env.PGPORT), dialect: 'postgres', logging: false, pool: { max: 2 },
  dialectOptions: { ssl: { ca: fs.readFileSync(env.PGSSLROOTCERT), rejectUnauthorized: true } },
});
await sequelize.authenticate();
const show = (name, value) => console.log(name, JSON.stringify(value));

const look = sequelize.getQueryInterface();
show('schemas', (await look.showAllSchemas()).sort());
show('tables', (await look.showAllTables()).map((t) => t.tableName ?? t).sort());
show('describe', await look.describeTable({ tableName: 'customers', schema: 'app' }));
show('indexes', (await look.showIndex({ tableName: 'orders', schema: 'app' })).map((i) => [i.name, i.unique, i.fields.map((f) => f.attribute)]));
show('keys', (await look.getForeignKeyReferencesForTable({ tableName: 'orders', schema: 'app' })).map((k) => [k.columnName, k.referencedTableName, k.referencedColumnName]));

const options = { schema: 'app', timestamps: false };
const id = { type: DataTypes.BIGINT, primaryKey: true, autoIncrement: true };
const Customer = sequelize.define('customers', { id, name: DataTypes.TEXT, email: DataTypes.TEXT, city: DataTypes.TEXT }, options);
const Order = sequelize.define('orders', { id, customer_id: DataTypes.BIGINT, status: DataTypes.TEXT, total: DataTypes.DECIMAL }, options);
const Ticket = sequelize.define('support_tickets', { id, customer_id: DataTypes.BIGINT, subject: DataTypes.TEXT, status: DataTypes.TEXT }, options);
Customer.hasMany(Order, { foreignKey: 'customer_id', as: 'orders' });
Order.belongsTo(Customer, { foreignKey: 'customer_id', as: 'customer' });

show('find', await Order.findAll({ where: { total: { [Op.gt]: 100 } }, include: [{ model: Customer, as: 'customer', attributes: ['id', 'name'] }], order: [['id', 'ASC']], limit: 5 }));
show('page', await Customer.findAndCountAll({ where: { city: ['York', 'Bath'] }, attributes: ['id', 'name'], order: [['id', 'ASC']], offset: 10, limit: 5 }));
show('include', (await Customer.findAll({ where: { id: [1, 2, 3] }, attributes: ['id', 'city'], include: [{ model: Order, as: 'orders', attributes: ['id'] }], order: [['id', 'ASC'], ['orders', 'id', 'ASC']], limit: 2 })));
show('masked', (await Customer.findByPk(7)).email);
show('groups', await Customer.findAll({ attributes: ['city', [fn('count', col('id')), 'many']], group: ['city'], order: ['city'], raw: true }));
show('sum', await Order.sum('total', { where: { status: 'paid' } }));
show('raw', await sequelize.query('select id, status from app.orders where id = :id', { replacements: { id: 42 }, type: Sequelize.QueryTypes.SELECT }));
show('bound', await sequelize.query('select id, status from app.orders where id = $1', { bind: [42], type: Sequelize.QueryTypes.SELECT }));
show('written', (await Ticket.create({ customer_id: 7, subject: 'of an ORM', status: 'open' })).status);
await sequelize.transaction({ isolationLevel: 'REPEATABLE READ' }, async (transaction) => {
  await Ticket.create({ customer_id: 8, subject: 'undone', status: 'open' }, { transaction });
  throw new Error('undo');
}).catch((error) => show('rolled back', error.message));
show('tickets', await Ticket.count({ where: { subject: 'undone' } }));
if (env.BEHIND_GATE) {
  await Order.update({ total: 0 }, { where: { id: 1 } }).then(() => show('denied', 'no'), (error) => show('denied', [error.original.code, error.original.detail !== undefined]));
  show('goes on', await Order.count({ where: { id: 1 } }));
}
await sequelize.close();
