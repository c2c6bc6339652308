-- The shop of tests/unit/common/sql/golden/shop.catalog, as a real database. What is added here is added there.
SET check_function_bodies = off;
CREATE SCHEMA app;
CREATE SCHEMA crm;
CREATE SCHEMA scratch;

CREATE TABLE app.customers (id int PRIMARY KEY, name text, email text, phone text, plan text, created_at timestamptz,
                            email_norm text GENERATED ALWAYS AS (lower(email)) STORED);
CREATE TABLE app.orders (id int PRIMARY KEY, customer_id int, status text, total numeric, refunded_at timestamptz, note text);
CREATE TABLE app.order_items (id int PRIMARY KEY, order_id int, sku text, qty int, price numeric);
CREATE TABLE app.tickets (id int PRIMARY KEY, customer_id int, title text, body text);
CREATE FUNCTION app.fill_title() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN NEW.title := coalesce(NEW.title, (SELECT email FROM app.customers WHERE id = NEW.customer_id)); RETURN NEW; END';
CREATE TRIGGER fill BEFORE INSERT ON app.tickets FOR EACH ROW EXECUTE FUNCTION app.fill_title();
CREATE TABLE app.events (id int, kind text, customer_id int, at int) PARTITION BY RANGE (at);
CREATE TABLE app.events_2025 PARTITION OF app.events FOR VALUES FROM (2025) TO (2026);
CREATE TABLE app.events_2026 (kind text, id int, at int, customer_id int);
ALTER TABLE app.events ATTACH PARTITION app.events_2026 FOR VALUES FROM (2026) TO (2027);
CREATE TABLE crm.customers (id int PRIMARY KEY, email text, nick text, badge_no int);
CREATE TABLE crm.staff (id int PRIMARY KEY, full_name text, salary int, pin int);
CREATE TABLE scratch.notes (id int PRIMARY KEY, text text);
CREATE TABLE app.ruled (id int, val text);
CREATE RULE elsewhere AS ON INSERT TO app.ruled DO ALSO INSERT INTO scratch.notes VALUES (NEW.id, NEW.val);
CREATE SEQUENCE app.orders_id_seq;
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE app.remote_prices (sku text, price numeric) SERVER nowhere;
CREATE TYPE app.address AS (street text, city text);
CREATE TABLE app.profiles (customer_id int PRIMARY KEY, tags text[], home app.address, extra jsonb, scores int[]);
CREATE TABLE app.people (id int, name text, badge text);
CREATE TABLE app.employees (desk text) INHERITS (app.people);

CREATE FUNCTION app.get_email(int) RETURNS text LANGUAGE sql STABLE AS
  'SELECT c.email FROM app.customers c WHERE c.id = $1';
