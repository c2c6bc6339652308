// The tables of built-in functions, operators and types against the server's own catalogs.
#include <map>
#include <sstream>

#include "common/sql/builtin_functions.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "tests/integration/sql/shop_server.h"

namespace postern::sql_test {
namespace {

std::set<std::string> WordsOf(std::string_view text) {
  std::istringstream words{std::string(text)};
  return {std::istream_iterator<std::string>(words), {}};
}

std::set<std::string> ColumnOf(const Result& rows, int column) {
  std::set<std::string> values;
  for (int i = 0; i < PQntuples(rows.get()); ++i) values.insert(PQgetvalue(rows.get(), i, column));
  return values;
}

TEST(Builtins, EveryHarmlessFunctionExists) {
  const Result rows = Shop().Run("SELECT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace");
  EXPECT_THAT(ColumnOf(rows, 0), testing::IsSupersetOf(WordsOf(sql::internal::kHarmlessFunctions)));
}

TEST(Builtins, OperatorsAreTheServers) {
  const Result rows = Shop().Run("SELECT oprname FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace");
  EXPECT_EQ(WordsOf(sql::internal::kOperators), ColumnOf(rows, 0));
}

TEST(Builtins, ScalarTypesAreNeitherRowsNorArrays) {
  const Result rows = Shop().Run(
      "SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm') "
      "AND typelem = 0 OR typname IN ('name', 'point', 'box', 'lseg', 'line') ");
  EXPECT_THAT(ColumnOf(rows, 0), testing::IsSupersetOf(WordsOf(sql::internal::kScalarTypes)));
}

// A function with OUT parameters makes those columns in FROM; of another kind of row the columns are never taken as
// known.
TEST(Builtins, FunctionsInFromHaveTheColumnsOfTheirOutParameters) {
  const Result rows = Shop().Run(
      "SELECT p.proname, string_agg(p.proargnames[i], ' ' ORDER BY i) FROM pg_proc p, "
      "generate_subscripts(p.proargmodes, 1) i WHERE p.proargmodes[i] IN ('o', 't', 'b') "
      "AND p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' GROUP BY p.oid, p.proname");
  int checked = 0;
  for (int i = 0; i < PQntuples(rows.get()); ++i) {
    const std::string name = PQgetvalue(rows.get(), i, 0);
    if (sql::internal::ClassifyBuiltin(name) != sql::internal::BuiltinClass::kHarmless) continue;
    const std::vector<std::string_view> columns = sql::internal::BuiltinColumns(name);
    if (name == "unnest") continue;  // of a tsvector; arrays come first
    EXPECT_EQ(fmt::format("{}", fmt::join(columns, " ")), PQgetvalue(rows.get(), i, 1)) << name;
    ++checked;
  }
  EXPECT_GE(checked, 40);
}

// Whoever adds to the list has read the function; these kinds are never harmless.
TEST(Builtins, NoHarmlessFunctionTakesTextForSqlOrReachesOut) {
  const std::set<std::string> harmless = WordsOf(sql::internal::kHarmlessFunctions);
  for (const std::string& name : harmless) {
    for (const char* word : {"_to_xml", "pg_read", "pg_ls_", "lo_", "advisory", "replication_origin", "terminate",
                             "cancel", "reload", "rotate", "switch_wal", "promote", "logical", "import", "export"}) {
      EXPECT_EQ(name.find(word), std::string::npos) << name;
    }
  }
}

}  // namespace
}  // namespace postern::sql_test
