// One statement against policy: coverage, conditions, precedence, intent, the words of a refusal.
#include <string>
#include <vector>

#include "common/policy/judge_text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/common/policy/policy_testing.h"

namespace postern::policy::testing {
namespace {

using sql::ObjectKind;
using sql::Operation;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::string_view kHead = R"(
apiVersion: postern/v1
kind: Policy
metadata: {name: p}
subjects: [{group: agents}]
targets: {databases: [shop]}
)";

std::shared_ptr<const CompiledPolicy> Rules(std::string_view rules) {
  return Compiled(std::string(kHead) + std::string(rules));
}

sql::Statement WithShape(sql::Statement statement, std::vector<std::string> where, std::optional<int64_t> limit = {}) {
  statement.shape.has_where = !where.empty();
  statement.shape.where_equality = std::move(where);
  statement.shape.limit = limit;
  return statement;
}

struct Case {
  std::string name;
  std::string rules;
  sql::Statement statement;
  Verdict verdict;
  std::string rule;  // "p/id" or ""
  std::string code;
};
void PrintTo(const Case& c, std::ostream* os) { *os << c.name; }

class JudgeCase : public ::testing::TestWithParam<Case> {};

TEST_P(JudgeCase, IsDecided) {
  const Decision decision = JudgeFor(*Rules(GetParam().rules), GetParam().statement);
  EXPECT_EQ(decision.verdict, GetParam().verdict) << decision.reason;
  EXPECT_EQ(decision.rule.ToString(), GetParam().rule) << decision.reason;
  EXPECT_EQ(decision.reason_code, GetParam().code);
  EXPECT_EQ(decision.reason.empty(), GetParam().verdict == Verdict::kAllow);
  EXPECT_EQ(decision.effects.size(), GetParam().statement.effects.size());
}

sql::Effect AllColumns(sql::Effect effect) {
  effect.all_columns = true;
  return effect;
}
sql::Effect Derived(sql::Effect effect) {
  effect.derived = true;
  return effect;
}
sql::Statement Unanalysable(sql::Statement statement) {
  statement.unanalysable = "unknown function";
  return statement;
}

const std::string kReadOrders = "rules: [{id: r, effect: allow, do: [select], objects: [app.orders]}]";
const std::string kAllAndDeny = R"(
rules:
  - {id: a, effect: allow, do: [all]}
  - {id: d, effect: deny, do: [all], objects: [app.payroll, app.orders]}
  - {id: h, effect: hold, do: [delete, drop], objects: ["app.*"], hold: {by: [leads]}}
)";
const std::string kDenySalary = R"(
rules:
  - {id: a, effect: allow, do: [all]}
  - {id: d, effect: deny, do: [select], objects: [app.payroll], columns: {only: [salary]}}
)";
const std::string kDenyPartition = R"(
rules: [{id: a, effect: allow, do: [all]}, {id: d, effect: deny, do: [select], objects: [app.orders_2025]}]
)";
const std::string kOnly = R"(
rules: [{id: r, effect: allow, do: [select, update], objects: [app.orders], columns: {only: [id, status]}}]
)";
const std::string kExcept = R"(
rules: [{id: r, effect: allow, do: [select], objects: [app.orders], columns: {except: [total]}}]
)";
const std::string kShape = R"(
rules:
  - id: r
    effect: allow
    do: [select, update, insert]
    objects: [app.orders, app.customers]
    require: {where_on: [customer_id], limit_max: 200, where: true}
)";
const std::string kWhere = R"(
rules: [{id: r, effect: allow, do: [write], objects: ["app.*"], require: {where: true}}]
)";
const std::string kHoldColumns = R"(
rules:
  - {id: a, effect: allow, do: [update], objects: [app.orders]}
  - {id: h, effect: hold, do: [update], objects: [app.orders], columns: {only: [total]}, require: {where_on: [id]},
     hold: {by: [leads]}}
)";
const std::string kHoldAll = "rules: [{id: h, effect: hold, do: [all], hold: {by: [leads]}}]";
const std::string kHoldSession = "rules: [{id: h, effect: hold, do: [transaction], hold: {by: [leads]}}]";
const std::string kCall = R"(
rules:
  - {id: r, effect: allow, do: [call], functions: ["app.*"]}
  - {id: s, effect: allow, do: [all], objects: ["app.*"]}
)";
const std::string kNamed = "rules: [{id: r, effect: allow, do: [all, do_block]}]";

