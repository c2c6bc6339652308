-- One case each: a name, then messages as a client sends them, each ended by a line ";;".

-- lineage: the column itself
SELECT email FROM crm.customers;;
-- lineage: under another name
SELECT email AS plan, plan AS email FROM crm.customers;;
-- lineage: star
SELECT * FROM crm.customers;;
-- lineage: TABLE
TABLE crm.customers;;
-- lineage: qualified star
SELECT c.* FROM crm.customers c;;
-- lineage: whole row
SELECT c FROM crm.customers c;;
-- lineage: whole row by table name
SELECT customers FROM crm.customers;;
-- lineage: field of a whole row
SELECT (c).email FROM crm.customers c;;
-- lineage: expanded whole row
SELECT (c.*).email FROM crm.customers c;;
-- lineage: row of a subquery
SELECT (s).c FROM (SELECT c FROM crm.customers c) s;;
-- lineage: functional notation
SELECT email(c) FROM crm.customers c;;
-- lineage: functional notation of a function
SELECT c.customer_card FROM crm.customers c;;
-- lineage: row as text
SELECT c::text FROM crm.customers c;;
-- lineage: row in a string
SELECT c || '' FROM crm.customers c;;
-- lineage: format of a row
SELECT format('%s', c) FROM crm.customers c;;
-- lineage: row as json
SELECT to_json(c) FROM crm.customers c;;
-- lineage: row_to_json
SELECT row_to_json(c) FROM crm.customers c;;
-- lineage: field of json
SELECT to_jsonb(c) ->> 'email' FROM crm.customers c;;
-- lineage: json_agg
SELECT json_agg(c) FROM crm.customers c;;
-- lineage: jsonb_each_text
SELECT value FROM crm.customers c, jsonb_each_text(to_jsonb(c));;
-- lineage: array_agg of rows
SELECT array_agg(c) FROM crm.customers c;;
-- lineage: positional aliases
SELECT nick FROM crm.customers AS c (a, b, nick);;
-- lineage: column list of a CTE
WITH x (a, b) AS (SELECT id, email FROM crm.customers) SELECT b FROM x;;
-- lineage: recursive CTE
WITH RECURSIVE r (i, e) AS (SELECT id, email FROM crm.customers WHERE id = 1 UNION ALL
  SELECT i + 1, e FROM r WHERE i < 3) SELECT e FROM r;;
-- lineage: search column
WITH RECURSIVE r (i, e) AS (SELECT id, email FROM crm.customers UNION ALL SELECT i + 1, e FROM r WHERE i < 1)
  SEARCH DEPTH FIRST BY e SET ord SELECT ord FROM r;;
