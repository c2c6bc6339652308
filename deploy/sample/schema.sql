-- The quickstart's database: a small shop, with the columns that one would not show to a machine.
\set ON_ERROR_STOP on
BEGIN;
CREATE SCHEMA app;
SET LOCAL search_path = app;

CREATE TABLE customers (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL,
  email text NOT NULL UNIQUE,
  phone text,
  national_id text,
  date_of_birth date,
  city text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE products (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL,
  price numeric(10,2) NOT NULL CHECK (price >= 0),
  stock integer NOT NULL DEFAULT 0
);
CREATE TABLE orders (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer_id bigint NOT NULL REFERENCES customers (id),
  status text NOT NULL DEFAULT 'new' CHECK (status IN ('new', 'paid', 'shipped', 'refunded', 'cancelled')),
  total numeric(12,2) NOT NULL DEFAULT 0,
  refunded_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX orders_customer_id ON orders (customer_id);
CREATE TABLE order_items (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  order_id bigint NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
  product_id bigint NOT NULL REFERENCES products (id),
  quantity integer NOT NULL CHECK (quantity > 0),
  unit_price numeric(10,2) NOT NULL
);
CREATE INDEX order_items_order_id ON order_items (order_id);
CREATE TABLE payments (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  order_id bigint NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
  method text NOT NULL,
  card_number text,
  amount numeric(12,2) NOT NULL,
  paid_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE employees (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL,
  email text NOT NULL,
  title text NOT NULL,
  salary numeric(10,2) NOT NULL,
  manager_id bigint REFERENCES employees (id),
  hired_at date NOT NULL
);
CREATE TABLE support_tickets (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer_id bigint NOT NULL REFERENCES customers (id),
  subject text NOT NULL,
  body text NOT NULL DEFAULT '',
  status text NOT NULL DEFAULT 'open',
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE VIEW order_totals AS
  SELECT o.id, o.customer_id, c.city, o.status, sum(i.quantity * i.unit_price) AS total
  FROM orders o JOIN customers c ON c.id = o.customer_id JOIN order_items i ON i.order_id = o.id
  GROUP BY o.id, c.city;

-- The same rows every time: nothing here is random.
INSERT INTO customers (name, email, phone, national_id, date_of_birth, city, created_at)
SELECT first || ' ' || last, lower(first) || '.' || lower(last) || n || '@example.com',
       '+44 20 7946 ' || lpad((n * 37 % 10000)::text, 4, '0'), 'QQ' || lpad((n * 7919 % 1000000)::text, 6, '0') || 'C',
       date '1950-01-01' + (n * 97 % 18000), city, timestamptz '2024-01-01 09:00+00' + n * interval '3 hours'
FROM generate_series(1, 500) n,
     LATERAL (SELECT (ARRAY['Ada','Alan','Barbara','Claude','Edsger','Frances','Grace','Jean','Ken','Lynn'])[1 + n % 10] AS first,
                     (ARRAY['Byron','Turing','Liskov','Shannon','Dijkstra','Allen','Hopper','Bartik','Thompson','Conway'])[1 + n / 10 % 10] AS last,
                     (ARRAY['London','Leeds','Bristol','York','Bath'])[1 + n % 5] AS city) names;
INSERT INTO products (name, price, stock)
SELECT (ARRAY['Lamp','Desk','Chair','Shelf','Clock','Mirror','Rug','Vase'])[1 + n % 8] || ' ' || n, (n * 13 % 400) + 4.99, n * 11 % 90
FROM generate_series(1, 80) n;
INSERT INTO orders (customer_id, status, created_at)
SELECT 1 + n * 31 % 500, (ARRAY['new','paid','shipped','shipped','cancelled'])[1 + n % 5],
       timestamptz '2025-01-01 08:00+00' + n * interval '2 hours'
FROM generate_series(1, 3000) n;
INSERT INTO order_items (order_id, product_id, quantity, unit_price)
SELECT o, p.id, 1 + o % 3, p.price
FROM generate_series(1, 3000) o CROSS JOIN generate_series(0, 1) k JOIN products p ON p.id = 1 + (o * 17 + k * 29) % 80;
UPDATE orders SET total = t.total FROM (SELECT order_id, sum(quantity * unit_price) AS total FROM order_items GROUP BY 1) t
WHERE t.order_id = orders.id;
INSERT INTO payments (order_id, method, card_number, amount, paid_at)
SELECT id, 'card', '4000' || lpad((id * 7919 % 1000000000000)::text, 12, '0'), total, created_at + interval '5 minutes'
FROM orders WHERE status IN ('paid', 'shipped');
INSERT INTO employees (name, email, title, salary, manager_id, hired_at)
SELECT 'Employee ' || n, 'employee' || n || '@shop.example.com', CASE WHEN n = 1 THEN 'Director' WHEN n < 6 THEN 'Manager' ELSE 'Clerk' END,
       25000 + n * 1777 % 40000, CASE WHEN n = 1 THEN NULL WHEN n < 6 THEN 1 ELSE 2 + n % 4 END, date '2018-01-01' + n * 41
FROM generate_series(1, 40) n;
INSERT INTO support_tickets (customer_id, subject, body, status)
SELECT 1 + n * 7 % 500, 'Order ' || n || ' is late', 'Where is my parcel?', CASE WHEN n % 4 = 0 THEN 'open' ELSE 'closed' END
FROM generate_series(1, 200) n;
COMMIT;
ANALYZE;
