// Suggest(): what ran runs again under what it writes, and what is next to it does not.
#include "common/policy/suggest.h"

#include <string>
#include <vector>

#include "common/policy/judge_text.h"
#include "common/policy/vocabulary.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/common/policy/policy_testing.h"

namespace postern::policy::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr std::string_view kWide = R"(apiVersion: postern/v1
kind: Policy
metadata: {name: wide}
subjects: [{agent: support-bot}]
targets: {databases: [shop], env: [prod]}
session: {role: app_support, ttl: 20m, statement_timeout: 5s, audit: strict}
rules:
  - id: everything
    effect: allow
    do: [all]
    columns:
      mask: {app.customers.email: email_domain, app.customers.city: redact, app.payroll.salary: "null"}
      lookup: [app.customers.email]
      probes_max: 9
  - {id: removal, effect: hold, do: [delete], objects: [app.orders], affected: {rows_max: 3}, hold: {by: [leads], approvals: 2}}
)";

class Catalogs : public CatalogSource {
 public:
  std::shared_ptr<const sql::Catalog> Find(std::string_view /*target*/, std::string_view /*database*/) const override {
    return {std::shared_ptr<void>(), &TestCatalog()};
  }
};

// The records of a session of Bot() under `policy`, as the gate would have written them.
class Session {
 public:
  explicit Session(std::string_view policy = kWide) : policy_(Compiled(policy)) {}

  Session& Run(std::string_view sql) {
    const auto judged = JudgeText(*policy_, Bot(), Demo(), sql, &TestCatalog());
    EXPECT_TRUE(judged.ok()) << judged.status();
    v1::AuditRecord record;
    record.set_kind(v1::STATEMENT_INTENT);
    record.set_agent(Bot().agent);
    record.set_on_behalf_of(Bot().on_behalf_of);
    record.set_session_id("ses_1");
    record.set_execution(std::ssize(records_) + 1);
    record.set_target(Demo().name);
    record.set_database(Demo().database);
    record.set_role("app_support");
    record.set_search_path("app, public");
    record.set_sql(std::string(sql));
    record.set_decision(std::string(VerdictName(judged->verdict)));
    const Decision& decision = judged->decisions[judged->decisive];
    record.set_rule(decision.rule.ToString());
    for (size_t i = 0; i < judged->decisions.size(); ++i) {
      const sql::Statement& statement = judged->analysis.statements[i];
      for (const sql::Effect& effect : statement.effects) record.add_effects(effect.ToString());
      for (const OutputMask& mask : judged->decisions[i].masks) {
        record.add_masks(statement.outputs[static_cast<size_t>(mask.column)].name + ": " +
                         std::string(StrategyName(mask.strategy)));
      }
    }
    records_.push_back(std::move(record));
    return *this;
  }

  absl::StatusOr<Suggestion> Suggested(SuggestOptions options) const { return Suggest(records_, options); }
  // With the policies and the catalog at hand.
  Suggestion Suggested() const {
    SuggestOptions options;
    options.existing = Parse(kWide);
    options.catalogs = &catalogs_;
    options.env_of_target = {{Demo().name, Demo().env}};
    auto suggestion = Suggested(options);
    EXPECT_TRUE(suggestion.ok()) << suggestion.status();
    return suggestion.ok() ? *suggestion : Suggestion();
  }

 private:
  const std::shared_ptr<const CompiledPolicy> policy_;
  const Catalogs catalogs_;
  std::vector<v1::AuditRecord> records_;
};

std::string VerdictUnder(const std::string& yaml, std::string_view sql) {
  const auto judged = JudgeText(*Compiled(yaml), Bot(), Demo(), sql, &TestCatalog());
  EXPECT_TRUE(judged.ok()) << judged.status();
  return judged.ok() ? std::string(VerdictName(judged->verdict)) : "";
}

// It loads, its tests pass, and lint has nothing to say against what it grants.
void ExpectSound(const Suggestion& suggestion) {
  EXPECT_THAT(suggestion.problems, IsEmpty()) << suggestion.yaml;
  const std::vector<v1::Policy> policies = Parse(suggestion.yaml);
  for (const v1::PolicyTestResult& result : RunTests(policies, Catalogs())) {
    EXPECT_TRUE(result.passed()) << result.name() << ": " << result.detail() << "\n" << suggestion.yaml;
  }
  for (const v1::PolicyFinding& finding : Lint(policies, &TestCatalog())) {
    EXPECT_THAT(finding.message(), ::testing::AnyOf(HasSubstr("`lookup` lets"))) << suggestion.yaml;
  }
}

