// Masked columns: which they are, and that their values go nowhere but under their mask.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/common/policy/policy_testing.h"

namespace postern::policy::testing {
namespace {

using sql::Operation;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

constexpr std::string_view kPolicy = R"(
apiVersion: postern/v1
kind: Policy
metadata: {name: p}
subjects: [{group: agents}]
rules:
  - {id: everything, effect: allow, do: [all]}
  - id: masked
    effect: allow
    do: [select]
    objects: [app.customers]
    columns:
      mask:
        app.customers.email: email_domain
        app.customers.phone: last4
        app.orders.total: null
)";

Decision Judged(const sql::Statement& statement) { return JudgeFor(*Compiled(kPolicy), statement); }

TEST(Masks, ABareColumnIsMaskedWhateverRuleAllows) {
  const Decision decision = Judged(SelectColumns("customers", {"id", "email", "phone"}));
  EXPECT_EQ(decision.verdict, Verdict::kAllow);
  EXPECT_TRUE(decision.sensitive);
  ASSERT_EQ(decision.masks.size(), 2u);
  EXPECT_EQ(decision.masks[0].column, 1);
  EXPECT_EQ(decision.masks[0].origin, Col("customers.email"));
  EXPECT_EQ(decision.masks[0].strategy, v1::MASK_STRATEGY_EMAIL_DOMAIN);
  EXPECT_EQ(decision.masks[1].column, 2);
  EXPECT_EQ(decision.masks[1].strategy, v1::MASK_STRATEGY_LAST4);
}

TEST(Masks, UnmaskedColumnsOfTheRelationAreClearButSensitive) {
  const Decision decision = Judged(SelectColumns("customers", {"id", "city"}));
  EXPECT_EQ(decision.verdict, Verdict::kAllow);
  EXPECT_TRUE(decision.sensitive);
  EXPECT_TRUE(decision.masks.empty());
  EXPECT_FALSE(Judged(SelectColumns("payroll", {"id"})).sensitive);
}

TEST(Masks, APartitionsColumnIsMaskedByName) {
  // total stands at another position there.
  const Decision decision = Judged(SelectColumns("orders_2025", {"total", "id"}));
  ASSERT_EQ(decision.masks.size(), 1u);
  EXPECT_EQ(decision.masks[0].origin, Col("orders_2025.total"));
  EXPECT_EQ(decision.masks[0].strategy, v1::MASK_STRATEGY_NULL);
}

TEST(Masks, AMaskOnAPartReachesTheWhole) {
  const auto policy = Compiled(R"(
apiVersion: postern/v1
kind: Policy
metadata: {name: p}
subjects: [{group: agents}]
rules: [{id: r, effect: allow, do: [select], columns: {mask: {app.orders_2025.total: redact}}}]
)");
  EXPECT_EQ(JudgeFor(*policy, SelectColumns("orders", {"total"})).masks.size(), 1u);
}

TEST(Masks, TheStrictestOfTwoWins) {
  const auto policy = Compiled(std::string(kPolicy) + R"(
---
apiVersion: postern/v1
kind: Policy
metadata: {name: q}
subjects: [{agent: support-bot}]
rules: [{id: r, effect: allow, do: [select], columns: {mask: {app.customers.*: partial, app.customers.email: hash}}}]
)");
  EXPECT_THAT(
      policy->MaskedColumns(Bot(), Demo(), TestCatalog()),
      UnorderedElementsAre(
          Pair(Col("customers.id"), v1::MASK_STRATEGY_PARTIAL), Pair(Col("customers.name"), v1::MASK_STRATEGY_PARTIAL),
          Pair(Col("customers.email"), v1::MASK_STRATEGY_HASH), Pair(Col("customers.phone"), v1::MASK_STRATEGY_LAST4),
          Pair(Col("customers.city"), v1::MASK_STRATEGY_PARTIAL), Pair(Col("orders.total"), v1::MASK_STRATEGY_NULL),
          Pair(Col("orders_2025.total"), v1::MASK_STRATEGY_NULL)));
  const Decision decision = JudgeFor(*policy, SelectColumns("customers", {"email"}));
  ASSERT_EQ(decision.masks.size(), 1u);
  EXPECT_EQ(decision.masks[0].strategy, v1::MASK_STRATEGY_HASH);
}

TEST(Masks, OfAnotherSubjectsPolicyDoNotApply) {
  EXPECT_TRUE(Compiled(kPolicy)->MaskedColumns({"x", "", {"ci"}}, Demo(), TestCatalog()).empty());
}

struct Leak {
  std::string name;
  std::string code;
  std::string reason;
  void (*change)(sql::Statement*);
};
void PrintTo(const Leak& leak, std::ostream* os) { *os << leak.name; }

class MaskLeak : public ::testing::TestWithParam<Leak> {};

TEST_P(MaskLeak, IsRefused) {
  sql::Statement statement = SelectColumns("customers", {"id", "city"});
  ASSERT_EQ(Judged(statement).verdict, Verdict::kAllow);
  GetParam().change(&statement);
  const Decision decision = Judged(statement);
  EXPECT_EQ(decision.verdict, Verdict::kDeny);
  EXPECT_EQ(decision.reason_code, GetParam().code);
  EXPECT_THAT(decision.reason, HasSubstr(GetParam().reason));
  EXPECT_TRUE(decision.masks.empty());
  EXPECT_FALSE(decision.hint.empty());
}

INSTANTIATE_TEST_SUITE_P(
    Leaks, MaskLeak,
    ::testing::Values(
        Leak{"expression", "MASKED_IN_EXPRESSION",
             "app.customers.email is masked (email_domain) by p/masked (test.yaml:14) and output column 2 (city) is "
             "computed from it",
             [](sql::Statement* s) {
               s->outputs[1].bare.reset();
               s->outputs[1].sources = {Col("customers.email")};
             }},
        Leak{"implicit_flow_into_another_bare_column", "MASKED_IN_EXPRESSION", "output column 2",
             [](sql::Statement* s) { s->outputs[1].sources.push_back(Col("customers.phone")); }},
        Leak{"whole_row_source", "MASKED_IN_EXPRESSION", "app.customers.*",
             [](sql::Statement* s) {
               s->outputs[1].bare.reset();
               s->outputs[1].sources = {{kCustomers, 0}};
             }},
        Leak{"bare_whole_row", "MASKED_IN_EXPRESSION", "whole row",
             [](sql::Statement* s) {
               s->outputs[1].bare = sql::ColumnId{kCustomers, 0};
               s->outputs[1].sources = {};
             }},
        Leak{"untraceable", "MASKED_IN_EXPRESSION", "where output column 2 (city) comes from cannot be told",
             [](sql::Statement* s) {
               s->outputs[1].bare.reset();
               s->outputs[1].opaque = true;
             }},
        Leak{"predicate", "MASKED_IN_PREDICATE", "app.customers.email",
             [](sql::Statement* s) {
               s->predicates = {Col("customers.id"), Col("customers.email")};
             }},
        Leak{"equality_predicate", "MASKED_IN_PREDICATE", "app.customers.email",
             [](sql::Statement* s) {
               s->predicates = {Col("customers.email")};
               s->equality_only_predicates = s->predicates;
             }},
        Leak{"stored", "MASKED_STORED", "app.customers.phone",
             [](sql::Statement* s) { s->stored = {Col("customers.phone")}; }},
        Leak{"computed", "MASKED_IN_EXPRESSION", "app.customers.phone",
             [](sql::Statement* s) { s->computed = {Col("customers.phone")}; }},
        Leak{"outputs_unknown", "MASKED_IN_EXPRESSION", "not known",
             [](sql::Statement* s) {
               s->outputs.clear();
               s->outputs_known = false;
             }},
        Leak{"copy_with_unknown_outputs", "MASKED_IN_EXPRESSION", "not known",
             [](sql::Statement* s) {
               s->kind = sql::StatementKind::kCopy;
               s->copy.emplace().to = true;
               s->outputs_known = false;
             }},
        Leak{"sentinel_written", "MASK_SENTINEL_WRITTEN", "app.customers.email",
             [](sql::Statement* s) {
               s->effects = {On(Operation::kUpdate, "customers", {"email"})};
               s->written_constants = {"***@example.com"};
             }}),
    [](const ::testing::TestParamInfo<Leak>& tested) { return tested.param.name; });

TEST(Masks, OrdinaryValuesMayBeWrittenToMaskedColumns) {
  sql::Statement statement = Statement({On(Operation::kUpdate, "customers", {"email"})});
  statement.written_constants = {"z@example.com"};
  EXPECT_EQ(Judged(statement).verdict, Verdict::kAllow);
  // Stars elsewhere are nobody's mask.
  statement.effects = {On(Operation::kUpdate, "customers", {"name"})};
  statement.written_constants = {"***@example.com"};
  EXPECT_EQ(Judged(statement).verdict, Verdict::kAllow);
}

TEST(Masks, CopyOutOfBareColumnsIsMasked) {
  sql::Statement statement = SelectColumns("customers", {"id", "email"});
  statement.kind = sql::StatementKind::kCopy;
  statement.copy.emplace().to = true;
  statement.effects.push_back(On(Operation::kCopyOut, "customers"));
  const Decision decision = Judged(statement);
  EXPECT_EQ(decision.verdict, Verdict::kAllow);
  EXPECT_EQ(decision.masks.size(), 1u);
}

TEST(Masks, AreAppliedToHeldStatementsToo) {
  const auto policy = Compiled(std::string(kPolicy) +
                               "  - {id: h, effect: hold, do: [select], objects: [app.customers], hold: {by: [l]}}\n");
  const Decision held = JudgeFor(*policy, SelectColumns("customers", {"email"}));
  EXPECT_EQ(held.verdict, Verdict::kHold);
  EXPECT_EQ(held.masks.size(), 1u);
  sql::Statement leak = SelectColumns("customers", {"id"});
  leak.predicates = {Col("customers.email")};
  EXPECT_EQ(JudgeFor(*policy, leak).verdict, Verdict::kDeny);
}

TEST(Masks, AViewsColumnIsRefusedRatherThanForgotten) {
  const auto policy = Compiled(R"(
apiVersion: postern/v1
kind: Policy
metadata: {name: p}
subjects: [{group: agents}]
rules: [{id: r, effect: allow, do: [select], columns: {mask: {app.customer_view.email: redact}}}]
)");
  sql::Statement statement = SelectColumns("customers", {"id"});
  statement.effects = {On(Operation::kSelect, "customer_view", {"email", "id"})};
  statement.relations = {kCustomers};
  const Decision decision = JudgeFor(*policy, statement);
  EXPECT_EQ(decision.verdict, Verdict::kDeny);
  EXPECT_THAT(decision.reason, HasSubstr("app.customer_view.email"));
  statement.effects = {On(Operation::kSelect, "customer_view", {"id"})};
  EXPECT_EQ(JudgeFor(*policy, statement).verdict, Verdict::kAllow);
}

TEST(Masks, ARelationKnownByNameAloneIsSensitive) {
  const auto policy = Compiled(kPolicy);
  sql::Statement statement = Statement({On(Operation::kSelect, "customers")});
  statement.effects[0].oid = 0;
  statement.relations.clear();
  EXPECT_TRUE(JudgeFor(*policy, statement).sensitive);
}

constexpr std::string_view kProbing = R"(
apiVersion: postern/v1
kind: Policy
metadata: {name: p}
subjects: [{group: agents}]
rules:
  - {id: everything, effect: allow, do: [all]}
  - id: masked
    effect: allow
    do: [select]
    objects: [app.customers]
    columns:
      mask: {app.customers.email: email_domain, app.customers.phone: last4, app.customers.city: redact}
      lookup: [app.customers.email]
      count_min: {app.customers.city: 10}
)";

