// From YAML to messages. Golden files: golden/load/NAME.yaml and the findings that it must give in NAME.findings, one a
// line as "ERROR line: message" or "WARNING line: message".
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "common/policy/pattern.h"
#include "common/policy/vocabulary.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/common/policy/policy_testing.h"

namespace postern::policy::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

const std::filesystem::path kGolden =
    std::filesystem::path(POSTERN_SOURCE_DIR) / "tests/unit/common/policy/golden/load";

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string FindingsOf(const std::string& name, const std::string& yaml) {
  v1::PolicyDocument document;
  document.set_path(name);
  document.set_text(yaml);
  std::string text;
  for (const v1::PolicyFinding& finding : Load({document}).findings) {
    EXPECT_EQ(finding.path(), name);
    text += fmt::format("{} {}: {}\n", v1::PolicyFinding::Severity_Name(finding.severity()), finding.line(),
                        finding.message());
  }
  return text;
}

class GoldenLoad : public ::testing::TestWithParam<std::string> {};

TEST_P(GoldenLoad, GivesTheseFindings) {
  const std::string yaml = ReadFile(kGolden / (GetParam() + ".yaml"));
  ASSERT_FALSE(yaml.empty());
  EXPECT_EQ(FindingsOf(GetParam() + ".yaml", yaml), ReadFile(kGolden / (GetParam() + ".findings")));
}

