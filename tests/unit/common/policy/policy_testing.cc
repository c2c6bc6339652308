#include "tests/unit/common/policy/policy_testing.h"

#include <algorithm>

#include "gtest/gtest.h"

namespace postern::policy::testing {
void AddRelation(v1::CatalogContents* contents, sql::Oid oid, const char* name, const char* kind,
                 const std::vector<const char*>& columns, std::vector<sql::Oid> parents) {
  v1::CatalogContents::Relation* relation = contents->add_relations();
  relation->set_oid(oid);
  relation->set_schema_oid(10);
  relation->set_name(name);
  relation->set_relkind(kind);
  for (size_t i = 0; i < columns.size(); ++i) {
    v1::CatalogContents::Column* column = relation->add_columns();
    column->set_name(columns[i]);
    column->set_attnum(static_cast<int>(i) + 1);
    column->set_type_oid(25);
  }
  for (const sql::Oid parent : parents) relation->add_parents(parent);
}

const sql::Catalog& TestCatalog() {
  static const std::shared_ptr<const sql::Catalog> catalog = [] {
    v1::CatalogContents contents;
    contents.set_server_version(150000);
    v1::CatalogContents::Type* text = contents.add_types();
    text->set_oid(25);
    text->set_name("pg_catalog.text");
    v1::CatalogContents::Schema* schema = contents.add_schemas();
    schema->set_oid(10);
    schema->set_name("app");
    AddRelation(&contents, kCustomers, "customers", "r", {"id", "name", "email", "phone", "city"});
    AddRelation(&contents, kOrders, "orders", "p", {"id", "customer_id", "status", "total"});
    AddRelation(&contents, kOrders2025, "orders_2025", "r", {"total", "id", "customer_id", "status"}, {kOrders});
    AddRelation(&contents, kPayroll, "payroll", "r", {"id", "salary"});
    AddRelation(&contents, kCustomerView, "customer_view", "v", {"id", "email"});
    return sql::Catalog::Build(contents);
  }();
  return *catalog;
}

sql::ColumnId Col(std::string_view relation_dot_column) {
  const size_t dot = relation_dot_column.find('.');
  const sql::Relation* relation = TestCatalog().FindRelation("app", relation_dot_column.substr(0, dot));
  const sql::Column* column = relation == nullptr ? nullptr : relation->FindColumn(relation_dot_column.substr(dot + 1));
  if (column == nullptr) {
    ADD_FAILURE() << "no column " << relation_dot_column;
    return {};
  }
  return {relation->oid, column->attnum};
}

sql::Effect On(sql::Operation operation, std::string_view relation, std::vector<std::string> columns) {
  sql::Effect effect;
  effect.operation = operation;
  effect.object_kind = sql::ObjectKind::kRelation;
  const size_t dot = relation.find('.');
  effect.schema = dot == std::string_view::npos ? "app" : std::string(relation.substr(0, dot));
  effect.name = std::string(dot == std::string_view::npos ? relation : relation.substr(dot + 1));
  const sql::Relation* known = TestCatalog().FindRelation(effect.schema, effect.name);
  if (known != nullptr) effect.oid = known->oid;
  effect.columns = std::move(columns);
  std::sort(effect.columns.begin(), effect.columns.end());
  return effect;
}

sql::Effect Of(sql::Operation operation, sql::ObjectKind kind, std::string schema, std::string name) {
  sql::Effect effect;
  effect.operation = operation;
  effect.object_kind = kind;
  effect.schema = std::move(schema);
  effect.name = std::move(name);
  return effect;
}

sql::Statement Statement(std::vector<sql::Effect> effects) {
  sql::Statement statement;
  statement.kind = sql::StatementKind::kUtility;
  statement.outputs_known = true;
  for (const sql::Effect& effect : effects) {
    if (effect.oid != 0) statement.relations.push_back(effect.oid);
  }
  statement.effects = std::move(effects);
  return statement;
}

sql::Statement SelectColumns(std::string_view relation, std::vector<std::string> columns) {
  sql::Statement statement = Statement({On(sql::Operation::kSelect, relation, columns)});
  statement.kind = sql::StatementKind::kQuery;
  for (const std::string& column : columns) {
    sql::OutputColumn& output = statement.outputs.emplace_back();
    output.name = column;
    output.bare = Col(std::string(relation) + "." + column);
    output.sources = {*output.bare};
  }
  return statement;
}

std::vector<v1::Policy> Parse(std::string_view yaml) {
  v1::PolicyDocument document;
  document.set_path("test.yaml");
  document.set_text(std::string(yaml));
  LoadResult loaded = Load({document});
  for (const v1::PolicyFinding& finding : loaded.findings) {
    EXPECT_NE(finding.severity(), v1::PolicyFinding::ERROR) << finding.line() << ": " << finding.message();
  }
  return loaded.policies;
}

std::shared_ptr<const CompiledPolicy> Compiled(std::string_view yaml) {
  v1::PolicySet set;
  set.set_revision(7);
  for (const v1::Policy& policy : Parse(yaml)) *set.add_policies() = policy;
  auto compiled = CompiledPolicy::Compile(set);
  EXPECT_TRUE(compiled.ok()) << compiled.status();
  return compiled.ok() ? *compiled : nullptr;
}

const Subject& Bot() {
  static const Subject bot{"support-bot", "z@example.com", {"agents"}};
  return bot;
}

const TargetView& Demo() {
  static const TargetView demo{"demo", "shop", "prod"};
  return demo;
}

IntentView All() { return {{"all"}, {}}; }

Decision JudgeFor(const CompiledPolicy& policy, const sql::Statement& statement, const IntentView& intent) {
  return policy.Judge(Bot(), Demo(), intent, statement, TestCatalog());
}

}  // namespace postern::policy::testing
