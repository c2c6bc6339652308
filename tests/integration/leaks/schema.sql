CREATE SCHEMA crm;
CREATE SCHEMA scratch;
CREATE TABLE crm.customers (id int PRIMARY KEY, name text NOT NULL, email text UNIQUE, plan text, secret_no text,
                            lowered text GENERATED ALWAYS AS (lower(email)) STORED);
INSERT INTO crm.customers (id, name, email, plan, secret_no)
  SELECT i, 'name ' || i, 'CANARY' || i || '@example.com', 'plan ' || i % 3, 'CANARY-' || i FROM generate_series(1, 5) i;
CREATE TABLE crm.orders (id int PRIMARY KEY, customer_id int REFERENCES crm.customers, status text);
INSERT INTO crm.orders SELECT i, i, 'open' FROM generate_series(1, 5) i;
CREATE TABLE crm.notes (id int, body text);
CREATE TABLE crm.parted (id int, email text) PARTITION BY RANGE (id);
CREATE TABLE crm.parted_low PARTITION OF crm.parted FOR VALUES FROM (0) TO (100);
INSERT INTO crm.parted VALUES (1, 'CANARY@parted');
CREATE VIEW crm.contacts AS SELECT id, email AS contact FROM crm.customers;
CREATE VIEW crm.nested AS SELECT id, contact AS reach FROM crm.contacts;
CREATE VIEW crm.upped AS SELECT id, upper(email) AS shown FROM crm.customers;
CREATE MATERIALIZED VIEW crm.kept AS SELECT id, email FROM crm.customers;
CREATE FUNCTION crm.get_email(int) RETURNS text LANGUAGE sql STABLE
  AS 'SELECT email FROM crm.customers WHERE id = $1';
CREATE FUNCTION crm.get_email_plpgsql(int) RETURNS text LANGUAGE plpgsql STABLE
  AS 'BEGIN RETURN (SELECT email FROM crm.customers WHERE id = $1); END';
CREATE FUNCTION crm.all_customers() RETURNS SETOF crm.customers LANGUAGE sql STABLE AS 'SELECT * FROM crm.customers';
CREATE FUNCTION crm.customer_card(crm.customers) RETURNS text LANGUAGE sql STABLE AS 'SELECT $1.email';
CREATE FUNCTION crm.raises(int) RETURNS int LANGUAGE plpgsql
  AS 'BEGIN RAISE EXCEPTION ''%'', (SELECT email FROM crm.customers WHERE id = $1) USING ERRCODE = ''42601''; END';
CREATE FUNCTION crm.notes_too() RETURNS trigger LANGUAGE plpgsql
  AS 'BEGIN RAISE NOTICE ''%'', NEW.email; RETURN NEW; END';
CREATE TRIGGER tells BEFORE UPDATE ON crm.customers FOR EACH ROW EXECUTE FUNCTION crm.notes_too();
ANALYZE crm.customers;
GRANT USAGE, CREATE ON SCHEMA crm, scratch TO app_agent;
GRANT ALL ON ALL TABLES IN SCHEMA crm TO app_agent;
GRANT TEMPORARY ON DATABASE shop TO app_agent;