INSTANTIATE_TEST_SUITE_P(
    Cases, JudgeCase,
    ::testing::Values(
        Case{"covered", kReadOrders, Statement({On(Operation::kSelect, "orders")}), Verdict::kAllow, "p/r", ""},
        Case{"other_verb", kReadOrders, Statement({On(Operation::kDelete, "orders")}), Verdict::kDeny, "", "NO_RULE"},
        Case{"other_relation", kReadOrders, Statement({On(Operation::kSelect, "payroll")}), Verdict::kDeny, "",
             "NO_RULE"},
        Case{"every_effect_must_be_covered", kReadOrders,
             Statement({On(Operation::kSelect, "orders"), On(Operation::kSelect, "payroll")}), Verdict::kDeny, "",
             "NO_RULE"},
        Case{"no_effect_at_all", kReadOrders, Statement({}), Verdict::kAllow, "", ""},
        Case{"unanalysable", kNamed, Unanalysable(Statement({})), Verdict::kDeny, "", "UNANALYSABLE"},
        Case{"derived_needs_no_rule", kReadOrders,
             Statement({On(Operation::kSelect, "orders"), Derived(On(Operation::kSelect, "payroll"))}), Verdict::kAllow,
             "p/r", ""},
        Case{"derived_is_denied_by_a_deny_rule", kAllAndDeny,
             Statement({On(Operation::kSelect, "customer_view"), Derived(On(Operation::kSelect, "payroll"))}),
             Verdict::kDeny, "p/d", "DENY_RULE"},
        Case{"deny_beats_allow", kAllAndDeny, Statement({On(Operation::kSelect, "payroll")}), Verdict::kDeny, "p/d",
             "DENY_RULE"},
        Case{"deny_beats_hold", kAllAndDeny, Statement({On(Operation::kDelete, "payroll")}), Verdict::kDeny, "p/d",
             "DENY_RULE"},
        Case{"hold_beats_allow", kAllAndDeny, Statement({On(Operation::kDelete, "customers")}), Verdict::kHold, "p/h",
             ""},
        Case{"one_held_effect_holds_all", kAllAndDeny,
             Statement({On(Operation::kSelect, "customers"), On(Operation::kDelete, "customers")}), Verdict::kHold,
             "p/h", ""},
        Case{"deny_reaches_partitions", kAllAndDeny, Statement({On(Operation::kSelect, "orders_2025")}), Verdict::kDeny,
             "p/d", "DENY_RULE"},
        Case{"deny_of_a_partition_reaches_the_whole", kDenyPartition, Statement({On(Operation::kSelect, "orders")}),
             Verdict::kDeny, "p/d", "DENY_RULE"},
        Case{"deny_of_a_partition_reaches_nothing_else", kDenyPartition,
             Statement({On(Operation::kSelect, "customers")}), Verdict::kAllow, "p/a", ""},
        Case{"allow_does_not_reach_partitions", kReadOrders, Statement({On(Operation::kSelect, "orders_2025")}),
             Verdict::kDeny, "", "NO_RULE"},
        Case{"dropping_a_schema_drops_what_is_denied", kAllAndDeny,
             Statement({Of(Operation::kDrop, ObjectKind::kSchema, "", "app")}), Verdict::kDeny, "p/d", "DENY_RULE"},
        Case{"dropping_another_schema", kAllAndDeny,
             Statement({Of(Operation::kDrop, ObjectKind::kSchema, "", "scratch")}), Verdict::kAllow, "p/a", ""},
        Case{"relation_pattern_is_no_schema", "rules: [{id: r, effect: allow, do: [drop], objects: [app.orders]}]",
             Statement({Of(Operation::kDrop, ObjectKind::kSchema, "", "app")}), Verdict::kDeny, "", "NO_RULE"},
        Case{"schema_pattern_is_the_schema", "rules: [{id: r, effect: allow, do: [drop], objects: [\"app.*\"]}]",
             Statement({Of(Operation::kDrop, ObjectKind::kSchema, "", "app")}), Verdict::kAllow, "p/r", ""},
        Case{"bare_name_means_any_schema", "rules: [{id: r, effect: allow, do: [select], objects: [orders]}]",
             Statement({On(Operation::kSelect, "archive.orders")}), Verdict::kAllow, "p/r", ""},
        Case{"denied_column", kDenySalary, Statement({On(Operation::kSelect, "payroll", {"id", "salary"})}),
             Verdict::kDeny, "p/d", "DENY_RULE"},
        Case{"denied_column_in_whole_row", kDenySalary, Statement({AllColumns(On(Operation::kSelect, "payroll"))}),
             Verdict::kDeny, "p/d", "DENY_RULE"},
        Case{"undenied_column", kDenySalary, Statement({On(Operation::kSelect, "payroll", {"id"})}), Verdict::kAllow,
             "p/a", ""},
        Case{"columns_only", kOnly, Statement({On(Operation::kSelect, "orders", {"id", "status"})}), Verdict::kAllow,
             "p/r", ""},
        Case{"columns_only_exceeded", kOnly, Statement({On(Operation::kUpdate, "orders", {"status", "total"})}),
             Verdict::kDeny, "", "NO_RULE"},
        Case{"columns_only_and_whole_row", kOnly, Statement({AllColumns(On(Operation::kSelect, "orders"))}),
             Verdict::kDeny, "", "NO_RULE"},
        Case{"columns_except", kExcept, Statement({On(Operation::kSelect, "orders", {"id"})}), Verdict::kAllow, "p/r",
             ""},
        Case{"columns_except_named", kExcept, Statement({On(Operation::kSelect, "orders", {"total"})}), Verdict::kDeny,
             "", "NO_RULE"},
        Case{"columns_except_and_whole_row", kExcept, Statement({AllColumns(On(Operation::kSelect, "orders"))}),
             Verdict::kDeny, "", "NO_RULE"},
        Case{"shape_holds", kShape, WithShape(Statement({On(Operation::kSelect, "orders")}), {"customer_id"}, 200),
             Verdict::kAllow, "p/r", ""},
        Case{"limit_too_high", kShape, WithShape(Statement({On(Operation::kSelect, "orders")}), {"customer_id"}, 201),
             Verdict::kDeny, "", "NO_RULE"},
        Case{"no_limit", kShape, WithShape(Statement({On(Operation::kSelect, "orders")}), {"customer_id"}),
             Verdict::kDeny, "", "NO_RULE"},
        Case{"where_on_another_column", kShape, WithShape(Statement({On(Operation::kSelect, "orders")}), {"id"}, 1),
             Verdict::kDeny, "", "NO_RULE"},
        Case{"where_says_nothing_of_a_second_relation", kShape,
             WithShape(Statement({On(Operation::kSelect, "orders"), On(Operation::kSelect, "customers")}),
                       {"customer_id"}, 1),
             Verdict::kDeny, "", "NO_RULE"},
        Case{"limit_is_not_asked_of_writes", kShape,
             WithShape(Statement({On(Operation::kUpdate, "orders")}), {"customer_id"}), Verdict::kAllow, "p/r", ""},
        Case{"shape_is_not_asked_of_inserts", kShape, Statement({On(Operation::kInsert, "orders")}), Verdict::kAllow,
             "p/r", ""},
        Case{"where_missing", kWhere, Statement({On(Operation::kDelete, "orders")}), Verdict::kDeny, "", "NO_RULE"},
        Case{"where_given", kWhere, WithShape(Statement({On(Operation::kDelete, "orders")}), {"id"}), Verdict::kAllow,
             "p/r", ""},
        Case{"where_of_one_write_says_nothing_of_another", kWhere,
             WithShape(Statement({On(Operation::kDelete, "orders"), On(Operation::kUpdate, "orders")}), {"id"}),
             Verdict::kDeny, "", "NO_RULE"},
        Case{"held_column_beside_others_is_held", kHoldColumns,
             WithShape(Statement({On(Operation::kUpdate, "orders", {"status", "total"})}), {"id"}), Verdict::kHold,
             "p/h", ""},
        Case{"failing_a_holds_conditions_is_no_way_around_it", kHoldColumns,
             Statement({On(Operation::kUpdate, "orders", {"total"})}), Verdict::kHold, "p/h", ""},
        Case{"other_columns_are_not_held", kHoldColumns, Statement({On(Operation::kUpdate, "orders", {"status"})}),
             Verdict::kAllow, "p/a", ""},
        Case{"transaction_needs_no_rule", kReadOrders, Statement({Of(Operation::kTransaction)}), Verdict::kAllow, "",
             ""},
        Case{"harmless_set_needs_no_rule", kReadOrders,
             Statement({Of(Operation::kSet, ObjectKind::kSetting, "", "datestyle")}), Verdict::kAllow, "", ""},
        Case{"explain_needs_no_rule_but_what_it_explains_does", kReadOrders,
             Statement({Of(Operation::kExplain), On(Operation::kDelete, "orders")}), Verdict::kDeny, "", "NO_RULE"},
        Case{"catalogs_need_no_rule", kReadOrders, Statement({On(Operation::kSelect, "pg_catalog.pg_class")}),
             Verdict::kAllow, "", ""},
        Case{"statistics_need_their_permission", kReadOrders,
             Statement({On(Operation::kStatistics, "pg_catalog.pg_stats")}), Verdict::kDeny, "", "NO_RULE"},
        Case{"writing_catalogs_needs_a_rule", kReadOrders, Statement({On(Operation::kUpdate, "pg_catalog.pg_class")}),
             Verdict::kDeny, "", "NO_RULE"},
        Case{"listen_needs_a_rule", kReadOrders, Statement({Of(Operation::kListen, ObjectKind::kOther, "", "c")}),
             Verdict::kDeny, "", "NO_RULE"},
        Case{"a_deny_rule_may_name_the_session", "rules: [{id: d, effect: deny, do: [session]}]",
             Statement({Of(Operation::kTransaction)}), Verdict::kDeny, "p/d", "DENY_RULE"},
        Case{"a_hold_on_all_is_not_meant_for_begin", kHoldAll, Statement({Of(Operation::kTransaction)}),
             Verdict::kAllow, "", ""},
        Case{"a_hold_on_all_is_not_meant_for_catalogs", kHoldAll,
             Statement({On(Operation::kSelect, "pg_catalog.pg_class")}), Verdict::kAllow, "", ""},
        Case{"a_hold_on_all_holds_reads", kHoldAll, Statement({On(Operation::kSelect, "orders")}), Verdict::kHold,
             "p/h", ""},
        Case{"a_hold_may_name_begin", kHoldSession, Statement({Of(Operation::kTransaction)}), Verdict::kHold, "p/h",
             ""},
        Case{"function_of_the_list", kCall, Statement({Of(Operation::kCall, ObjectKind::kFunction, "app", "f")}),
             Verdict::kAllow, "p/r", ""},
        Case{"objects_bound_functions_too", kCall,
             Statement({Of(Operation::kCall, ObjectKind::kFunction, "pg_catalog", "pg_sleep")}), Verdict::kDeny, "",
             "NO_RULE"},
        Case{"named_permission_is_not_in_all", kAllAndDeny, Statement({Of(Operation::kCopyProgram)}), Verdict::kDeny,
             "", "NO_RULE"},
        Case{"named_permission_by_name", kNamed, Statement({Of(Operation::kDoBlock)}), Verdict::kAllow, "p/r", ""},
        Case{"copy_out_is_not_select", kReadOrders,
             Statement({On(Operation::kSelect, "orders"), On(Operation::kCopyOut, "orders")}), Verdict::kDeny, "",
             "NO_RULE"}),
    [](const ::testing::TestParamInfo<Case>& tested) { return tested.param.name; });