sql::Statement Testing(std::string_view column, bool equality) {
  sql::Statement statement = SelectColumns("customers", {"id"});
  statement.predicates = {Col(column)};
  if (equality) statement.equality_only_predicates = statement.predicates;
  return statement;
}

// A query that counts the rows of groups of at least `least`.
sql::Statement Counting(std::string_view column, int64_t least) {
  sql::Statement statement = Testing(column, false);
  statement.outputs = {{"count", {}, {}, {}, false, false}};
  statement.shape.group_min = least;
  return statement;
}

TEST(Probing, LookupAllowsEqualityAndNothingElse) {
  const auto policy = Compiled(kProbing);
  EXPECT_EQ(JudgeFor(*policy, Testing("customers.email", true)).verdict, Verdict::kAllow);
  const Decision like = JudgeFor(*policy, Testing("customers.email", false));
  EXPECT_EQ(like.verdict, Verdict::kDeny);
  EXPECT_EQ(like.reason_code, "MASKED_IN_PREDICATE");
  EXPECT_EQ(like.hint, "compare it by = or IN with given values");
  // phone has no such key.
  EXPECT_EQ(JudgeFor(*policy, Testing("customers.phone", true)).verdict, Verdict::kDeny);
}

TEST(Probing, CountsAgainstTheSmallestLimitOfTheMasks) {
  const std::string policy(kProbing);
  Decision decision = JudgeFor(*Compiled(policy), Testing("customers.email", true));
  EXPECT_EQ(decision.probes_max, kDefaultProbesMax);
  EXPECT_THAT(decision.looked_up, ElementsAre(Col("customers.email")));
  decision = JudgeFor(*Compiled(policy + "      probes_max: 7\n"), Counting("customers.city", 10));
  EXPECT_EQ(decision.probes_max, 7);
  EXPECT_TRUE(decision.looked_up.empty());
  decision = JudgeFor(*Compiled(policy), SelectColumns("customers", {"id", "email"}));
  EXPECT_EQ(decision.probes_max, std::nullopt);
}

