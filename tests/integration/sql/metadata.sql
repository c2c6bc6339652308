-- What drivers and ORMs ask a server about itself, each followed by ";;". All of it must be allowed under a read policy with
-- masks, and must be answered.

-- drivers, on connecting
SELECT version(), current_setting('server_version_num')::int AS number;;
SELECT current_database(), current_schema(), current_user, session_user;;
SELECT pg_catalog.set_config('bytea_output', 'hex', false);;
SHOW standard_conforming_strings;;
SHOW TRANSACTION ISOLATION LEVEL;;
SET extra_float_digits = 3; SET application_name = 'x';;
SELECT t.oid, t.typname, t.typarray, t.typelem, t.typtype, t.typbasetype FROM pg_catalog.pg_type t
  LEFT JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid WHERE t.typname = 'hstore' OR t.typtype IN ('r', 'e', 'c');;
SELECT t.oid, ns.nspname, a.attname, a.atttypid FROM pg_type t JOIN pg_namespace ns ON ns.oid = t.typnamespace
  JOIN pg_attribute a ON a.attrelid = t.typrelid WHERE t.typtype = 'c' AND a.attnum > 0 ORDER BY t.oid, a.attnum;;
SELECT 'app.address'::regtype::oid, 'app.customers'::regclass::oid, to_regtype('hstore');;

-- does it exist
SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relname = $1 AND c.relkind = ANY (ARRAY['r', 'p', 'f', 'v', 'm']) AND pg_catalog.pg_table_is_visible(c.oid)
  AND n.nspname <> 'pg_catalog';;
SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1), array_to_string((current_schemas(false))[1:1], ',');;
SELECT 1 FROM information_schema.tables WHERE table_schema = 'app' AND table_name = 'customers' LIMIT 1;;

-- names of tables and views
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = 'app' AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't' ORDER BY 1;;
SELECT c.relname, pg_get_viewdef(c.oid, true), obj_description(c.oid, 'pg_class') FROM pg_class c
  WHERE c.relkind IN ('v', 'm') AND c.relnamespace = 'app'::regnamespace;;
SELECT table_schema, table_name, table_type FROM information_schema.tables
  WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY table_schema, table_name;;
SELECT schema_name FROM information_schema.schemata WHERE schema_name !~ '^pg_' ORDER BY 1;;
SELECT table_name, view_definition, is_updatable FROM information_schema.views WHERE table_schema = ANY ($1);;

-- columns
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, d.description,
  (SELECT pg_get_expr(f.adbin, f.adrelid) FROM pg_attrdef f WHERE f.adrelid = a.attrelid AND f.adnum = a.attnum AND a.atthasdef)
  AS preset, co.collname
  FROM pg_attribute a LEFT JOIN pg_description d ON d.objoid = a.attrelid AND d.objsubid = a.attnum
  LEFT JOIN pg_collation co ON co.oid = a.attcollation AND co.collname <> 'default'
  WHERE a.attrelid = 'app.customers'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum;;
SELECT column_name, ordinal_position, column_default, is_nullable, data_type, character_maximum_length, numeric_precision, udt_name,
  is_identity, is_generated FROM information_schema.columns WHERE table_schema = 'app' AND table_name = $1 ORDER BY 2;;
SELECT oid.namespace, info.table_name, info.column_name, format_type(att.atttypid, att.atttypmod) AS formatted, info.udt_name
  FROM information_schema.columns info
  JOIN pg_attribute att ON att.attname = info.column_name
  JOIN (SELECT c.oid, c.relname, n.nspname AS namespace FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE reltype > 0) AS oid ON oid.oid = att.attrelid AND oid.relname = info.table_name AND oid.namespace = info.table_schema
  WHERE info.table_schema = ANY (ARRAY['app', 'crm']) ORDER BY 1, 2, info.ordinal_position;;

