// What is asked of a server to learn what its names mean. Every query works on 14 to 18 and for every role.
#include <array>

#include "sidecar/catalog/catalog_loader.h"

namespace postern::sidecar {

// Schemas of other sessions' temporary objects and of TOAST tables mean nothing to anybody else. pg_temp comes last on
// the path, where nothing can hide behind it.
const std::string_view kCatalogBegin =
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
    "SET LOCAL search_path = pg_catalog, pg_temp";
const std::string_view kCatalogEnd = "COMMIT";

namespace {

constexpr std::string_view kServer = "SELECT current_setting('server_version_num')";

constexpr std::string_view kSchemas =
    "SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp_|toast_temp_)'";

// relhastriggers counts the triggers that keep foreign keys, and relhasrules the rule that makes a view a view.
constexpr std::string_view kRelations =
    "SELECT c.oid, c.relnamespace, c.relname, c.relkind, "
    "CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END, "
    "c.relhastriggers AND EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal), "
    "c.relhasrules AND EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN') "
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND n.nspname !~ '^pg_(toast|temp_|toast_temp_)'";

// Domains stand for their base types, as RowDescription has it.
constexpr std::string_view kColumns =
    "WITH RECURSIVE base (domain, type) AS ("
    "SELECT oid, typbasetype FROM pg_type WHERE typtype = 'd' UNION ALL "
    "SELECT base.domain, t.typbasetype FROM base JOIN pg_type t ON t.oid = base.type WHERE t.typtype = 'd'), "
    "resolved AS (SELECT base.domain, base.type FROM base JOIN pg_type t ON t.oid = base.type WHERE t.typtype <> 'd') "
    "SELECT a.attrelid, a.attname, a.attnum, coalesce(resolved.type, a.atttypid), a.attgenerated <> '', a.attnotnull "
    "FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN resolved ON resolved.domain = a.atttypid "
    "WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') "
    "ORDER BY a.attrelid, a.attnum";

// Of columns, so that a constant can be given a column's type.
constexpr std::string_view kTypes =
    "SELECT t.oid, quote_ident(n.nspname) || '.' || quote_ident(t.typname) "
    "FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype NOT IN ('d', 'p') AND t.oid IN ("
    "SELECT atttypid FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped UNION "
    "SELECT typbasetype FROM pg_type WHERE typtype = 'd')";

constexpr std::string_view kParents = "SELECT inhrelid, inhparent FROM pg_inherits";

// Bodies only of what users wrote in SQL; those of pg_catalog never change.
constexpr std::string_view kFunctions =
    "SELECT p.oid, p.pronamespace, p.proname, p.proargtypes, p.prorettype, p.provolatile, p.prokind, l.lanname, "
    "p.prosecdef, p.proretset, p.provariadic <> 0, "
    "CASE WHEN l.lanname = 'sql' AND p.oid >= 16384 THEN coalesce(pg_get_function_sqlbody(p.oid), p.prosrc) END "
    "FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang";

// A cast has no schema; the one of its function, or else of its source type, stands for it.
constexpr std::string_view kOperatorSchemas =
    "SELECT n.nspname FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE o.oid >= 16384 UNION "
    "SELECT n.nspname FROM pg_cast c LEFT JOIN pg_proc p ON p.oid = c.castfunc JOIN pg_type t ON t.oid = c.castsource "
    "JOIN pg_namespace n ON n.oid = coalesce(p.pronamespace, t.typnamespace) WHERE c.oid >= 16384";

constexpr std::array<CatalogQuery, 8> kQueries = {{
    {"server", kServer, 1, &CatalogBuilder::AddServer},
    {"schemas", kSchemas, 2, &CatalogBuilder::AddSchema},
    {"relations", kRelations, 7, &CatalogBuilder::AddRelation},
    {"columns", kColumns, 6, &CatalogBuilder::AddColumn},
    {"types", kTypes, 2, &CatalogBuilder::AddType},
    {"parents", kParents, 2, &CatalogBuilder::AddParent},
    {"functions", kFunctions, 12, &CatalogBuilder::AddFunction},
    {"operators", kOperatorSchemas, 1, &CatalogBuilder::AddOperatorSchema},
}};

}  // namespace

std::span<const CatalogQuery> CatalogQueries() { return kQueries; }

// Every insert, update and delete of these rows changes a count or the sum of the transactions that wrote them. Rows of
// temporary tables are left out where that is cheap, since they come and go.
const std::string_view kCatalogProbe =
    "SELECT string_agg(part, ' ' ORDER BY part) FROM ("
    "SELECT 'n' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_catalog.pg_namespace "
    "WHERE nspname !~ '^pg_(toast|temp_|toast_temp_)' UNION ALL "
    "SELECT 'c' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_catalog.pg_class "
    "WHERE relpersistence <> 't' UNION ALL "
    "SELECT 'a' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_catalog.pg_attribute "
    "WHERE attnum > 0 UNION ALL "
    "SELECT 'p' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_catalog.pg_proc UNION ALL "
    "SELECT 'r' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_catalog.pg_rewrite UNION ALL "
    "SELECT 'i' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_catalog.pg_inherits UNION ALL "
    "SELECT 't' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_catalog.pg_trigger "
    "WHERE NOT tgisinternal UNION ALL "
    "SELECT 'd' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_catalog.pg_type "
    "WHERE typtype IN ('d', 'e', 'r') UNION ALL "
    "SELECT 'o' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_catalog.pg_operator UNION ALL "
    "SELECT 'k' || count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM pg_catalog.pg_cast) parts (part)";

}  // namespace postern::sidecar