TEST(Probing, LookupShowsTheColumnMaskedAllTheSame) {
  sql::Statement statement = SelectColumns("customers", {"id", "email"});
  statement.predicates = statement.equality_only_predicates = {Col("customers.email")};
  const Decision decision = JudgeFor(*Compiled(kProbing), statement);
  EXPECT_EQ(decision.verdict, Verdict::kAllow);
  ASSERT_EQ(decision.masks.size(), 1u);
  EXPECT_EQ(decision.masks[0].column, 1);
}

TEST(Probing, LookupOfAComputedValueIsRefused) {
  sql::Statement statement = Testing("customers.email", true);
  statement.computed = {Col("customers.email")};
  EXPECT_EQ(JudgeFor(*Compiled(kProbing), statement).reason_code, "MASKED_IN_EXPRESSION");
}

TEST(Probing, CountingNeedsGroupsOfThatSize) {
  const auto policy = Compiled(kProbing);
  EXPECT_EQ(JudgeFor(*policy, Counting("customers.city", 10)).verdict, Verdict::kAllow);
  EXPECT_EQ(JudgeFor(*policy, Counting("customers.city", 50)).verdict, Verdict::kAllow);
  const Decision small = JudgeFor(*policy, Counting("customers.city", 9));
  EXPECT_EQ(small.reason_code, "MASKED_IN_PREDICATE");
  EXPECT_THAT(small.hint, HasSubstr("HAVING count(*) >= 10"));
  // Equality is no way around it, and email may not be counted.
  EXPECT_EQ(JudgeFor(*policy, Testing("customers.city", true)).verdict, Verdict::kDeny);
  EXPECT_EQ(JudgeFor(*policy, Counting("customers.email", 10)).verdict, Verdict::kDeny);
}