std::vector<std::string> GoldenNames() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kGolden)) {
    if (entry.path().extension() == ".yaml") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

INSTANTIATE_TEST_SUITE_P(Files, GoldenLoad, ::testing::ValuesIn(GoldenNames()),
                         [](const ::testing::TestParamInfo<std::string>& tested) { return tested.param; });

TEST(GoldenLoad, HasFiles) { EXPECT_GE(GoldenNames().size(), 5u); }

TEST(Load, ReadsEveryKey) {
  const std::vector<v1::Policy> policies = Parse(ReadFile(kGolden / "everything.yaml"));
  ASSERT_THAT(policies, SizeIs(2));
  const v1::Policy& policy = policies[0];
  EXPECT_EQ(policy.name(), "support-desk");
  EXPECT_EQ(policy.owner(), "support-eng");
  EXPECT_EQ(policy.path(), "test.yaml");
  EXPECT_EQ(policy.subjects(0).agent(), "support-bot");
  EXPECT_EQ(policy.subjects(0).on_behalf_of(), "*@example.com");
  EXPECT_EQ(policy.subjects(0).group(), "support");
  EXPECT_EQ(policy.subjects(0).line(), 5);
  EXPECT_THAT(policy.targets().databases(), ElementsAre("orders"));
  EXPECT_THAT(policy.targets().env(), ElementsAre("prod"));
  EXPECT_THAT(policy.targets().names(), ElementsAre("eu-*"));
  EXPECT_EQ(policy.session().role(), "app_support");
  EXPECT_EQ(policy.session().ttl_seconds(), 5400);
  EXPECT_EQ(policy.session().statement_timeout_ms(), 500);
  EXPECT_EQ(policy.session().on_disconnect_seconds(), 15);
  EXPECT_EQ(policy.session().audit(), "strict");
  EXPECT_TRUE(policy.session().read_only());

  ASSERT_EQ(policy.rules_size(), 3);
  const v1::Rule& lookup = policy.rules(0);
  EXPECT_EQ(lookup.line(), 9);
  EXPECT_EQ(lookup.effect(), v1::RULE_EFFECT_ALLOW);
  EXPECT_THAT(lookup.do_(), ElementsAre("select"));
  EXPECT_THAT(lookup.objects(), ElementsAre("app.orders", "app.customers"));
  ASSERT_EQ(lookup.columns().mask_size(), 2);
  EXPECT_EQ(lookup.columns().mask(0).column(), "app.customers.email");
  EXPECT_EQ(lookup.columns().mask(0).strategy(), v1::MASK_STRATEGY_HASH);
  EXPECT_EQ(lookup.columns().mask(0).line(), 10);
  EXPECT_EQ(lookup.columns().mask(1).strategy(), v1::MASK_STRATEGY_NULL);
  EXPECT_THAT(lookup.require().where_on(), ElementsAre("customer_id"));
  EXPECT_EQ(lookup.require().limit_max(), 200);
  const v1::Rule& refund = policy.rules(1);
  EXPECT_THAT(refund.columns().only(), ElementsAre("status", "refunded_at"));
  EXPECT_TRUE(refund.require().where());
  EXPECT_EQ(refund.affected().rows_max(), 1);
  EXPECT_THAT(refund.hold().by(), ElementsAre("support-leads"));
  EXPECT_EQ(refund.hold().approvals(), 2);
  EXPECT_EQ(refund.hold().request_ttl_seconds(), 1800);
  EXPECT_EQ(refund.hold().use_within_seconds(), 300);
  EXPECT_EQ(refund.message(), "Refunds need a lead.");
  EXPECT_EQ(policy.rules(2).on(), "token");
  ASSERT_EQ(policy.tests_size(), 1);
  EXPECT_EQ(policy.tests(0).as().agent(), "support-bot");
  EXPECT_EQ(policy.tests(0).database(), "orders");
  EXPECT_EQ(policy.tests(0).expect(), "deny");
  EXPECT_EQ(policy.tests(0).rule(), "lookup");
  EXPECT_EQ(policies[1].name(), "second");
}

TEST(Load, RefusesAPolicyNameThatAnotherFileHas) {
  v1::PolicyDocument a, b;
  a.set_path("a.yaml");
  b.set_path("b.yaml");
  a.set_text("apiVersion: postern/v1\nkind: Policy\nmetadata: {name: p}\nsubjects: [{group: g}]\n");
  b.set_text(a.text());
  const LoadResult result = Load({a, b});
  EXPECT_FALSE(result.ok());
  ASSERT_THAT(result.findings, SizeIs(1));
  EXPECT_EQ(result.findings[0].path(), "b.yaml");
  EXPECT_EQ(result.findings[0].line(), 3);
  EXPECT_EQ(result.findings[0].message(), "policy `p` exists already in a.yaml:3; give it a name of its own");
}

TEST(Load, RefusesAFileThatIsTooLarge) {
  EXPECT_THAT(FindingsOf("big.yaml", std::string(1 << 21, ' ')), ::testing::HasSubstr("a policy file may have"));
}

TEST(Load, SurvivesDeepNesting) {
  EXPECT_EQ(FindingsOf("deep.yaml", std::string(100'000, '[')), "ERROR 1: not readable as YAML: nested too deeply\n");
}

TEST(Pattern, StarStandsForAnyRun) {
  EXPECT_TRUE(Pattern("*").Matches(""));
  EXPECT_TRUE(Pattern("a*").Matches("a"));
  EXPECT_TRUE(Pattern("*@example.com").Matches("z@example.com"));
  EXPECT_FALSE(Pattern("*@example.com").Matches("z@example.com.evil"));
  EXPECT_TRUE(Pattern("a*b*c").Matches("aXXbYbZc"));
  EXPECT_FALSE(Pattern("a*b*c").Matches("aXXbYbZ"));
  EXPECT_FALSE(Pattern("Orders").Matches("orders"));
  EXPECT_FALSE(Pattern("a?c").Matches("abc"));
}

TEST(Pattern, Intersects) {
  EXPECT_TRUE(Pattern("a*").Intersects(Pattern("*b")));
  EXPECT_TRUE(Pattern("a*c").Intersects(Pattern("ab*")));
  EXPECT_FALSE(Pattern("a*").Intersects(Pattern("b*")));
  EXPECT_FALSE(Pattern("*x*a").Intersects(Pattern("*b")));
  EXPECT_TRUE(Pattern("abc").Intersects(Pattern("a*c")));
  EXPECT_FALSE(Pattern("abc").Intersects(Pattern("abd")));
}

TEST(ObjectPattern, IncludesIsNeverWrong) {
  EXPECT_TRUE(ObjectPattern("app.*").Includes(ObjectPattern("app.o*")));
  EXPECT_TRUE(ObjectPattern("orders").Includes(ObjectPattern("app.orders")));
  EXPECT_FALSE(ObjectPattern("app.orders").Includes(ObjectPattern("orders")));
  EXPECT_FALSE(ObjectPattern("app.o*").Includes(ObjectPattern("app.*")));
}

TEST(Duration, Reads) {
  EXPECT_EQ(ParseDuration("10m"), 600'000);
  EXPECT_EQ(ParseDuration("5s"), 5'000);
  EXPECT_EQ(ParseDuration("1h30m"), 5'400'000);
  EXPECT_EQ(ParseDuration("1m500ms"), 60'500);
  for (const std::string_view bad : {"", "10", "m", "0s", "-5s", "+5s", "5 s", "1m1h", "5m5m", "1.5h", "1d", "9999999h",
                                     "99999999999999999999s", "5S"}) {
    EXPECT_EQ(ParseDuration(bad), std::nullopt) << bad;
  }
  EXPECT_EQ(FormatDuration(5'400'000), "1h30m");
  EXPECT_EQ(FormatDuration(0), "0s");
}

TEST(Verbs, GroupsAndNamedPermissions) {
  EXPECT_EQ(VerbsOf("read")->ToString(), "select");
  EXPECT_EQ(VerbsOf("write")->ToString(), "insert, update, delete");
  EXPECT_EQ(VerbsOf("ddl")->ToString(), "truncate, create, alter, drop, comment");
  EXPECT_FALSE(VerbsOf("all")->Intersects(NamedPermissions()));
  EXPECT_EQ(VerbsOf("SELECT"), std::nullopt);
  EXPECT_EQ(NearestVerb("SELECT"), "select");
  EXPECT_EQ(NearestVerb("set-role"), "set_role");
  EXPECT_EQ(NearestVerb("xyzzy"), "");
  for (const sql::Operation operation : (AllVerbs() | NamedPermissions()).Operations()) {
    EXPECT_EQ(VerbsOf(sql::OperationName(operation)), VerbSet(operation));
  }
}

TEST(LooksMasked, KnowsItsOwnOutputOnly) {
  EXPECT_TRUE(LooksMasked(v1::MASK_STRATEGY_HASH, "[redacted]"));
  EXPECT_TRUE(LooksMasked(v1::MASK_STRATEGY_EMAIL_DOMAIN, "***@example.com"));
  EXPECT_TRUE(LooksMasked(v1::MASK_STRATEGY_LAST4, "********1234"));
  EXPECT_TRUE(LooksMasked(v1::MASK_STRATEGY_PARTIAL, "a****z"));
  EXPECT_TRUE(LooksMasked(v1::MASK_STRATEGY_PARTIAL, "é***ü"));
  EXPECT_TRUE(LooksMasked(v1::MASK_STRATEGY_PARTIAL, "***"));
  EXPECT_TRUE(LooksMasked(v1::MASK_STRATEGY_LAST4, "****ßßßß"));
  EXPECT_FALSE(LooksMasked(v1::MASK_STRATEGY_PARTIAL, "az"));
  EXPECT_FALSE(LooksMasked(v1::MASK_STRATEGY_PARTIAL, "a***b***c"));
  EXPECT_FALSE(LooksMasked(v1::MASK_STRATEGY_LAST4, "***12345"));
  EXPECT_FALSE(LooksMasked(v1::MASK_STRATEGY_LAST4, "5551234"));
  EXPECT_FALSE(LooksMasked(v1::MASK_STRATEGY_EMAIL_DOMAIN, "z@example.com"));
  EXPECT_FALSE(LooksMasked(v1::MASK_STRATEGY_YEAR, "2020-01-01"));
}

}  // namespace
}  // namespace postern::policy::testing
