// What the functions of pg_catalog do, as far as analysis must know. Internal to common/sql.
//
// Names rather than OIDs: all overloads of a name are judged alike, by the worst of them.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace postern::sql::internal {

enum class BuiltinClass : uint8_t {
  kNotListed,      // not known to be harmless: a named permission
  kHarmless,       // its result depends on its arguments (and on what anybody may see) alone
  kUnsafe,         // SQL from text, files, other servers, other backends, large objects, WAL, locks
  kSequenceRead,   // currval
  kSequenceWrite,  // nextval, setval
  kSetConfig,      // set_config
  kNotify,         // pg_notify
  kSleep,          // pg_sleep: harmless but for time, which can carry a bit
  kStatistics,     // shows other sessions' statements or sampled values
};

// `name` without schema, folded.
BuiltinClass ClassifyBuiltin(std::string_view name);

// True for functions of well-known extensions that take SQL as text or reach files, pages and other servers (dblink,
// tablefunc, adminpack, pageinspect…), whatever schema they are installed in.
bool IsUnsafeExtensionFunction(std::string_view name);

// True for views and tables of pg_catalog that show sampled values, other sessions' statements or secrets.
bool IsStatisticsRelation(std::string_view name);

// Columns that a function returns in FROM, when it has OUT parameters; empty otherwise.
std::vector<std::string_view> BuiltinColumns(std::string_view name);

// True for aggregates of pg_catalog that put the values of many rows into one.
bool GathersRows(std::string_view name);

// True if pg_catalog has an operator of that name.
bool IsBuiltinOperator(std::string_view name);

// True for types of pg_catalog, by their names in pg_type, that are neither rows nor arrays.
bool IsBuiltinScalarType(std::string_view name);

// Data, in builtin_functions_table.cc.
extern const std::string_view kHarmlessFunctions;
extern const std::string_view kOperators;
extern const std::string_view kScalarTypes;
extern const std::string_view kFunctionColumns;

}  // namespace postern::sql::internal