TEST(Probing, CountingShowsNothingButCountsAndPlainColumns) {
  sql::Statement statement = Counting("customers.city", 10);
  statement.outputs.push_back({"max", {}, {}, {Col("customers.name")}, false, false});
  EXPECT_EQ(JudgeFor(*Compiled(kProbing), statement).verdict, Verdict::kDeny);
  statement.outputs.back() = {"name", Col("customers.name"), {}, {Col("customers.name")}, false, false};
  EXPECT_EQ(JudgeFor(*Compiled(kProbing), statement).verdict, Verdict::kAllow);
  statement.outputs.back() = {"x", {}, {}, {}, true, false};
  EXPECT_EQ(JudgeFor(*Compiled(kProbing), statement).verdict, Verdict::kDeny);
}

TEST(Probing, WhatEveryMaskOfTheColumnAllowsIsAllowed) {
  const auto policy = Compiled(std::string(kProbing) + R"(
---
apiVersion: postern/v1
kind: Policy
metadata: {name: q}
subjects: [{agent: support-bot}]
rules:
  - {id: r, effect: allow, do: [select],
     columns: {mask: {app.customers.email: partial, app.customers.city: hash}, count_min: {app.customers.city: 20}}}
)");
  EXPECT_EQ(JudgeFor(*policy, Testing("customers.email", true)).verdict, Verdict::kDeny);
  EXPECT_EQ(JudgeFor(*policy, Counting("customers.city", 10)).verdict, Verdict::kDeny);
  EXPECT_EQ(JudgeFor(*policy, Counting("customers.city", 20)).verdict, Verdict::kAllow);
}

