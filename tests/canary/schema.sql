-- A schema full of canaries: each masked column holds values that are recognised wherever they come out (needles.py).
-- The agent's role owns it all, so that nothing is refused by privileges that the gate ought to refuse.
SELECT format('GRANT CREATE, TEMPORARY ON DATABASE %I TO canary_agent', current_database()) \gexec
SET ROLE canary_agent;
CREATE SCHEMA crm;
CREATE SCHEMA scratch;
CREATE TYPE crm.person_t AS (name text, mail text);
CREATE DOMAIN crm.mail AS text CHECK (position('@' IN VALUE) > 1);

CREATE TABLE crm.people (
  id int PRIMARY KEY, name text NOT NULL, city text NOT NULL, height int CHECK (height < 300), joined date NOT NULL,
  email text UNIQUE, phone text, secret varchar(60), badge char(30), nick name, born date, seen timestamptz, salary numeric(30, 4),
  pin int, big bigint, ratio float8, weight float4, tok uuid, home inet, net cidr, mac macaddr, doc jsonb, plain json, tags text[], raw bytea,
  lowered text GENERATED ALWAYS AS (lower(email)) STORED);
INSERT INTO crm.people
SELECT i, 'name ' || i, (ARRAY['Leeds', 'York', 'Bath'])[1 + i % 3], 150 + i % 50, date '2020-01-01' + i,
  'kq7vZxWmTn' || i || '@example.com', 'kq7vZxWmTn-' || lpad(i::text, 4, '0'), 'kq7vZxWmTn secret ' || i, 'kq7vZxWmTn badge ' || i,
  'kq7vZxWmTn_' || i, make_date(734821, 3, 1 + i % 28), make_timestamptz(248215, 3, 1 + i % 28, 13, 57, 46.285, 'UTC'),
  739146285000000000.0628 + i, 2091462000 + i, 7391462850000000000 + i, 739146285000.5 + i, 7391463e10,
  ('c0ffee5a-e1d7-4000-8000-' || lpad(i::text, 12, '0'))::uuid, ('fd5a:e1d7:c0fe::' || to_hex(i))::inet,
  ('fd5a:e1d7:c0fe:' || to_hex(i) || '::/64')::cidr, ('de:c0:5a:e1:d7:' || lpad(to_hex(i), 2, '0'))::macaddr,
  jsonb_build_object('mail', 'kq7vZxWmTn' || i, 'n', 7391462850000 + i), json_build_object('mail', 'kq7vZxWmTn' || i),
  ARRAY['kq7vZxWmTn' || i, 'other'], convert_to('kq7vZxWmTn' || i, 'UTF8')
FROM generate_series(1, 40) i;

CREATE TABLE crm.accounts (
  id int PRIMARY KEY, person_id int NOT NULL REFERENCES crm.people, email text REFERENCES crm.people (email), kind text NOT NULL,
  opened timestamp NOT NULL, rate numeric NOT NULL, balance money, iban text UNIQUE, who crm.person_t, mail crm.mail, span int8range,
  spot point, letter xml, words tsvector, took interval, at_time time, CHECK (rate < 1000));
INSERT INTO crm.accounts
SELECT i, 1 + i % 40, 'kq7vZxWmTn' || 1 + i % 40 || '@example.com', (ARRAY['gold', 'basic'])[1 + i % 2], timestamp '2021-01-01' + i * interval '7 hours',
  i * 0.25, (7391462850000.00 + i)::numeric::money, 'GB' || 'kq7vZxWmTn' || lpad(i::text, 6, '0'), ROW('name', 'kq7vZxWmTn' || i)::crm.person_t,
  'kq7vZxWmTn' || i || '@example.com', int8range(7391462850000000000, 7391462850000000000 + i), point(739146285000 + i, i),
  xmlparse(content '<mail>kq7vZxWmTn' || i || '</mail>'), to_tsvector('simple', 'kq7vZxWmTn' || i), make_interval(days => 7391462) + i * interval '1 second',
  time '13:57:46.2857' + i * interval '1 microsecond'
FROM generate_series(1, 60) i;

CREATE TABLE crm.visits (id int PRIMARY KEY, person_id int NOT NULL REFERENCES crm.people, place text, score float8, at timestamptz NOT NULL,
  remark text, kind text DEFAULT 'walk-in');
INSERT INTO crm.visits
SELECT i, 1 + i % 40, 'place ' || i % 7, i % 13 / 4.0, timestamptz '2022-01-01 00:00+00' + i * interval '5 hours', 'kq7vZxWmTn remark ' || i
FROM generate_series(1, 120) i;

CREATE TABLE crm.events (id int NOT NULL, kind text NOT NULL, payload jsonb, amount int) PARTITION BY RANGE (id);
CREATE TABLE crm.events_low PARTITION OF crm.events FOR VALUES FROM (0) TO (50);
CREATE TABLE crm.events_high PARTITION OF crm.events FOR VALUES FROM (50) TO (100);
INSERT INTO crm.events SELECT i, 'kind ' || i % 4, jsonb_build_object('mail', 'kq7vZxWmTn' || i, 'list', jsonb_build_array('kq7vZxWmTn' || i)), i * 3
FROM generate_series(1, 99) i;

