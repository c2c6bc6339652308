// Explain() and the tests inside policies, over real SQL.
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/common/policy/policy_testing.h"

namespace postern::policy::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kPolicy = R"(apiVersion: postern/v1
kind: Policy
metadata: {name: support-desk, owner: support-eng}
subjects: [{agent: support-bot, on_behalf_of: "*@example.com", group: agents}]
targets: {databases: [shop], env: [prod]}
rules:
  - {id: lookup, effect: allow, do: [select], objects: [app.orders, app.customers],
     columns: {mask: {app.customers.email: hash}}, require: {where_on: [customer_id], limit_max: 200}}
  - {id: refund, effect: hold, do: [update], objects: [app.orders], columns: {only: [status]}, hold: {by: [leads]}}
  - {id: no-payroll, effect: deny, do: [all], objects: [app.payroll], message: Ask HR.}
)";

v1::ExplainPolicyResponse Explained(std::string_view sql) {
  const auto response = Explain(*Compiled(kPolicy), Bot(), Demo(), sql, &TestCatalog());
  EXPECT_TRUE(response.ok()) << response.status();
  return response.value_or(v1::ExplainPolicyResponse());
}

TEST(Explain, AnAllowedStatement) {
  const auto response = Explained("select id, total from app.orders where customer_id = 3 limit 10");
  EXPECT_EQ(response.decision(), "allow");
  EXPECT_EQ(response.reason(), "");
  EXPECT_EQ(response.smallest_change(), "");
  EXPECT_EQ(response.revision(), 7);
  ASSERT_EQ(response.effects_size(), 1);
  const v1::ExplainedEffect& effect = response.effects(0);
  EXPECT_EQ(effect.operation(), "select");
  EXPECT_EQ(effect.object(), "app.orders");
  EXPECT_THAT(effect.columns(), ElementsAre("customer_id", "id", "total"));
  EXPECT_EQ(effect.rule(), "support-desk/lookup");
  EXPECT_EQ(effect.path(), "test.yaml");
  EXPECT_EQ(effect.line(), 7);
}

TEST(Explain, SaysWhichMaskedColumnsConditionsMayTest) {
  const auto policy = Compiled(R"(
apiVersion: postern/v1
kind: Policy
metadata: {name: p}
subjects: [{group: agents}]
rules:
  - id: r
    effect: allow
    do: [select]
    objects: [app.customers]
    columns: {mask: {app.customers.email: hash, app.customers.city: redact}, lookup: [app.customers.email],
              count_min: {app.customers.city: 10}}
)");
  const auto explain = [&](std::string_view sql) {
    const auto response = Explain(*policy, Bot(), Demo(), sql, &TestCatalog());
    EXPECT_TRUE(response.ok()) << response.status();
    return *response;
  };
  const auto lookup = explain("select id, email from app.customers where email = 'a@example.com'");
  EXPECT_EQ(lookup.decision(), "allow") << lookup.reason();
  EXPECT_THAT(lookup.masks(),
              ElementsAre("email: hash", "app.customers.email in conditions: lookup of p/r (test.yaml:11)"));
  const auto count = explain("select count(*) from app.customers group by city having count(*) >= 10");
  EXPECT_EQ(count.decision(), "allow") << count.reason();
  EXPECT_THAT(count.masks(), ElementsAre("app.customers.city in conditions: count_min of p/r (test.yaml:11)"));
  const auto guess = explain("select id from app.customers where email like 'a%'");
  EXPECT_EQ(guess.decision(), "deny");
  EXPECT_EQ(guess.smallest_change(), "compare it by = or IN with given values");
  EXPECT_EQ(explain("select count(*) from app.customers group by city having count(*) > 3").decision(), "deny");
  EXPECT_EQ(explain("select count(*) from app.customers c, app.orders group by city having count(*) >= 10").decision(),
            "deny");
}

TEST(Explain, ANearMissNamesTheConditionAndTheChange) {
  const auto response = Explained("select id from app.orders limit 10");
  EXPECT_EQ(response.decision(), "deny");
  EXPECT_THAT(response.effects(0).near_misses(),
              ElementsAre("support-desk/lookup: needs a WHERE on customer_id (test.yaml:7)"));
  EXPECT_EQ(response.smallest_change(),
            "change the statement: restrict customer_id by = or IN with given values in the WHERE clause; then "
            "support-desk/lookup allows it");
}

TEST(Explain, NamesWhereEachColumnComesFrom) {
  const auto response =
      Explained("select email, id + customer_id as n from app.orders join app.customers using (id) where status = 'x'");
  ASSERT_EQ(response.outputs_size(), 2);
  EXPECT_EQ(response.outputs(0).name(), "email");
  EXPECT_THAT(response.outputs(0).sources(), ElementsAre("app.customers.email"));
  EXPECT_TRUE(response.outputs(0).unchanged());
  EXPECT_FALSE(response.outputs(1).unchanged());
  EXPECT_THAT(response.outputs(1).sources(), ::testing::IsSupersetOf({"app.orders.id", "app.orders.customer_id"}));
  EXPECT_THAT(response.tested(), ::testing::Contains("app.orders.status"));
  EXPECT_EQ(Explained("select email from app.customers where id = 1").outputs(0).mask(), "");
  const auto masked = Explain(*Compiled(R"(
apiVersion: postern/v1
kind: Policy
metadata: {name: p}
subjects: [{group: agents}]
rules: [{id: r, effect: allow, do: [read, write], columns: {mask: {app.customers.email: hash}}}]
)"),
                              Bot(), Demo(), "select email as e from app.customers", &TestCatalog());
  ASSERT_TRUE(masked.ok());
  EXPECT_EQ(masked->outputs(0).mask(), "hash");
}

