// What the tests of common/policy share: a catalog, statements made by hand, policies from YAML.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/policy/policy.h"

namespace postern::policy::testing {

// customers 100 (id, name, email, phone, city), orders 101 (id, customer_id, status, total), its partition orders_2025
// 102, payroll 103 (id, salary), and the view customer_view 104 (id, email). All in schema app.
const sql::Catalog& TestCatalog();
inline constexpr sql::Oid kCustomers = 100;
inline constexpr sql::Oid kOrders = 101;
inline constexpr sql::Oid kOrders2025 = 102;
inline constexpr sql::Oid kPayroll = 103;
inline constexpr sql::Oid kCustomerView = 104;

// Adds a relation with text columns to the schema of oid 10, which the caller has made.
void AddRelation(v1::CatalogContents* contents, sql::Oid oid, const char* name, const char* kind,
                 const std::vector<const char*>& columns, std::vector<sql::Oid> parents = {});

// Id of "customers.email" and the like in TestCatalog().
sql::ColumnId Col(std::string_view relation_dot_column);

// An effect on a relation of TestCatalog() ("orders"), or one that it does not know ("app.other").
sql::Effect On(sql::Operation operation, std::string_view relation, std::vector<std::string> columns = {});
// On something that is no relation.
sql::Effect Of(sql::Operation operation, sql::ObjectKind kind = sql::ObjectKind::kNone, std::string schema = "",
               std::string name = "");
sql::Statement Statement(std::vector<sql::Effect> effects);
// A query whose outputs are these columns of one relation, unchanged.
sql::Statement SelectColumns(std::string_view relation, std::vector<std::string> columns);

// Policies from YAML; the test fails on any error.
std::vector<v1::Policy> Parse(std::string_view yaml);
std::shared_ptr<const CompiledPolicy> Compiled(std::string_view yaml);

// support-bot in group agents, on target demo (database shop, env prod), asking for all.
const Subject& Bot();
const TargetView& Demo();
IntentView All();

// Judges for Bot() on Demo().
Decision JudgeFor(const CompiledPolicy& policy, const sql::Statement& statement, const IntentView& intent = All());

}  // namespace postern::policy::testing