CREATE FUNCTION app.do_things() RETURNS int LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN 1; END';
CREATE FUNCTION app.do_things(text) RETURNS int LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN 1; END';
CREATE FUNCTION app.do_things(int) RETURNS SETOF app.address LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN; END';
CREATE FUNCTION app.add_one(numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1';
CREATE FUNCTION scratch.dblink(text, text) RETURNS SETOF record LANGUAGE plpgsql AS 'BEGIN RETURN; END';
CREATE FUNCTION crm.net(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 * 7 / 10; END';
CREATE FUNCTION app.lower(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN pg_catalog.lower($1); END';
CREATE FUNCTION app.customer_card(app.customers) RETURNS text LANGUAGE plpgsql STABLE AS 'BEGIN RETURN $1.email; END';
CREATE FUNCTION app.add_one(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1';
CREATE FUNCTION app.unqualified() RETURNS text LANGUAGE sql STABLE AS 'SELECT email FROM customers';
CREATE FUNCTION app.loop_a(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT app.loop_b($1)';
CREATE FUNCTION app.loop_b(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT app.loop_a($1)';

CREATE VIEW app.active_customers (id, contact, plan) AS
  SELECT c.id, c.email, c.plan FROM app.customers c WHERE c.phone IS NOT NULL;
CREATE VIEW app.contact_list (label, contact) AS
  SELECT a.contact || ' (' || a.id || ')', a.contact FROM app.active_customers a;
CREATE VIEW app.order_totals (customer_id, total) AS
  SELECT o.customer_id, sum(o.total) FROM app.orders o GROUP BY o.customer_id;
CREATE MATERIALIZED VIEW app.customer_copy (id, email) AS SELECT c.id, c.email FROM app.customers c;
CREATE VIEW app.salaries (person, pay) AS SELECT s.full_name, crm.net(s.salary) FROM crm.staff s;
CREATE OPERATOR scratch.=== (FUNCTION = texteq, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR scratch.= (FUNCTION = int4eq, LEFTARG = int, RIGHTARG = int);
CREATE OPERATOR scratch.+ (FUNCTION = int4pl, LEFTARG = int, RIGHTARG = int);

INSERT INTO app.customers (id, name, email, phone, plan, created_at)
  SELECT i, 'name ' || i, 'mail' || i || '@example.com', CASE WHEN i <> 3 THEN '555-000' || i END,
         CASE WHEN i % 2 = 0 THEN 'a' ELSE 'b' END, timestamptz '2026-01-01' + i * interval '1 day'
  FROM generate_series(1, 4) i;
INSERT INTO app.orders SELECT i, 1 + i % 4, CASE WHEN i % 3 = 0 THEN 'paid' ELSE 'open' END, i * 10, NULL, 'note ' || i
  FROM generate_series(1, 6) i;
INSERT INTO app.order_items SELECT i, 1 + i % 6, 'sku' || i % 3, i, i * 1.5 FROM generate_series(1, 8) i;
INSERT INTO app.tickets SELECT i, i, 'title ' || i, 'body ' || i FROM generate_series(1, 3) i;
INSERT INTO app.events SELECT i, 'kind ' || i % 2, i, 2025 + i % 2 FROM generate_series(1, 4) i;
INSERT INTO crm.customers SELECT i, 'mail' || i || '@example.com', 'nick ' || i, 100 + i FROM generate_series(1, 4) i;
INSERT INTO crm.staff SELECT i, 'staff ' || i, 3 + i, 1000 + i FROM generate_series(1, 3) i;
INSERT INTO scratch.notes SELECT i, 'text ' || i FROM generate_series(1, 2) i;
INSERT INTO app.profiles SELECT i, ARRAY['t' || i, 'u'], ROW('street ' || i, 'city ' || i)::app.address,
                                jsonb_build_object('k', i, 'name', 'n' || i), ARRAY[i, i + 1]
  FROM generate_series(1, 3) i;
INSERT INTO app.people VALUES (1, 'p1', 'b1');
INSERT INTO app.employees VALUES (2, 'p2', 'b2', 'd2');
REFRESH MATERIALIZED VIEW app.customer_copy;

-- TPC-H.
CREATE SCHEMA tpch;
CREATE TABLE tpch.region (r_regionkey int PRIMARY KEY, r_name text, r_comment text);
CREATE TABLE tpch.nation (n_nationkey int PRIMARY KEY, n_name text, n_regionkey int, n_comment text);
CREATE TABLE tpch.part (p_partkey int PRIMARY KEY, p_name text, p_mfgr text, p_brand text, p_type text, p_size int,
                        p_container text, p_retailprice numeric, p_comment text);
CREATE TABLE tpch.supplier (s_suppkey int PRIMARY KEY, s_name text, s_address text, s_nationkey int, s_phone text,
                            s_acctbal numeric, s_comment text);
CREATE TABLE tpch.partsupp (ps_partkey int, ps_suppkey int, ps_availqty int, ps_supplycost numeric, ps_comment text);
CREATE TABLE tpch.customer (c_custkey int PRIMARY KEY, c_name text, c_address text, c_nationkey int, c_phone text,
                            c_acctbal numeric, c_mktsegment text, c_comment text);
CREATE TABLE tpch.orders (o_orderkey int PRIMARY KEY, o_custkey int, o_orderstatus text, o_totalprice numeric, o_orderdate date,
                          o_orderpriority text, o_clerk text, o_shippriority int, o_comment text);
CREATE TABLE tpch.lineitem (l_orderkey int, l_partkey int, l_suppkey int, l_linenumber int, l_quantity numeric,
                            l_extendedprice numeric, l_discount numeric, l_tax numeric, l_returnflag text, l_linestatus text,
                            l_shipdate date, l_commitdate date, l_receiptdate date, l_shipinstruct text, l_shipmode text,
                            l_comment text);