TEST(Judge, NobodyKnownIsDenied) {
  const auto policy = Rules(kReadOrders);
  const sql::Statement nothing = Statement({});
  const Decision stranger = policy->Judge({"other", "", {"ci"}}, Demo(), All(), nothing, TestCatalog());
  EXPECT_EQ(stranger.verdict, Verdict::kDeny);
  EXPECT_EQ(stranger.reason, "no policy speaks of agent other in ci on target demo (database shop)");
  EXPECT_EQ(policy->Judge(Bot(), {"demo", "hr", "prod"}, All(), nothing, TestCatalog()).verdict, Verdict::kDeny);
}

TEST(Judge, EverySetFieldOfASubjectMustMatch) {
  const auto policy = Compiled(R"(
apiVersion: postern/v1
kind: Policy
metadata: {name: p}
subjects: [{agent: "support-*", on_behalf_of: "*@example.com", group: agents}]
targets: {env: [prod], names: ["de*"]}
)");
  const auto verdict = [&](const Subject& subject, const TargetView& target) {
    return policy->Judge(subject, target, All(), Statement({}), TestCatalog()).verdict;
  };
  EXPECT_EQ(verdict(Bot(), Demo()), Verdict::kAllow);
  EXPECT_EQ(verdict({"sales-bot", "z@example.com", {"agents"}}, Demo()), Verdict::kDeny);
  EXPECT_EQ(verdict({"support-bot", "z@evil.com", {"agents"}}, Demo()), Verdict::kDeny);
  EXPECT_EQ(verdict({"support-bot", "z@example.com", {}}, Demo()), Verdict::kDeny);
  EXPECT_EQ(verdict(Bot(), {"demo", "shop", "dev"}), Verdict::kDeny);
  EXPECT_EQ(verdict(Bot(), {"other", "shop", "prod"}), Verdict::kDeny);
}

