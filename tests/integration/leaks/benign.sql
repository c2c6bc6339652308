-- Must run, and show the words behind "shows".

-- plain columns shows name 1
SELECT id, name, plan FROM crm.customers;;
-- masked beside clear shows name 2
SELECT name, email FROM crm.customers;;
-- join shows open
SELECT c.name, o.status FROM crm.customers c JOIN crm.orders o ON o.customer_id = c.id;;
-- count shows 5
SELECT count(*) FROM crm.customers;;
-- aggregate of a clear column shows name 5
SELECT max(name) FROM crm.customers;;
-- cursor shows name 3
BEGIN; DECLARE c CURSOR FOR SELECT name, email FROM crm.customers ORDER BY id; FETCH ALL FROM c; COMMIT;;
-- prepare shows name 4
PREPARE s AS SELECT name FROM crm.customers; EXECUTE s;;
-- copy shows name 1
COPY crm.customers (name, email) TO STDOUT (FORMAT csv);;
-- view shows 1
SELECT id FROM crm.contacts;;
-- search_path shows name 1
SET search_path = crm, public; SELECT name FROM customers; RESET search_path;;
-- insert shows INSERT
INSERT INTO crm.notes VALUES (1, 'hello') RETURNING 'INSERT' AS done;;
-- catalog shows customers
SELECT relname FROM pg_catalog.pg_class WHERE relname = 'customers';;