TEST(Explain, EveryEffectThatIsDeniedMustChange) {
  const auto response = Explained(
      "with d as (delete from app.orders where id = 1 returning id) select salary from "
      "app.payroll, d");
  EXPECT_EQ(response.decision(), "deny");
  EXPECT_THAT(response.smallest_change(), HasSubstr("add `delete` to `do` of support-desk/"));
  EXPECT_THAT(response.smallest_change(),
              HasSubstr("; and change the policy: narrow or remove support-desk/no-payroll"));
}

TEST(Explain, AHeldStatementNeedsAPerson) {
  const auto response = Explained("update app.orders set status = 'refunded' where id = 42");
  EXPECT_EQ(response.decision(), "hold");
  EXPECT_EQ(response.smallest_change(), "an approval: a member of leads must approve");
}

TEST(Explain, ADenyRuleIsTheThingToChange) {
  const auto response = Explained("select salary from app.payroll");
  EXPECT_EQ(response.decision(), "deny");
  EXPECT_THAT(response.reason(), HasSubstr("denied by support-desk/no-payroll (test.yaml:10)"));
  EXPECT_EQ(response.smallest_change(), "change the policy: narrow or remove support-desk/no-payroll (test.yaml:10)");
}

TEST(Explain, TheWorstOfSeveralStatementsDecides) {
  const auto response = Explained("select 1; drop table app.orders; update app.orders set status = 'x'");
  EXPECT_EQ(response.decision(), "deny");
  EXPECT_THAT(response.reason(), HasSubstr("statement 2: drop on app.orders"));
}

TEST(Explain, SyntaxErrorsAreErrors) {
  EXPECT_EQ(Explain(*Compiled(kPolicy), Bot(), Demo(), "selec 1", &TestCatalog()).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Explain, ShowsWhatIsForwardedWithPlaceholders) {
  const auto policy = Compiled(R"(
apiVersion: postern/v1
kind: Policy
metadata: {name: p}
subjects: [{group: agents}]
rules:
  - id: read
    effect: allow
    do: [select]
    columns: {mask: {app.customers.email: hash}, in_expression: placeholder}
)");
  const auto explained = Explain(*policy, Bot(), Demo(), "SELECT upper(email) FROM app.customers c", &TestCatalog());
  ASSERT_TRUE(explained.ok()) << explained.status();
  EXPECT_EQ(explained->decision(), "allow");
  EXPECT_THAT(explained->forwarded_sql(), HasSubstr("NULL::pg_catalog.text AS \"email\""));
  EXPECT_THAT(explained->masks(), ::testing::Contains("app.customers.email: placeholder"));
  const auto bare = Explain(*policy, Bot(), Demo(), "SELECT email FROM app.customers c", &TestCatalog());
  EXPECT_EQ(bare->forwarded_sql(), "");
}

class NoCatalogs : public CatalogSource {
 public:
  std::shared_ptr<const sql::Catalog> Find(std::string_view, std::string_view) const override { return nullptr; }
};

std::vector<v1::PolicyTestResult> RunOwn(std::string_view tests) {
  return RunTests(Parse(std::string(kPolicy) + "tests:\n" + std::string(tests)), NoCatalogs());
}

TEST(RunTests, PassesWhatComesOutAsExpected) {
  const auto results = RunOwn(R"(
  - {name: a, as: {agent: support-bot, on_behalf_of: z@example.com}, db: shop, sql: "select * from app.orders", expect: deny}
  - {name: b, sql: "update app.orders set status='refunded' where id=42", expect: hold, rule: refund}
  - {name: c, sql: "select salary from app.payroll", expect: deny, rule: support-desk/no-payroll}
  - {name: d, as: {agent: other}, sql: "select 1", expect: deny}
  - {name: e, as: {group: others}, sql: "select 1", expect: deny}
  - {name: f, db: elsewhere, sql: "select 1", expect: deny}
)");
  ASSERT_EQ(results.size(), 6u);
  for (const v1::PolicyTestResult& result : results) EXPECT_TRUE(result.passed()) << result.name() << result.detail();
  EXPECT_EQ(results[1].policy(), "support-desk");
  EXPECT_EQ(results[1].path(), "test.yaml");
  EXPECT_EQ(results[1].line(), 14);
}

TEST(RunTests, FailsWhatDoesNot) {
  const auto results = RunOwn(R"(
  - {name: verdict, sql: "select 1", expect: deny}
  - {name: rule, sql: "select salary from app.payroll", expect: deny, rule: lookup}
  - {name: syntax, sql: "selec 1", expect: deny}
)");
  ASSERT_EQ(results.size(), 3u);
  for (const v1::PolicyTestResult& result : results) EXPECT_FALSE(result.passed()) << result.name();
  EXPECT_EQ(results[0].detail(), "expected deny, got allow");
  EXPECT_THAT(results[1].detail(),
              HasSubstr("expected deny by lookup, got deny by support-desk/no-payroll: denied by"));
  EXPECT_THAT(results[2].detail(), HasSubstr("cannot be read"));
}

}  // namespace
}  // namespace postern::policy::testing