CREATE TABLE crm.keyed (id int, label text, api_key text);
CREATE TABLE crm.keyed_old (retired date) INHERITS (crm.keyed);
INSERT INTO crm.keyed SELECT i, 'label ' || i, 'kq7vZxWmTn:' || i FROM generate_series(1, 10) i;
INSERT INTO crm.keyed_old SELECT i, 'label ' || i, 'kq7vZxWmTn:' || i, date '2020-02-02' FROM generate_series(11, 20) i;

CREATE TABLE crm.ledger (id int PRIMARY KEY, person_id int, amount numeric(12, 2) NOT NULL, day date NOT NULL, text text);
INSERT INTO crm.ledger SELECT i, 1 + i % 40, i * 1.5, date '2023-01-01' + i, 'entry ' || i FROM generate_series(1, 150) i;

CREATE TABLE scratch.notes (id int GENERATED ALWAYS AS IDENTITY, body text, tag text DEFAULT 'none');
CREATE TABLE scratch.numbers (n bigint CHECK (n < 1000), d date);
CREATE TABLE scratch.uniques (k text PRIMARY KEY, v text NOT NULL DEFAULT 'v');
INSERT INTO scratch.notes (body) SELECT 'note ' || i FROM generate_series(1, 20) i;
INSERT INTO scratch.numbers SELECT i, date '2024-01-01' + i FROM generate_series(1, 20) i;
INSERT INTO scratch.uniques SELECT 'key ' || i FROM generate_series(1, 20) i;

CREATE VIEW crm.contacts AS SELECT id, name, email AS contact FROM crm.people;
CREATE VIEW crm.nested AS SELECT id, contact AS reach FROM crm.contacts WHERE id > 2;
CREATE VIEW crm.shouted AS SELECT id, upper(email) AS shown FROM crm.people;
CREATE VIEW crm.per_city AS SELECT city, count(*) AS many, max(phone) AS top FROM crm.people GROUP BY city;
CREATE VIEW crm.plain_people AS SELECT id, name, city, height, joined FROM crm.people;
CREATE VIEW crm.joined_up AS SELECT p.id, p.name, a.kind, a.iban, v.place FROM crm.people p JOIN crm.accounts a ON a.person_id = p.id
  JOIN crm.visits v ON v.person_id = p.id;
CREATE MATERIALIZED VIEW crm.kept AS SELECT id, name, email, salary FROM crm.people;

CREATE FUNCTION crm.get_email(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT email FROM crm.people WHERE id = $1';
CREATE FUNCTION crm.get_email_plpgsql(int) RETURNS text LANGUAGE plpgsql STABLE AS 'BEGIN RETURN (SELECT email FROM crm.people WHERE id = $1); END';
CREATE FUNCTION crm.all_people() RETURNS SETOF crm.people LANGUAGE sql STABLE AS 'SELECT * FROM crm.people';
CREATE FUNCTION crm.card(crm.people) RETURNS text LANGUAGE sql STABLE AS 'SELECT $1.email';
CREATE FUNCTION crm.raises(int) RETURNS int LANGUAGE plpgsql
  AS 'BEGIN RAISE EXCEPTION ''%'', (SELECT email FROM crm.people WHERE id = $1) USING ERRCODE = ''42601'', HINT = (SELECT phone FROM crm.people WHERE id = $1); END';
CREATE FUNCTION crm.warns(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RAISE WARNING ''%'', (SELECT email FROM crm.people WHERE id = $1); RETURN $1; END';
CREATE FUNCTION crm.tells() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''% %'', OLD, NEW; RETURN NEW; END';
CREATE FUNCTION crm.announces() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_notify(''changes'', NEW.remark); RETURN NEW; END';
CREATE FUNCTION crm.same(text, text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RAISE NOTICE ''% %'', $1, $2; RETURN $1 = $2; END';
CREATE FUNCTION crm.glue(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT concat($1, '','', $2)';
CREATE AGGREGATE crm.glued(text) (SFUNC = crm.glue, STYPE = text);
CREATE OPERATOR crm.=== (FUNCTION = crm.same, LEFTARG = text, RIGHTARG = text);
CREATE PROCEDURE crm.shows(int) LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''%'', (SELECT email FROM crm.people WHERE id = $1); END';
CREATE TRIGGER tells BEFORE UPDATE ON crm.people FOR EACH ROW EXECUTE FUNCTION crm.tells();
CREATE TRIGGER announces AFTER UPDATE ON crm.visits FOR EACH ROW EXECUTE FUNCTION crm.announces();
CREATE STATISTICS crm.together (mcv) ON email, phone FROM crm.people;
CREATE INDEX people_half ON crm.people ((lower(phone)));
RESET ROLE;
ANALYZE;