TEST(Suggest, WhatRanRunsAgainAndItsNeighboursDoNot) {
  const Suggestion suggestion = Session()
                                    .Run("select id, total from app.orders where customer_id = 7 limit 20")
                                    .Run("select id, status from app.orders where customer_id = 8 limit 5")
                                    .Run("update app.orders set status = 'paid' where id = 3")
                                    .Suggested();
  ExpectSound(suggestion);
  EXPECT_EQ(suggestion.statements, 3);
  const std::string& yaml = suggestion.yaml;
  EXPECT_EQ(VerdictUnder(yaml, "select id, total from app.orders where customer_id = 7 limit 20"), "allow");
  EXPECT_EQ(VerdictUnder(yaml, "select total from app.orders where customer_id = 1 limit 1"), "allow");
  EXPECT_EQ(VerdictUnder(yaml, "update app.orders set status = 'lost' where id = 4"), "allow");
  for (const char* neighbour :
       {"select id, total from app.orders limit 20", "select id from app.orders where customer_id = 7 limit 21",
        "select id from app.orders where customer_id = 7", "update app.orders set total = 0 where id = 3",
        "update app.orders set status = 'paid'", "delete from app.orders where id = 3", "select id from app.customers",
        "insert into app.orders (id) values (1)", "select orders from app.orders where customer_id = 7 limit 1"}) {
    EXPECT_EQ(VerdictUnder(yaml, neighbour), "deny") << neighbour << "\n" << yaml;
  }
}

TEST(Suggest, MasksLookupsAndSessionTermsAreKept) {
  const Suggestion suggestion =
      Session().Run("select id, email as mail from app.customers where email = 'ann@example.com'").Suggested();
  ExpectSound(suggestion);
  const v1::Policy policy = Parse(suggestion.yaml)[0];
  EXPECT_EQ(policy.session().role(), "app_support");
  EXPECT_EQ(policy.session().ttl_seconds(), 1200);
  EXPECT_EQ(policy.session().statement_timeout_ms(), 5000);
  EXPECT_EQ(policy.session().audit(), "strict");
  ASSERT_EQ(policy.rules(0).columns().mask_size(), 2) << suggestion.yaml;
  const auto judged = JudgeText(*Compiled(suggestion.yaml), Bot(), Demo(),
                                "select email from app.customers where email = 'a'", &TestCatalog());
  ASSERT_TRUE(judged.ok());
  ASSERT_EQ(judged->decisions[0].masks.size(), 1u);
  EXPECT_EQ(judged->decisions[0].masks[0].strategy, v1::MASK_STRATEGY_EMAIL_DOMAIN);
  EXPECT_EQ(judged->decisions[0].probes_max, 9);
  EXPECT_THAT(suggestion.yaml, Not(HasSubstr("ann@example.com"))) << "values of strings do not belong in a policy";
  EXPECT_THAT(suggestion.yaml, Not(HasSubstr("payroll")));
}

TEST(Suggest, CountingRowsGrantsNoColumn) {
  const Suggestion suggestion = Session().Run("select count(*) from app.orders").Suggested();
  ExpectSound(suggestion);
  EXPECT_EQ(VerdictUnder(suggestion.yaml, "select count(*) from app.orders"), "allow");
  EXPECT_EQ(VerdictUnder(suggestion.yaml, "select id from app.orders"), "deny");
}

TEST(Suggest, WhatWasHeldIsHeldOnTheSameTerms) {
  const Suggestion suggestion =
      Session().Run("delete from app.orders where id = 4").Run("select id from app.orders where id = 4").Suggested();
  ExpectSound(suggestion);
  EXPECT_EQ(VerdictUnder(suggestion.yaml, "delete from app.orders where id = 5"), "hold");
  EXPECT_EQ(VerdictUnder(suggestion.yaml, "delete from app.orders"), "deny");
  const v1::Rule held = Parse(suggestion.yaml)[0].rules(0);
  EXPECT_EQ(held.hold().approvals(), 2);
  EXPECT_EQ(held.affected().rows_max(), 3);
}