TEST(Judge, IntentNarrows) {
  const auto policy = Rules(kAllAndDeny);
  const sql::Statement read = Statement({On(Operation::kSelect, "customers"), Of(Operation::kShow)});
  const auto verdict = [&](IntentView intent) { return JudgeFor(*policy, read, intent).verdict; };
  EXPECT_EQ(verdict({{"select"}, {}}), Verdict::kAllow);
  EXPECT_EQ(verdict({{"read"}, {"app.customers"}}), Verdict::kAllow);
  EXPECT_EQ(verdict({{"update"}, {}}), Verdict::kDeny);
  EXPECT_EQ(verdict({{}, {}}), Verdict::kDeny);
  EXPECT_EQ(verdict({{"selec"}, {}}), Verdict::kDeny);

  const Decision outside = JudgeFor(*policy, read, {{"all"}, {"app.orders"}});
  EXPECT_EQ(outside.reason_code, "OUTSIDE_INTENT");
  EXPECT_EQ(outside.reason, "select on app.customers: the token was requested for app.orders only");
  EXPECT_THAT(outside.hint, HasSubstr("--objects has app.customers"));
}

TEST(Judge, ARefusalSaysWhatWouldBeAllowed) {
  const auto policy = Rules(R"(
rules:
  - {id: lookup, effect: allow, do: [select], objects: [app.orders], require: {where_on: [customer_id], limit_max: 200}}
  - {id: refund, effect: hold, do: [update], objects: [app.orders], columns: {only: [status]}, hold: {by: [leads]}}
)");
  const Decision decision = JudgeFor(*policy, Statement({On(Operation::kSelect, "orders")}));
  EXPECT_EQ(
      decision.reason,
      "select on app.orders: no rule of policy p covers it; p/lookup: needs a WHERE on customer_id (test.yaml:9)");
  EXPECT_EQ(decision.hint,
            "allowed on app.orders: select with a WHERE on customer_id and a LIMIT of at most 200; "
            "update of status (held for leads)");
  EXPECT_THAT(decision.effects[0].near_misses, ElementsAre("p/lookup: needs a WHERE on customer_id (test.yaml:9)"));
  EXPECT_THAT(decision.effects[0].smallest_change, HasSubstr("restrict customer_id"));

  const Decision drop = JudgeFor(*policy, Statement({On(Operation::kDrop, "orders")}));
  EXPECT_EQ(drop.reason, "drop on app.orders: no rule of policy p covers it");
  EXPECT_THAT(drop.effects[0].near_misses, IsEmpty());
  EXPECT_EQ(drop.effects[0].smallest_change, "change the policy: add `drop` to `do` of p/lookup (test.yaml:9)");
}

