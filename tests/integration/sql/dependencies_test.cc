// Names, origins and relations: what analysis says of the golden queries, held against what the server says.
#include <algorithm>
#include <map>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/integration/sql/shop_server.h"
#include "tests/unit/common/sql/catalog_text.h"

namespace postern::sql_test {
namespace {

// The name of a view that no server could have: its query does not work.
constexpr std::string_view kNoSuchView = "app.broken";

std::string Describe(const sql::Catalog& catalog, const sql::Relation& relation) {
  std::string text(1, static_cast<char>(relation.kind));
  for (const sql::Column& column : relation.columns) {
    text += fmt::format(" {}{}", column.name, column.generated ? " generated" : "");
  }
  for (const sql::Oid oid : relation.parents) {
    const sql::Relation* parent = catalog.FindRelation(oid);
    text += fmt::format(" of {}.{}", parent->schema, parent->name);
  }
  return text + (relation.has_triggers ? " triggers" : "") + (relation.has_rules ? " rules" : "");
}

TEST(Shop, IsTheGoldenCatalog) {
  const auto golden = sql::CatalogFromText(sql::ReadGoldenText("shop.catalog"));
  int relations = 0;
  for (const sql::Relation& relation : golden->relations()) {
    const std::string name = fmt::format("{}.{}", relation.schema, relation.name);
    if (name == kNoSuchView) continue;
    const sql::Relation* real = ShopCatalog().FindRelation(relation.schema, relation.name);
    ASSERT_NE(real, nullptr) << name;
    EXPECT_EQ(Describe(*golden, relation), Describe(ShopCatalog(), *real)) << name;
    ++relations;
  }
  for (const sql::Relation& real : ShopCatalog().relations()) {
    if (real.schema == "app" || real.schema == "crm" || real.schema == "scratch") {
      EXPECT_NE(golden->FindRelation(real.schema, real.name), nullptr) << real.schema << "." << real.name;
    }
  }
  EXPECT_GT(relations, 20);
}

// What the server says of a column's origin is what analysis has said, or it knows less: a cast that does nothing is
// gone by then. Rows and system columns have origins without a column of their own.
void ExpectOrigin(const Query& query, const sql::OutputColumn& output, const Result& described, int column) {
  const sql::ColumnId said{PQftable(described.get(), column),
                           static_cast<int16_t>(PQftablecol(described.get(), column))};
  if (output.origin.has_value()) {
    EXPECT_EQ(NameOf(*output.origin), said.relation == 0 ? "none" : NameOf(said))
        << query.place << ": column " << column + 1 << " of " << query.text;
    return;
  }
  if (said.relation == 0 || said.attnum <= 0) return;
  EXPECT_THAT(output.sources, testing::Contains(said))
      << query.place << ": column " << column + 1 << " is " << NameOf(said) << " in " << query.text;
}

// A case that says so in its title need not be SQL to Postgres: analysis may take more than it does.
bool MayBeRefused(const Query& query) {
  // Functions of extensions that are not there.
  return std::any_of(query.statement.effects.begin(), query.statement.effects.end(),
                     [](const sql::Effect& effect) { return effect.operation == sql::Operation::kUnsafeFunction; });
}
bool PostgresRefuses(const Query& query) { return query.title.find("refuse") != std::string::npos; }

TEST(Shop, OutputsComeFromWhereTheServerSays) {
  const Shop shop;
  int compared = 0;
  for (const Query& query : GoldenQueries()) {
    shop.UsePath(query.file->session.search_path);
    const Result prepared(PQprepare(shop.conn(), "", query.text.c_str(), 0, nullptr));
    if (!MayBeRefused(query)) {
      EXPECT_NE(Good(prepared), PostgresRefuses(query))
          << query.place << ": " << query.text << PQerrorMessage(shop.conn());
    }
    if (!Good(prepared)) continue;
    const Result described(PQdescribePrepared(shop.conn(), ""));
    ASSERT_TRUE(Good(described)) << query.place;
    const sql::Statement& statement = query.statement;
    if (!statement.outputs_known) continue;
    ASSERT_EQ(static_cast<size_t>(PQnfields(described.get())), statement.outputs.size()) << query.place << query.text;
    for (int i = 0; i < PQnfields(described.get()); ++i) {
      const sql::OutputColumn& output = statement.outputs[static_cast<size_t>(i)];
      EXPECT_EQ(output.name, PQfname(described.get(), i)) << query.place << ": " << query.text;
      ExpectOrigin(query, output, described, i);
    }
    ++compared;
  }
  EXPECT_GT(compared, 400);
}

void RelationsOf(const nlohmann::json& plan, std::set<std::string>* names) {
  if (plan.is_object() && plan.contains("Relation Name")) {
    names->insert(fmt::format("{}.{}", plan.value("Schema", ""), plan.value("Relation Name", "")));
  }
  if (!plan.is_structured()) return;
  for (const auto& part : plan) RelationsOf(part, names);
}

// Parameters are NULL; the generic plan keeps what a planner that knows them could leave out.
std::string ExplainText(const Query& query) {
  std::string nulls;
  for (int i = 0; i < query.statement.parameter_count; ++i) nulls += i == 0 ? "(NULL" : ", NULL";
  return fmt::format("EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE each{}", nulls.empty() ? "" : nulls + ")");
}

TEST(Shop, EveryRelationOfThePlanIsNamed) {
  const Shop shop;
  shop.Run("SET plan_cache_mode = force_generic_plan");
  int compared = 0;
  for (const Query& query : GoldenQueries()) {
    // No wrapper stands behind that table.
    if (query.text.find("remote_prices") != std::string::npos) continue;
    shop.UsePath(query.file->session.search_path);
    if (!Good(shop.Try("PREPARE each AS " + query.text))) continue;
    const Result explained = shop.Try(ExplainText(query));
    ASSERT_TRUE(Good(explained)) << query.place << ": " << PQerrorMessage(shop.conn());
    shop.Run("DEALLOCATE each");
    std::set<std::string> named;
    for (const sql::Oid oid : query.statement.relations) {
      const sql::Relation* relation = ShopCatalog().FindRelation(oid);
      named.insert(fmt::format("{}.{}", relation->schema, relation->name));
    }
    std::set<std::string> planned;
    RelationsOf(nlohmann::json::parse(PQgetvalue(explained.get(), 0, 0)), &planned);
    // What a SQL function or a system view reads is another's statement.
    std::erase_if(planned, [](const std::string& name) { return name.starts_with("pg_catalog."); });
    EXPECT_THAT(named, testing::IsSupersetOf(planned)) << query.place << ": " << query.text;
    ++compared;
  }
  EXPECT_GT(compared, 400);
}

using Columns = std::map<std::string, std::set<std::string>>;

// Columns that the rule of a view made of the query depends on, by relation.
Columns DependenciesOf(const Shop& shop, const Query& query) {
  std::string names;
  for (size_t i = 0; i < query.statement.outputs.size(); ++i) names += fmt::format("{}c{}", i == 0 ? "" : ", ", i);
  Columns columns;
  shop.Run("BEGIN");
  if (Good(shop.Try(fmt::format("CREATE VIEW scratch.each ({}) AS {}", names, query.text)))) {
    const Result rows = shop.Run(
        "SELECT n.nspname || '.' || c.relname, a.attname FROM pg_catalog.pg_depend d "
        "JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_catalog.pg_rewrite'::regclass "
        "JOIN pg_catalog.pg_class c ON c.oid = d.refobjid AND d.refclassid = 'pg_catalog.pg_class'::regclass "
        "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid AND a.attnum <> 0 "
        "WHERE r.ev_class = 'scratch.each'::regclass AND c.oid <> r.ev_class");
    for (int i = 0; i < PQntuples(rows.get()); ++i) {
      std::set<std::string>& of = columns[PQgetvalue(rows.get(), i, 0)];
      if (PQgetisnull(rows.get(), i, 1) == 0) of.insert(PQgetvalue(rows.get(), i, 1));
    }
  } else {
    columns["(no view can be made of it)"];
  }
  shop.Run("ROLLBACK");
  return columns;
}

TEST(Shop, EffectsNameTheColumnsThatAViewWouldDependOn) {
  const Shop shop;
  int compared = 0;
  for (const Query& query : GoldenQueries()) {
    if (query.statement.parameter_count > 0 || !query.statement.outputs_known || query.statement.outputs.empty())
      continue;
    shop.UsePath(query.file->session.search_path);
    const Columns server = DependenciesOf(shop, query);
    if (server.contains("(no view can be made of it)")) continue;
    Columns mine;
    std::set<std::string> whole;
    for (const sql::Effect& effect : query.statement.effects) {
      if ((effect.operation != sql::Operation::kSelect && effect.operation != sql::Operation::kStatistics) ||
          effect.derived || effect.object_kind != sql::ObjectKind::kRelation)
        continue;
      const std::string name = fmt::format("{}.{}", effect.schema, effect.name);
      mine[name].insert(effect.columns.begin(), effect.columns.end());
      if (effect.all_columns) whole.insert(name);
    }
    for (const auto& [relation, columns] : server) {
      // So is the type of a field that is taken out.
      if (relation.starts_with("pg_catalog.") || relation == "app.address") continue;
      // A name in a string, as in 'app.orders'::regclass, or in a cast is a dependency, and is not read.
      const bool type_of_cast = query.text.find("::" + relation) != std::string::npos;
      if ((columns.empty() || type_of_cast) && !mine.contains(relation)) continue;
      ASSERT_TRUE(mine.contains(relation)) << query.place << ": " << relation << " in " << query.text;
      // A whole row depends on no column by name, and a field taken out of one is counted as the row.
      const bool rows = query.text.find(".*") != std::string::npos || query.text.find(").") != std::string::npos;
      if (rows || whole.contains(relation)) {
        EXPECT_THAT(mine[relation], testing::IsSupersetOf(columns)) << query.place << ": " << relation;
      } else {
        EXPECT_EQ(mine[relation], columns) << query.place << ": " << relation << " in " << query.text;
      }
    }
    ++compared;
  }
  EXPECT_GT(compared, 300);
}

}  // namespace
}  // namespace postern::sql_test
