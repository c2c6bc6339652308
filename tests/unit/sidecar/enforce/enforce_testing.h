// A small shop: catalog, policy and session that the tests of this room share.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "sidecar/enforce/enforcer.h"

namespace postern::sidecar::testing {

inline constexpr sql::Oid kCustomers = 20001;
inline constexpr sql::Oid kOrders = 20002;
inline constexpr sql::Oid kAudited = 20003;  // has a trigger
inline constexpr sql::ColumnId kEmail{kCustomers, 3};

// app.customers(id, name, email, born date), app.orders(id, customer_id, status), app.audited(id); evil.customers(id,
// name, email, born).
inline v1::CatalogContents ShopContents() {
  v1::CatalogContents contents;
  contents.set_server_version(150020);
  for (const auto& [type_oid, name] :
       {std::pair(23u, "pg_catalog.int4"), std::pair(25u, "pg_catalog.text"), std::pair(1082u, "pg_catalog.date")}) {
    auto* type = contents.add_types();
    type->set_oid(type_oid);
    type->set_name(name);
  }
  uint32_t oid = 11;
  for (const char* name : {"pg_catalog", "app", "evil", "public"}) {
    auto* schema = contents.add_schemas();
    schema->set_oid(oid++);
    schema->set_name(name);
  }
  const auto add = [&contents](uint32_t relation_oid, uint32_t schema, const char* name,
                               std::initializer_list<std::pair<const char*, uint32_t>> columns) {
    auto* relation = contents.add_relations();
    relation->set_oid(relation_oid);
    relation->set_schema_oid(schema);
    relation->set_name(name);
    relation->set_relkind("r");
    int attnum = 1;
    for (const auto& [column_name, type] : columns) {
      auto* column = relation->add_columns();
      column->set_name(column_name);
      column->set_attnum(attnum++);
      column->set_type_oid(type);
    }
    return relation;
  };
  add(kCustomers, 12, "customers", {{"id", 23}, {"name", 25}, {"email", 25}, {"born", 1082}});
  add(kOrders, 12, "orders", {{"id", 23}, {"customer_id", 23}, {"status", 25}});
  add(kAudited, 12, "audited", {{"id", 23}})->set_has_triggers(true);
  add(20004, 13, "customers", {{"id", 23}, {"name", 25}, {"email", 25}, {"born", 1082}});
  return contents;
}

inline constexpr std::string_view kShopPolicy = R"(
apiVersion: postern/v1
kind: Policy
metadata: {name: shop, owner: desk}
subjects: [{agent: bot}]
targets: {databases: [shop]}
session: {ttl: 10m}
rules:
  - {id: read, effect: allow, do: [select, copy_out], objects: [app.*],
     columns: {mask: {app.customers.email: hash, app.customers.born: year}}}
  - {id: write, effect: allow, do: [insert, update, copy_in], objects: [app.*]}
  - {id: remove, effect: hold, do: [delete], objects: [app.orders], hold: {by: [leads]}}
  - {id: shape, effect: allow, do: [create, alter], objects: ["*.*"]}
  - {id: never, effect: deny, do: [truncate], objects: [app.orders], message: orders are kept}
)";

inline std::shared_ptr<const policy::CompiledPolicy> Compile(std::string_view yaml, int64_t revision = 1) {
  v1::PolicyDocument document;
  document.set_path("shop.yaml");
  document.set_text(std::string(yaml));
  const policy::LoadResult loaded = policy::Load({document});
  v1::PolicySet set;
  set.set_revision(revision);
  for (const v1::Policy& policy : loaded.policies) *set.add_policies() = policy;
  auto compiled = policy::CompiledPolicy::Compile(set);
  if (!loaded.ok() || !compiled.ok()) {
    std::string problems(compiled.status().message());
    for (const auto& finding : loaded.findings) problems += "\n" + finding.message();
    throw std::runtime_error(problems);  // a mistake of the test's own
  }
  return *compiled;
}

inline SessionIdentity Bot() {
  return SessionIdentity::Make({"bot", "ann@example.com", {}}, {"shop-db", "shop", "prod"}, {{"all"}, {}}, "app_bot");
}

// An Enforcer with the shop's catalog, and a session on it.
struct Shop {
  Shop() {
    enforcer.SetCatalog(sql::Catalog::Build(ShopContents()));
    state.SetDefaults({"app", "public"}, "app_bot");
  }
  std::shared_ptr<const Plan> Judge(std::string_view text) { return enforcer.Judge(identity, state, *policy, text); }
  // Judges `text`, which must have one statement, and lets the server complete it.
  void Run(std::string_view text, std::string_view tag = "") {
    const auto plan = Judge(text);
    for (size_t i = 0; plan->analysis != nullptr && i < plan->analysis->statements.size(); ++i) {
      const sql::Statement& statement = plan->analysis->statements[i];
      state.OnStatementComplete(statement, *plan, i, tag.empty() ? std::string_view(statement.tag) : tag);
    }
  }
  // The same as a message of its own, after which the server is in `status`.
  void Query(std::string_view text, char status = 'I', std::string_view tag = "") {
    state.OnQueryStart();
    Run(text, tag);
    state.OnReadyForQuery(status);
  }

  Enforcer enforcer;
  SessionState state;
  SessionIdentity identity = Bot();
  std::shared_ptr<const policy::CompiledPolicy> policy = Compile(kShopPolicy);
};

}  // namespace postern::sidecar::testing