-- lineage: union by position
SELECT name FROM crm.customers UNION ALL SELECT email FROM crm.customers;;
-- lineage: values
SELECT v FROM (VALUES ((SELECT email FROM crm.customers WHERE id = 1))) t (v);;
-- lineage: lateral
SELECT x FROM crm.orders o, LATERAL (SELECT email AS x FROM crm.customers c WHERE c.id = o.customer_id) s;;
-- lineage: scalar subquery
SELECT (SELECT email FROM crm.customers WHERE id = o.customer_id) FROM crm.orders o;;
-- lineage: using alias
SELECT j.* FROM crm.customers JOIN crm.contacts USING (id) AS j;;
-- lineage: natural join
SELECT * FROM crm.customers NATURAL JOIN crm.contacts;;
-- lineage: concatenation
SELECT email || '' FROM crm.customers;;
-- lineage: cast
SELECT email::varchar(100) FROM crm.customers;;
-- lineage: case
SELECT CASE WHEN true THEN email ELSE name END FROM crm.customers;;
-- lineage: coalesce
SELECT coalesce(NULL, email) FROM crm.customers;;
-- lineage: array
SELECT (ARRAY[email])[1] FROM crm.customers;;
-- lineage: substr
SELECT substr(email, 1, 50) FROM crm.customers;;
-- lineage: min and max
SELECT min(email), max(secret_no) FROM crm.customers;;
-- lineage: string_agg
SELECT string_agg(email, ',') FROM crm.customers;;
-- lineage: window
SELECT lag(email) OVER (ORDER BY id) FROM crm.customers;;
-- lineage: first_value
SELECT first_value(email) OVER () FROM crm.customers;;
-- lineage: mode
SELECT mode() WITHIN GROUP (ORDER BY email) FROM crm.customers;;
-- lineage: xmltable default
SELECT x.v FROM crm.customers c, XMLTABLE('/a' PASSING '<a/>'::xml COLUMNS v text PATH 'b' DEFAULT c.email) x;;
-- derived: view
SELECT contact FROM crm.contacts;;
-- derived: view over a view
SELECT reach FROM crm.nested;;
-- derived: expression of a view
SELECT shown FROM crm.upped;;
-- derived: materialized view
SELECT email FROM crm.kept;;
-- derived: generated column
SELECT lowered FROM crm.customers;;
-- derived: partition by its own name
SELECT email FROM crm.parted_low;;
-- derived: partitioned table
SELECT email FROM crm.parted;;
-- derived: SQL function
SELECT crm.get_email(1);;
-- derived: set-returning SQL function
SELECT email FROM crm.all_customers();;
-- derived: returning
UPDATE crm.customers SET plan = 'x' WHERE id = 1 RETURNING email;;
-- derived: returning star
UPDATE crm.customers SET plan = 'x' WHERE id = 1 RETURNING *;;
-- strings: query_to_xml
SELECT query_to_xml('select email from crm.customers', true, true, '');;
-- strings: table_to_xml
SELECT table_to_xml('crm.customers', true, true, '');;
-- strings: ts_stat
SELECT word FROM ts_stat('select to_tsvector(email) from crm.customers');;
-- strings: DO
DO $$ BEGIN RAISE NOTICE '%', (SELECT email FROM crm.customers WHERE id = 1); END $$;;
-- laundering: create table as
CREATE TABLE scratch.copy AS SELECT email AS x FROM crm.customers;;
SELECT x FROM scratch.copy;;
-- laundering: select into
SELECT email AS x INTO scratch.copy2 FROM crm.customers;;
SELECT x FROM scratch.copy2;;
-- laundering: insert select
INSERT INTO crm.notes SELECT id, email FROM crm.customers;;
SELECT body FROM crm.notes;;
-- laundering: update of a safe column
UPDATE crm.customers SET name = email;;
SELECT name FROM crm.customers;;
-- laundering: temporary table
CREATE TEMP TABLE t AS SELECT email AS x FROM crm.customers;;
SELECT x FROM t;;
-- laundering: view of one's own
CREATE VIEW scratch.v AS SELECT email AS x FROM crm.customers;;
SELECT x FROM scratch.v;;
-- laundering: temporary view under a safe name
CREATE TEMP VIEW orders AS SELECT email AS status FROM crm.customers;;
SELECT status FROM orders;;
-- laundering: custom setting
SELECT set_config('my.x', email, false) FROM crm.customers WHERE id = 1;;
SHOW my.x;;
-- laundering: application_name
SELECT set_config('application_name', email, false) FROM crm.customers WHERE id = 1;;
SHOW application_name;;
-- laundering: notify
SELECT pg_notify('c', email) FROM crm.customers;;
-- laundering: cursor
BEGIN;;
DECLARE c CURSOR FOR SELECT email FROM crm.customers;;
FETCH ALL FROM c;;
-- laundering: cursor with hold
BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT email AS plan FROM crm.customers; COMMIT;;
FETCH ALL FROM c;;
-- laundering: prepare
PREPARE p AS SELECT email AS name FROM crm.customers;;
EXECUTE p;;
-- laundering: prepare and execute in one
PREPARE q AS SELECT email || '' FROM crm.customers; EXECUTE q;;
-- laundering: create table as execute
PREPARE r AS SELECT email AS x FROM crm.customers;;
CREATE TEMP TABLE made AS EXECUTE r;;
SELECT x FROM made;;
-- errors: cast to integer
SELECT email::int FROM crm.customers;;
-- errors: cast in a predicate
SELECT id FROM crm.customers WHERE email::int = 1;;
-- errors: regclass
SELECT email::regclass FROM crm.customers;;
-- errors: date
SELECT id FROM crm.customers ORDER BY email::date;;
-- errors: tsquery
SELECT to_tsquery(email) FROM crm.customers;;
-- errors: unique violation
UPDATE crm.customers SET email = lower(email) || 'x', id = 1;;
-- errors: failing row
UPDATE crm.customers SET name = NULL WHERE id = 1;;
-- errors: failing row of an insert
INSERT INTO crm.customers (id, email) SELECT 9, email FROM crm.customers WHERE id = 1;;
-- errors: foreign key
DELETE FROM crm.customers WHERE id = 1;;
-- notices: trigger
UPDATE crm.customers SET plan = 'told' WHERE id = 2;;
-- copy: table
COPY crm.customers (id, email, secret_no) TO STDOUT;;
-- copy: query
COPY (SELECT id, email AS plan FROM crm.customers) TO STDOUT (FORMAT csv, HEADER);;
-- copy: binary
COPY (SELECT email FROM crm.customers) TO STDOUT (FORMAT binary);;
-- copy: with returning
COPY (UPDATE crm.customers SET plan = 'y' WHERE id = 3 RETURNING email || '') TO STDOUT;;
-- catalogs: pg_stats
SELECT histogram_bounds, most_common_vals FROM pg_stats WHERE tablename = 'customers';;
-- catalogs: pg_stat_activity
SELECT query FROM pg_stat_activity;;
-- names: search_path
SET search_path = crm;;
SELECT email AS id FROM customers;;
-- names: search_path in one message
SET search_path = crm; SELECT email || '' FROM customers;;
-- names: rename and read
BEGIN;;
ALTER TABLE crm.customers RENAME email TO nick;;
SELECT nick FROM crm.customers;;
ROLLBACK;;
-- names: rename in one message
BEGIN; ALTER TABLE crm.customers RENAME email TO nick; SELECT nick FROM crm.customers; ROLLBACK;;
-- names: unicode escapes
SELECT U&"\0065mail" FROM crm.U&"\0063ustomers";;
-- implicit: predicate to literal
SELECT string_agg(chr(g), '' ORDER BY i) FROM crm.customers, generate_series(1, 6) i, generate_series(65, 90) g
  WHERE id = 1 AND substr(email, i, 1) = chr(g);;
