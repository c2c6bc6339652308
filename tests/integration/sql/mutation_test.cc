// What lineage means: change the values of one column, and nothing else changes than what was said to depend on it.
#include <algorithm>
#include <map>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "tests/integration/sql/shop_server.h"

namespace postern::sql_test {
namespace {

// The values of each output column, in no order.
struct Answer {
  bool failed = false;
  std::vector<std::vector<std::string>> columns;
};

Answer Ask(const Shop& shop, const Query& query) {
  Answer answer;
  const Result rows = shop.Try(query.text);
  answer.failed = !Good(rows);
  if (answer.failed) {
    shop.Run("ROLLBACK TO SAVEPOINT each");
    shop.UsePath(query.file->session.search_path);
  }
  for (int column = 0; column < PQnfields(rows.get()); ++column) {
    std::vector<std::string>& values = answer.columns.emplace_back();
    for (int row = 0; row < PQntuples(rows.get()); ++row) {
      const bool null = PQgetisnull(rows.get(), row, column) == 1;
      values.push_back(null ? "(null)" : "'" + std::string(PQgetvalue(rows.get(), row, column)));
    }
    std::sort(values.begin(), values.end());
  }
  return answer;
}

struct Mutation {
  sql::ColumnId column;
  std::string sql;
};

// Two for every column of every table: other values, and one value for all rows.
std::vector<Mutation> Mutations(const Shop& shop) {
  std::vector<Mutation> mutations;
  for (const sql::Relation& relation : ShopCatalog().relations()) {
    const bool table =
        relation.kind == sql::RelationKind::kTable || relation.kind == sql::RelationKind::kPartitionedTable;
    if (!table || (relation.schema != "app" && relation.schema != "crm" && relation.schema != "scratch")) continue;
    for (const sql::Column& column : relation.columns) {
      if (column.generated) continue;
      const Result type = shop.Run(fmt::format("SELECT {}::oid::regtype", column.type));
      const std::string name = PQgetvalue(type.get(), 0, 0);
      std::vector<std::string> values;
      if (name == "text") values = {"{0} || '~'", "'same'"};
      if (name == "integer") values = {"{0} + 1000", "7"};
      if (name == "numeric") values = {"{0} + 1000", "7"};
      if (name == "timestamp with time zone") values = {"coalesce({0}, now()) + interval '400 days'"};
      if (name == "text[]") values = {"array_append({0}, 'more')"};
      if (name == "integer[]") values = {"array_append({0}, 1000)"};
      if (name == "jsonb") values = {"{0} || '{{\"k\": 1000, \"name\": \"other\"}}'"};
      if (name == "app.address") values = {"ROW('elsewhere', 'other')"};
      EXPECT_FALSE(values.empty()) << name;
      // Another partition key is another partition, and keys must stay unique.
      if (relation.name.starts_with("events") && column.name == "at") continue;
      if (column.name == "id" || relation.name == "profiles") values.resize(1);
      for (const std::string& value : values) {
        mutations.push_back({{relation.oid, column.attnum},
                             fmt::format("UPDATE {}.{} SET {} = {}", relation.schema, relation.name, column.name,
                                         fmt::format(fmt::runtime(value), column.name))});
      }
    }
  }
  return mutations;
}

bool Has(const std::vector<sql::ColumnId>& columns, const std::vector<sql::ColumnId>& any) {
  return std::any_of(any.begin(), any.end(), [&](const sql::ColumnId& column) {
    return std::find(columns.begin(), columns.end(), column) != columns.end();
  });
}

// The column, and that of the same name in the tables above and below: a part's rows are rows of the whole.
std::vector<sql::ColumnId> WithRelatives(const sql::ColumnId& column) {
  const sql::Relation* relation = ShopCatalog().FindRelation(column.relation);
  const std::string name = relation->columns[static_cast<size_t>(column.attnum) - 1].name;
  std::vector<const sql::Relation*> relatives = ShopCatalog().Descendants(relation->oid);
  for (const sql::Oid parent : relation->parents) relatives.push_back(ShopCatalog().FindRelation(parent));
  std::vector<sql::ColumnId> columns = {column};
  for (const sql::Relation* relative : relatives) {
    if (const sql::Column* same = relative->FindColumn(name)) columns.push_back({relative->oid, same->attnum});
  }
  return columns;
}

// True of queries whose answer is another each time, or tells where rows lie.
bool IsUnsteady(const std::string& text) {
  for (const char* word :
       {"ctid", "xmin", "random", "now()", "clock", "CURRENT_", "pg_sleep", "pg_relation_size", "txid", "TABLESAMPLE",
        "pg_stat", "pg_class", "pg_total", "pg_settings", "val(", "set_config", "setseed"}) {
    if (text.find(word) != std::string::npos) return true;
  }
  return false;
}

// What the views below a statement test by themselves: that is for their authors, and no statement says it.
void AddViewPredicates(const std::vector<sql::Effect>& effects, std::vector<sql::ColumnId>* predicates) {
  for (const sql::Effect& effect : effects) {
    const sql::Relation* view = ShopCatalog().FindRelation(effect.oid);
    if (view == nullptr || view->kind != sql::RelationKind::kView || view->schema == "pg_catalog") continue;
    const auto analysis = sql::Analyze(view->view_definition, ShopCatalog(), sql::SessionView());
    ASSERT_TRUE(analysis.ok()) << view->name;
    const sql::Statement& statement = analysis->statements[0];
    predicates->insert(predicates->end(), statement.predicates.begin(), statement.predicates.end());
    AddViewPredicates(statement.effects, predicates);
  }
}

// Nothing that would end a session, write, or sleep.
bool OnlyReads(const sql::Statement& statement) {
  return std::all_of(statement.effects.begin(), statement.effects.end(), [](const sql::Effect& effect) {
    return effect.operation == sql::Operation::kSelect || effect.operation == sql::Operation::kCall ||
           effect.operation == sql::Operation::kLock;
  });
}

void Compare(const Query& query, const Mutation& mutation, const Answer& before, const Answer& after) {
  const sql::Statement& statement = query.statement;
  const std::vector<sql::ColumnId> changed = WithRelatives(mutation.column);
  std::vector<sql::ColumnId> predicates = statement.predicates;
  AddViewPredicates(statement.effects, &predicates);
  if (Has(predicates, changed)) return;
  if (after.failed) {
    EXPECT_TRUE(Has(statement.computed, changed))
        << query.place << ": fails after " << mutation.sql << ", and is not computed from it: " << query.text;
    return;
  }
  ASSERT_EQ(before.columns.size(), after.columns.size()) << query.place;
  for (size_t i = 0; i < before.columns.size(); ++i) {
    if (before.columns[i] == after.columns[i]) continue;
    // A function that returns rows says how many there are.
    if (before.columns[i].size() != after.columns[i].size() && Has(statement.computed, changed)) continue;
    const bool known = statement.outputs_known && !statement.outputs[i].opaque;
    if (!known) continue;
    EXPECT_TRUE(Has(statement.outputs[i].sources, changed))
        << query.place << ": column " << i + 1 << " changes after " << mutation.sql << ": " << query.text;
  }
}

TEST(Mutations, ChangeOnlyWhatWasSaidToDependOnThem) {
  const Shop shop;
  std::vector<const Query*> queries;
  std::vector<Answer> answers;
  shop.Run("BEGIN; SAVEPOINT each");
  for (const Query& query : GoldenQueries()) {
    if (query.statement.parameter_count > 0 || IsUnsteady(query.text) || !OnlyReads(query.statement)) continue;
    shop.UsePath(query.file->session.search_path);
    Answer answer = Ask(shop, query);
    if (answer.failed) continue;  // at run time: of what it says, nothing can be seen
    queries.push_back(&query);
    answers.push_back(std::move(answer));
  }
  shop.Run("ROLLBACK");
  EXPECT_GT(queries.size(), 300U);
  int changes = 0;
  for (const Mutation& mutation : Mutations(shop)) {
    shop.Run("BEGIN");
    shop.Run(mutation.sql);
    shop.Run("SAVEPOINT each");
    for (size_t i = 0; i < queries.size(); ++i) {
      if (i == 0 || queries[i]->file != queries[i - 1]->file) shop.UsePath(queries[i]->file->session.search_path);
      const Answer after = Ask(shop, *queries[i]);
      if (after.failed || after.columns != answers[i].columns) ++changes;
      Compare(*queries[i], mutation, answers[i], after);
    }
    shop.Run("ROLLBACK");
  }
  // A test that changes nothing proves nothing.
  EXPECT_GT(changes, 1000);
  RecordProperty("queries", static_cast<int>(queries.size()));
  RecordProperty("changes", changes);
}

}  // namespace
}  // namespace postern::sql_test