TEST(Judge, ADenyRuleSpeaksToTheAgent) {
  const auto policy =
      Rules("rules: [{id: no-payroll, effect: deny, do: [select], objects: [app.payroll], message: Ask HR.}]");
  const Decision decision = JudgeFor(*policy, Statement({On(Operation::kSelect, "payroll")}));
  EXPECT_EQ(decision.reason, "denied by p/no-payroll (test.yaml:7): select on app.payroll: Ask HR.");
  EXPECT_EQ(decision.rule.message, "Ask HR.");
}

TEST(Judge, TheStrictestHoldDecidesAndTheSmallestCapWins) {
  const auto policy = Rules(R"(
rules:
  - {id: a, effect: allow, do: [update], objects: [app.orders], affected: {rows_max: 5}}
  - {id: b, effect: hold, do: [update], objects: [app.orders], hold: {by: [leads], request_ttl: 1h}}
  - {id: c, effect: hold, do: [update], objects: ["app.*"], affected: {rows_max: 3},
     hold: {by: [dba], approvals: 2, use_within: 1m}}
)");
  const Decision decision = JudgeFor(*policy, Statement({On(Operation::kUpdate, "orders", {"status"})}));
  EXPECT_EQ(decision.verdict, Verdict::kHold);
  EXPECT_EQ(decision.rule.ToString(), "p/c");
  EXPECT_THAT(decision.hold.groups, ElementsAre("dba"));
  EXPECT_EQ(decision.hold.approvals, 2);
  EXPECT_EQ(decision.hold.request_ttl_seconds, 1800);
  EXPECT_EQ(decision.hold.use_within_seconds, 60);
  EXPECT_EQ(decision.affected_rows_max, 3);
  EXPECT_EQ(decision.hint, "2 members of dba must approve");
}