TEST(Suggest, WhatWasRefusedIsLeftOut) {
  const Suggestion suggestion =
      Session().Run("select id from app.orders").Run("select upper(email) from app.customers").Suggested();
  EXPECT_EQ(suggestion.denied, 1);
  ExpectSound(suggestion);
  EXPECT_THAT(suggestion.yaml, Not(HasSubstr("customers")));
}

TEST(Suggest, PreparedStatementsAreKnownToTheirExecution) {
  Session session;
  session.Run("prepare p as select id from app.orders where id = $1; execute p (3)");
  const Suggestion suggestion = session.Suggested();
  ExpectSound(suggestion);
  EXPECT_EQ(VerdictUnder(suggestion.yaml, "prepare q as select id from app.orders where id = $1; execute q (5)"),
            "allow");
}

TEST(Suggest, WorksFromRecordsAlone) {
  Session session;
  session.Run("select * from app.orders where customer_id = 7").Run("select id, email from app.customers where id = 1");
  const auto suggestion = session.Suggested(SuggestOptions());
  ASSERT_TRUE(suggestion.ok()) << suggestion.status();
  ExpectSound(*suggestion);
  EXPECT_EQ(suggestion->statements, 2);
  EXPECT_EQ(VerdictUnder(suggestion->yaml, "select id, email from app.customers where id = 2"), "allow");
  EXPECT_EQ(VerdictUnder(suggestion->yaml, "select id, name from app.customers where id = 2"), "deny");
  const auto judged = JudgeText(*Compiled(suggestion->yaml), Bot(), Demo(),
                                "select email from app.customers where id = 1", &TestCatalog());
  ASSERT_TRUE(judged.ok());
  EXPECT_EQ(judged->decisions[0].masks.size(), 1u) << suggestion->yaml;
}

TEST(Suggest, AMaskThatCannotBePlacedIsAnError) {
  Session session;
  session.Run("select email as mail from app.customers where id = 1");
  EXPECT_THAT(session.Suggested(SuggestOptions()).status().message(), HasSubstr("showed `mail: email_domain`"));
  const Catalogs catalogs;
  SuggestOptions options;
  options.catalogs = &catalogs;
  EXPECT_TRUE(session.Suggested(options).ok());
}

TEST(Suggest, AHoldOfUnknownTermsIsAnErrorUnlessSomebodySays) {
  Session session;
  session.Run("delete from app.orders where id = 4");
  EXPECT_THAT(session.Suggested(SuggestOptions()).status().message(), HasSubstr("nothing says who approves it"));
  SuggestOptions options;
  options.hold_by = {"dbas"};
  const auto suggestion = session.Suggested(options);
  ASSERT_TRUE(suggestion.ok()) << suggestion.status();
  EXPECT_EQ(VerdictUnder(suggestion->yaml, "delete from app.orders where id = 4"), "hold");
}

TEST(Suggest, EachAgentGetsItsOwnPolicy) {
  std::vector<v1::AuditRecord> records;
  for (const char* agent : {"a", "b"}) {
    v1::AuditRecord& record = records.emplace_back();
    record.set_kind(v1::STATEMENT_INTENT);
    record.set_agent(agent);
    record.set_target("t");
    record.set_database("d");
    record.set_sql(agent == std::string("a") ? "select id from app.orders" : "select id from app.customers");
    record.add_effects(agent == std::string("a") ? "select app.orders (id)" : "select app.customers (id)");
    record.set_decision("allow");
  }
  const auto suggestion = Suggest(records, SuggestOptions());
  ASSERT_TRUE(suggestion.ok());
  const std::vector<v1::Policy> policies = Parse(suggestion->yaml);
  ASSERT_EQ(policies.size(), 2u);
  EXPECT_EQ(policies[0].name(), "suggested-1");
  EXPECT_EQ(policies[0].rules_size(), 1);
  EXPECT_EQ(policies[1].subjects(0).agent(), "b");
}

}  // namespace
}  // namespace postern::policy::testing
