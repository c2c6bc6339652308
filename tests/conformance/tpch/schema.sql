-- The eight tables of TPC-H, with rows of our own making: the same every time, and such that each query finds some.
CREATE SCHEMA tpch;
SET search_path = tpch;
-- A number in [0, n) for a row and a salt; evenly spread, and no random().
CREATE FUNCTION pick(i bigint, salt int, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
  'SELECT ((hashint8extended(i * 1000003 + salt, 77) % n) + n) % n';
CREATE FUNCTION word(i bigint, salt int, words text[]) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT words[1 + tpch.pick(i, salt, cardinality(words))]';

CREATE TABLE region (r_regionkey int PRIMARY KEY, r_name text NOT NULL, r_comment text);
INSERT INTO region SELECT i - 1, (ARRAY['AFRICA', 'AMERICA', 'ASIA', 'EUROPE', 'MIDDLE EAST'])[i], 'region ' || i FROM generate_series(1, 5) i;

CREATE TABLE nation (n_nationkey int PRIMARY KEY, n_name text NOT NULL, n_regionkey int NOT NULL REFERENCES region, n_comment text);
INSERT INTO nation
SELECT i - 1, name, region, 'nation ' || i FROM unnest(
  ARRAY['ALGERIA', 'ARGENTINA', 'BRAZIL', 'CANADA', 'EGYPT', 'ETHIOPIA', 'FRANCE', 'GERMANY', 'INDIA', 'INDONESIA', 'IRAN', 'IRAQ', 'JAPAN', 'JORDAN', 'KENYA',
        'MOROCCO', 'MOZAMBIQUE', 'PERU', 'CHINA', 'ROMANIA', 'SAUDI ARABIA', 'VIETNAM', 'RUSSIA', 'UNITED KINGDOM', 'UNITED STATES'],
  ARRAY[0, 1, 1, 1, 4, 0, 3, 3, 2, 2, 4, 4, 2, 4, 0, 0, 0, 1, 2, 3, 4, 2, 3, 3, 1]) WITH ORDINALITY n (name, region, i);

CREATE TABLE supplier (s_suppkey int PRIMARY KEY, s_name text NOT NULL, s_address text NOT NULL, s_nationkey int NOT NULL REFERENCES nation, s_phone text NOT NULL,
                       s_acctbal numeric(15, 2) NOT NULL, s_comment text NOT NULL);
INSERT INTO supplier
SELECT i, 'Supplier#' || lpad(i::text, 9, '0'), i || ' Harbour Street', i % 25, 10 + i % 25 || '-555-' || lpad(i::text, 4, '0'), pick(i, 1, 1100000) / 100.0 - 1000,
  CASE WHEN i % 20 = 0 THEN 'slow Customer and many Complaints' ELSE 'reliable ' || i END
FROM generate_series(1, 100) i;

CREATE TABLE customer (c_custkey int PRIMARY KEY, c_name text NOT NULL, c_address text NOT NULL, c_nationkey int NOT NULL REFERENCES nation, c_phone text NOT NULL,
                       c_acctbal numeric(15, 2) NOT NULL, c_mktsegment text NOT NULL, c_comment text NOT NULL, c_tax_id text NOT NULL);
INSERT INTO customer
SELECT i, 'Customer#' || lpad(i::text, 9, '0'), i || ' Mill Lane', i % 25, 10 + i % 25 || '-777-' || lpad(i::text, 4, '0'), pick(i, 2, 1100000) / 100.0 - 1000,
  word(i, 3, ARRAY['AUTOMOBILE', 'BUILDING', 'FURNITURE', 'MACHINERY', 'HOUSEHOLD']), 'customer ' || i, 'TAX' || lpad((i * 7919 % 1000000)::text, 6, '0')
FROM generate_series(1, 1500) i;

CREATE TABLE part (p_partkey int PRIMARY KEY, p_name text NOT NULL, p_mfgr text NOT NULL, p_brand text NOT NULL, p_type text NOT NULL, p_size int NOT NULL,
                   p_container text NOT NULL, p_retailprice numeric(15, 2) NOT NULL, p_comment text NOT NULL);
INSERT INTO part
SELECT i, word(i, 4, ARRAY['forest', 'green', 'blue', 'ivory', 'plum']) || ' ' || word(i, 5, ARRAY['green', 'lace', 'navy', 'rose', 'tan']), 'Manufacturer#' || 1 + pick(i, 6, 5),
  'Brand#' || 1 + pick(i, 6, 5) || 1 + pick(i, 7, 5),
  word(i, 8, ARRAY['STANDARD', 'SMALL', 'MEDIUM', 'LARGE', 'ECONOMY', 'PROMO']) || ' ' || word(i, 9, ARRAY['ANODIZED', 'BURNISHED', 'PLATED', 'POLISHED', 'BRUSHED']) || ' '
    || word(i, 10, ARRAY['TIN', 'NICKEL', 'BRASS', 'STEEL', 'COPPER']),
  1 + pick(i, 11, 50), word(i, 12, ARRAY['SM', 'MED', 'LG', 'JUMBO', 'WRAP']) || ' ' || word(i, 13, ARRAY['CASE', 'BOX', 'BAG', 'PKG', 'PACK', 'JAR']), 900 + i % 1000, 'part ' || i
FROM generate_series(1, 2000) i;

CREATE TABLE partsupp (ps_partkey int REFERENCES part, ps_suppkey int REFERENCES supplier, ps_availqty int NOT NULL, ps_supplycost numeric(15, 2) NOT NULL, ps_comment text NOT NULL,
                       PRIMARY KEY (ps_partkey, ps_suppkey));
INSERT INTO partsupp
SELECT i, 1 + (i + k * 25 + i / 25) % 100, 1 + pick(i * 4 + k, 14, 9999), 1 + pick(i * 4 + k, 15, 99900) / 100.0, 'offer ' || i FROM generate_series(1, 2000) i, generate_series(0, 3) k;

CREATE TABLE orders (o_orderkey int PRIMARY KEY, o_custkey int NOT NULL REFERENCES customer, o_orderstatus text NOT NULL, o_totalprice numeric(15, 2) NOT NULL, o_orderdate date NOT NULL,
                     o_orderpriority text NOT NULL, o_clerk text NOT NULL, o_shippriority int NOT NULL, o_comment text NOT NULL);
INSERT INTO orders
SELECT i, 1 + pick(i, 16, 1000), word(i, 17, ARRAY['F', 'F', 'O', 'P']), 1000 + pick(i, 18, 40000000) / 100.0, date '1992-01-01' + pick(i, 19, 2405)::int,
  word(i, 20, ARRAY['1-URGENT', '2-HIGH', '3-MEDIUM', '4-NOT SPECIFIED', '5-LOW']), 'Clerk#' || lpad((i % 100)::text, 9, '0'), 0,
  CASE WHEN i % 30 = 0 THEN 'the special packages have requests' ELSE 'order ' || i END
FROM generate_series(1, 15000) i;

CREATE TABLE lineitem (l_orderkey int NOT NULL REFERENCES orders, l_partkey int NOT NULL, l_suppkey int NOT NULL, l_linenumber int NOT NULL, l_quantity numeric(15, 2) NOT NULL,
                       l_extendedprice numeric(15, 2) NOT NULL, l_discount numeric(15, 2) NOT NULL, l_tax numeric(15, 2) NOT NULL, l_returnflag text NOT NULL, l_linestatus text NOT NULL,
                       l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL, l_shipinstruct text NOT NULL, l_shipmode text NOT NULL, l_comment text NOT NULL,
                       PRIMARY KEY (l_orderkey, l_linenumber), FOREIGN KEY (l_partkey, l_suppkey) REFERENCES partsupp);
INSERT INTO lineitem
SELECT o, part, 1 + (part + pick(n, 21, 4) * 25 + part / 25) % 100, line, quantity, quantity * (90 + pick(n, 22, 10000) / 100.0), pick(n, 23, 11) / 100.0, pick(n, 24, 9) / 100.0,
  CASE WHEN shipped > date '1995-06-17' THEN 'N' ELSE word(n, 25, ARRAY['A', 'R']) END, CASE WHEN shipped > date '1995-06-17' THEN 'O' ELSE 'F' END,
  shipped, ordered + 30 + pick(n, 26, 61)::int, shipped + 1 + pick(n, 27, 30)::int, word(n, 28, ARRAY['DELIVER IN PERSON', 'COLLECT COD', 'NONE', 'TAKE BACK RETURN']),
  word(n, 29, ARRAY['AIR', 'AIR REG', 'RAIL', 'SHIP', 'TRUCK', 'MAIL', 'FOB']), 'line ' || n
FROM (SELECT o_orderkey AS o, line, o_orderkey * 8::bigint + line AS n, o_orderdate AS ordered, o_orderdate + 1 + pick(o_orderkey * 8::bigint + line, 30, 121)::int AS shipped,
        1 + pick(o_orderkey * 8::bigint + line, 31, 2000)::int AS part, (1 + pick(o_orderkey * 8::bigint + line, 32, 50))::numeric AS quantity
      FROM orders, generate_series(1, 4) line WHERE o_orderkey % 400 = 0 OR line <= 1 + o_orderkey % 4) lines;
-- A few orders of a hundred pieces and more a line, for query 18.
UPDATE lineitem SET l_quantity = 50 + l_linenumber * 20 WHERE l_orderkey % 400 = 0;
CREATE INDEX ON lineitem (l_partkey);
CREATE INDEX ON orders (o_custkey);
ANALYZE region, nation, supplier, customer, part, partsupp, orders, lineitem;