TEST(Judge, AuditIsTheStrictestOfThePolicies) {
  const auto with = [](std::string_view first, std::string_view second) {
    std::string yaml;
    for (const auto& [name, audit] : {std::pair{"a", first}, std::pair{"b", second}}) {
      yaml += "---\napiVersion: postern/v1\nkind: Policy\nmetadata: {name: " + std::string(name) +
              "}\nsubjects: [{group: agents}]\n";
      if (!audit.empty()) yaml += "session: {audit: " + std::string(audit) + "}\n";
    }
    return JudgeFor(*Compiled(yaml), Statement({})).audit;
  };
  EXPECT_EQ(with("strict", "relaxed"), "strict");
  EXPECT_EQ(with("", "relaxed"), "");
  EXPECT_EQ(with("relaxed", "relaxed"), "relaxed");
}

TEST(TermsFor, TakesTheStrictestOfEach) {
  const auto policy = Compiled(R"(
apiVersion: postern/v1
kind: Policy
metadata: {name: a}
subjects: [{group: agents}]
session: {role: reader, ttl: 15m, statement_timeout: 30s}
---
apiVersion: postern/v1
kind: Policy
metadata: {name: b}
subjects: [{agent: support-bot}]
session: {role: writer, ttl: 5m, read_only: true, on_disconnect: 1m}
)");
  const SessionTerms terms = policy->TermsFor(Bot(), Demo());
  EXPECT_TRUE(terms.matched);
  EXPECT_EQ(terms.role, "reader");
  EXPECT_EQ(terms.ttl_seconds, 300);
  EXPECT_EQ(terms.statement_timeout_ms, 30'000);
  EXPECT_EQ(terms.on_disconnect_seconds, 60);
  EXPECT_TRUE(terms.read_only);

  const SessionTerms nobody = policy->TermsFor({"x", "", {}}, Demo());
  EXPECT_FALSE(nobody.matched);
  EXPECT_EQ(nobody.ttl_seconds, 600);
}

TEST(TimeoutMilliseconds, ReadsWhatPostgresReads) {
  EXPECT_EQ(TimeoutMilliseconds("500"), 500);
  EXPECT_EQ(TimeoutMilliseconds(" 5s "), 5000);
  EXPECT_EQ(TimeoutMilliseconds("1.5 min"), 90'000);
  EXPECT_EQ(TimeoutMilliseconds("1h"), 3'600'000);
  EXPECT_EQ(TimeoutMilliseconds("0"), 0);
  EXPECT_EQ(TimeoutMilliseconds("400us"), 0);
  for (const char* other : {"", "s", "5S", "-1", "1e9 d", "0x10", "5 s s", "nan", "inf"}) {
    EXPECT_EQ(TimeoutMilliseconds(other), std::nullopt) << other;
  }
}

struct PinnedCase {
  std::string_view sql;
  Verdict verdict;
};

// The policy grants every named permission that touches settings, and its own session settings hold all the same.
TEST(Judge, WhatTheSessionSetsStaysSet) {
  const auto policy = Compiled(R"(
apiVersion: postern/v1
kind: Policy
metadata: {name: p}
subjects: [{group: agents}]
session: {role: reader, statement_timeout: 5s, read_only: true}
rules:
  - {id: all, effect: allow, do: [all, set_role, set_protected, unsafe_function]}
)");
  const PinnedCase cases[] = {
      {"SET statement_timeout = 0", Verdict::kDeny},
      {"SET statement_timeout = '6s'", Verdict::kDeny},
      {"SET LOCAL statement_timeout = 5001", Verdict::kDeny},
      {"SET SESSION statement_timeout TO '1 fortnight'", Verdict::kDeny},
      {"SELECT set_config('statement_timeout', '0', false)", Verdict::kDeny},
      {"SELECT set_config('STATEMENT_TIMEOUT', '0', true)", Verdict::kDeny},
      {"SELECT set_config($1, $2, false)", Verdict::kDeny},
      {"SELECT set_config(name, '0', false) FROM pg_catalog.pg_settings", Verdict::kDeny},
      {"PREPARE p AS SELECT set_config('statement_timeout', '0', false)", Verdict::kDeny},
      {"SET default_transaction_read_only = off", Verdict::kDeny},
      {"BEGIN READ WRITE", Verdict::kDeny},
      {"START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE", Verdict::kDeny},
      {"SET TRANSACTION READ WRITE", Verdict::kDeny},
      {"SET transaction_read_only = off", Verdict::kDeny},
      {"SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", Verdict::kDeny},
      {"SET ROLE writer", Verdict::kDeny},
      {"SET ROLE none", Verdict::kDeny},
      {"SET SESSION AUTHORIZATION writer", Verdict::kDeny},
      {"SELECT set_config('role', 'writer', false)", Verdict::kDeny},
      {"SET statement_timeout = '5s'", Verdict::kAllow},
      {"SET LOCAL statement_timeout = 100", Verdict::kAllow},
      {"SELECT set_config('statement_timeout', '1s', false)", Verdict::kAllow},
      {"SET ROLE reader", Verdict::kAllow},
      {"BEGIN READ ONLY", Verdict::kAllow},
      {"BEGIN", Verdict::kAllow},
      {"SET default_transaction_read_only = on", Verdict::kAllow},
      {"RESET statement_timeout", Verdict::kAllow},
      {"RESET ALL", Verdict::kAllow},
      {"DISCARD ALL", Verdict::kAllow},
      {"SET work_mem = '1MB'", Verdict::kAllow},
  };
  for (const PinnedCase& c : cases) {
    const auto judged = JudgeText(*policy, Bot(), Demo(), c.sql, nullptr);
    ASSERT_TRUE(judged.ok()) << c.sql;
    const Decision& decision = judged->decisions.front();
    EXPECT_EQ(decision.verdict, c.verdict) << c.sql << ": " << decision.reason;
    EXPECT_EQ(decision.reason_code, c.verdict == Verdict::kDeny ? kReasonPinned : "")
        << c.sql << ": " << decision.reason;
  }
}

TEST(Compile, RefusesWhatLintWouldRefuse) {
  v1::PolicySet set;
  v1::Policy* policy = set.add_policies();
  policy->set_name("p");
  policy->set_path("p.yaml");
  policy->add_subjects()->set_group("agents");
  v1::Rule* rule = policy->add_rules();
  rule->set_id("r");
  rule->set_line(9);
  rule->set_effect(v1::RULE_EFFECT_ALLOW);
  rule->add_do_("selct");
  const auto compiled = CompiledPolicy::Compile(set);
  EXPECT_EQ(compiled.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(compiled.status().message()),
            "policy p: p.yaml:9: rule `r`: unknown verb `selct`; did you mean `select`?");
}

}  // namespace
}  // namespace postern::policy::testing