-- implicit: case to literal
SELECT CASE WHEN email LIKE 'CANARY%' THEN 'CANARY' ELSE '' END FROM crm.customers;;
-- explain: analyze verbose
EXPLAIN (ANALYZE, VERBOSE) SELECT id FROM crm.customers WHERE name = (SELECT email FROM crm.customers WHERE id = 1);;
-- a function that nobody looks into
SELECT crm.get_email_plpgsql(1);;
-- a function that nobody looks into, in FROM
SELECT e FROM crm.get_email_plpgsql(1) AS e;;
-- a function that nobody looks into, over an unmasked table
SELECT crm.get_email_plpgsql(id) FROM crm.orders;;
-- a function that raises what it reads
SELECT crm.raises(1);;
-- a limit in a union that does not recur
WITH RECURSIVE t AS (SELECT 1 AS a UNION ALL SELECT 2 LIMIT (SELECT length(email) FROM crm.customers WHERE id = 1)) SELECT crm.raises(a) FROM t;;
-- a field by the type's name after an alias gave it another's
SELECT (s.r).email FROM (SELECT c AS r FROM crm.customers AS c(email, b, x, y, z, w)) s;;
-- fields spread by the type after an alias
SELECT x.email FROM (SELECT (s.r).* FROM (SELECT c AS r FROM crm.customers AS c(email, b, id, y, z, w)) s) x;;
-- rows out of an array
SELECT * FROM crm.customers c, unnest(ARRAY[c]) u;;