sql::Statement Calling(std::string_view function) {
  sql::Statement statement =
      Statement({Of(Operation::kCall, sql::ObjectKind::kFunction, "app", std::string(function))});
  statement.kind = sql::StatementKind::kQuery;
  statement.outputs_known = true;
  statement.outputs = {{std::string(function), {}, {}, {}, true, true}};
  return statement;
}

TEST(UnseenCalls, ShowNothingWhereAnythingIsMasked) {
  const Decision decision = Judged(Calling("get_email"));
  EXPECT_EQ(decision.verdict, Verdict::kDeny);
  EXPECT_EQ(decision.reason_code, "MASKED_IN_EXPRESSION");
  EXPECT_THAT(decision.reason, HasSubstr("function app.get_email"));
  EXPECT_THAT(decision.hint, HasSubstr("functions"));
}

TEST(UnseenCalls, AreScrubbedWhereNothingOfThemIsShown) {
  sql::Statement statement = Calling("notify_all");
  statement.outputs = {{"count", {}, {}, {}, false, false}};
  const Decision decision = Judged(statement);
  EXPECT_EQ(decision.verdict, Verdict::kAllow);
  EXPECT_TRUE(decision.sensitive);
}

TEST(UnseenCalls, AreShownWhereNothingIsMasked) {
  const auto policy = Compiled(R"(
apiVersion: postern/v1
kind: Policy
metadata: {name: p}
subjects: [{group: agents}]
rules: [{id: everything, effect: allow, do: [all]}]
)");
  EXPECT_EQ(JudgeFor(*policy, Calling("get_email")).verdict, Verdict::kAllow);
}

TEST(UnseenCalls, AreShownWhereARuleNamesTheFunctionInFull) {
  const auto policy = [](std::string_view functions) {
    return Compiled(std::string(kPolicy) + std::string(functions));
  };
  const std::string_view named = "  - {id: calls, effect: allow, do: [call], functions: [app.shipping]}\n";
  EXPECT_EQ(JudgeFor(*policy(named), Calling("shipping")).verdict, Verdict::kAllow);
  EXPECT_FALSE(JudgeFor(*policy(named), Calling("shipping")).sensitive);
  EXPECT_EQ(JudgeFor(*policy(named), Calling("get_email")).verdict, Verdict::kDeny);
  const std::string_view wide = "  - {id: calls, effect: allow, do: [call], functions: [app.*]}\n";
  EXPECT_EQ(JudgeFor(*policy(wide), Calling("shipping")).verdict, Verdict::kDeny);
}

TEST(UnseenCalls, ProceduresShowTheirArguments) {
  sql::Statement statement = Calling("tidy");
  statement.kind = sql::StatementKind::kUtility;
  statement.outputs.clear();
  statement.outputs_known = false;
  EXPECT_EQ(Judged(statement).verdict, Verdict::kDeny);
  const auto named =
      Compiled(std::string(kPolicy) + "  - {id: calls, effect: allow, do: [call], functions: [app.tidy]}\n");
  EXPECT_EQ(JudgeFor(*named, statement).verdict, Verdict::kAllow);
}

TEST(UnknownOutputs, AreRefusedWhereAnythingIsMasked) {
  sql::Statement statement = SelectColumns("payroll", {"id"});
  ASSERT_EQ(Judged(statement).verdict, Verdict::kAllow);
  statement.outputs_known = false;
  const Decision decision = Judged(statement);
  EXPECT_EQ(decision.reason_code, "MASKED_IN_EXPRESSION");
  EXPECT_THAT(decision.reason, HasSubstr("which columns the statement shows"));
}

}  // namespace
}  // namespace postern::policy::testing