-- keys and constraints
SELECT con.conname, con.contype, pg_get_constraintdef(con.oid, true), array_agg(att.attname ORDER BY k.ord)
  FROM pg_constraint con CROSS JOIN LATERAL unnest(con.conkey) WITH ORDINALITY AS k(attnum, ord)
  JOIN pg_attribute att ON att.attrelid = con.conrelid AND att.attnum = k.attnum
  WHERE con.conrelid = 'app.orders'::regclass GROUP BY con.oid, con.conname, con.contype;;
SELECT con.oid, parent.relname, child.relname, unnest(con.conkey) AS parent_key, unnest(con.confkey) AS child_key, con.confdeltype
  FROM pg_constraint con JOIN pg_class child ON child.oid = con.conrelid JOIN pg_class parent ON parent.oid = con.confrelid
  WHERE con.contype = 'f';;
SELECT tc.constraint_name, kcu.column_name, ccu.table_name AS other FROM information_schema.table_constraints tc
  JOIN information_schema.key_column_usage kcu USING (constraint_schema, constraint_name)
  JOIN information_schema.constraint_column_usage ccu USING (constraint_schema, constraint_name)
  WHERE tc.constraint_type = 'FOREIGN KEY' AND tc.table_schema = 'app';;
SELECT i.indexrelid::regclass, i.indisunique, i.indisprimary, pg_get_indexdef(i.indexrelid), am.amname,
  ARRAY(SELECT pg_get_indexdef(i.indexrelid, k + 1, true) FROM generate_subscripts(i.indkey, 1) AS k ORDER BY k) AS columns
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am am ON am.oid = c.relam
  WHERE i.indrelid = 'app.customers'::regclass;;
WITH raw AS (SELECT indrelid, indexrelid, indisunique, unnest(indkey) AS attnum, generate_subscripts(indkey, 1) AS place FROM pg_index)
  SELECT c.relname, raw.indisunique, a.attname FROM raw JOIN pg_class c ON c.oid = raw.indexrelid
  LEFT JOIN pg_attribute a ON a.attrelid = raw.indrelid AND a.attnum = raw.attnum ORDER BY c.relname, raw.place;;

-- types, sequences, functions, triggers, extensions
SELECT t.typname, e.enumlabel FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid ORDER BY t.typname, e.enumsortorder;;
SELECT t.typname, array_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid GROUP BY 1;;
SELECT d.typname, format_type(d.typbasetype, d.typtypmod), d.typnotnull FROM pg_type d WHERE d.typtype = 'd';;
SELECT sequence_schema, sequence_name, start_value, increment, cycle_option FROM information_schema.sequences;;
SELECT schemaname, sequencename, last_value FROM pg_catalog.pg_sequences;;
SELECT p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), l.lanname FROM pg_proc p
  JOIN pg_language l ON l.oid = p.prolang WHERE p.pronamespace = 'app'::regnamespace;;
SELECT tgname, pg_get_triggerdef(oid, true) FROM pg_trigger WHERE NOT tgisinternal;;
SELECT extname, extversion FROM pg_extension;;
SELECT name, default_version, installed_version FROM pg_available_extensions WHERE name = 'pgcrypto';;

-- settings, rights, sizes
SELECT name, setting, unit FROM pg_settings WHERE name IN ('max_connections', 'work_mem');;
SELECT rolname, rolsuper, rolcanlogin FROM pg_roles ORDER BY 1;;
SELECT has_table_privilege('app.customers', 'SELECT'), has_schema_privilege('app', 'USAGE'), pg_has_role('postgres', 'MEMBER');;
SELECT grantee, privilege_type FROM information_schema.role_table_grants WHERE table_schema = 'app' AND table_name = 'customers';;
SELECT c.relname, c.reltuples::bigint, pg_size_pretty(pg_total_relation_size(c.oid)) FROM pg_class c
  WHERE c.relnamespace = 'app'::regnamespace AND c.relkind = 'r' ORDER BY pg_relation_size(c.oid) DESC;;
SELECT relname, n_live_tup, last_autovacuum FROM pg_stat_user_tables ORDER BY 2 DESC;;
SELECT inhrelid::regclass, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
  WHERE inhparent = 'app.events'::regclass;;
SELECT * FROM pg_partition_tree('app.events');;
