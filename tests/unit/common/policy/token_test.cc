// Token requests, and the text of subjects.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/common/policy/policy_testing.h"

namespace postern::policy::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::string_view kPolicy = R"(
apiVersion: postern/v1
kind: Policy
metadata: {name: p}
subjects: [{group: agents}]
session: {ttl: 10m}
rules:
  - {id: read, effect: allow, do: [read], objects: ["app.*"]}
  - {id: write, effect: allow, do: [update, alter], objects: [app.orders]}
  - {id: drop, effect: hold, do: [drop], objects: ["app.*"], hold: {by: [dba]}}
  - {id: no-alter, effect: deny, do: [alter], message: Ask the DBA.}
  - {id: no-payroll, effect: deny, do: [select], objects: [app.payroll]}
  - {id: ask-first, effect: hold, do: [update], on: token, hold: {by: [leads], approvals: 2}}
  - {id: never, effect: deny, do: [drop], objects: [app.orders], on: token}
)";

struct Case {
  std::string name;
  IntentView intent;
  Verdict verdict;
  std::string rule;
  std::string reason;
};
void PrintTo(const Case& c, std::ostream* os) { *os << c.name; }

class TokenCase : public ::testing::TestWithParam<Case> {};

TEST_P(TokenCase, IsDecided) {
  const TokenDecision decision = Compiled(kPolicy)->JudgeToken(Bot(), Demo(), GetParam().intent, 0);
  EXPECT_EQ(decision.verdict, GetParam().verdict) << decision.reason;
  EXPECT_EQ(decision.rule.ToString(), GetParam().rule);
  EXPECT_THAT(decision.reason, HasSubstr(GetParam().reason));
  EXPECT_EQ(decision.reason.empty(), decision.verdict == Verdict::kAllow);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, TokenCase,
    ::testing::Values(
        Case{"granted", {{"select"}, {}}, Verdict::kAllow, "", ""},
        Case{"group", {{"read"}, {"app.customers"}}, Verdict::kAllow, "", ""},
        Case{"session_operations", {{"select", "session"}, {}}, Verdict::kAllow, "", ""},
        Case{"held_statements_may_be_asked_for", {{"drop"}, {"app.customers"}}, Verdict::kAllow, "", ""},
        Case{"not_granted", {{"select", "truncate"}, {}}, Verdict::kDeny, "", "truncate: no rule grants it"},
        Case{"group_not_granted_whole", {{"write"}, {}}, Verdict::kDeny, "", "insert: no rule grants it"},
        Case{"object_elsewhere", {{"select"}, {"hr.*"}}, Verdict::kDeny, "", "select on hr.*"},
        Case{"one_object_elsewhere", {{"select"}, {"app.orders", "hr.staff"}}, Verdict::kDeny, "", "hr.staff"},
        Case{"pattern_that_meets", {{"select"}, {"*.orders"}}, Verdict::kAllow, "", ""},
        Case{"denied_everywhere", {{"alter"}, {}}, Verdict::kDeny, "", "denied by p/no-alter (test.yaml:11): Ask"},
        Case{"denied_on_that_object", {{"select"}, {"app.payroll"}}, Verdict::kDeny, "", "denied by p/no-payroll"},
        Case{"needs_approval_of_the_request", {{"update"}, {}}, Verdict::kHold, "p/ask-first", "a token for update"},
        Case{"denied_on_token", {{"drop"}, {"app.orders"}}, Verdict::kDeny, "p/never", "a token for drop"},
        Case{"all_asks_for_what_is_granted", {{"all"}, {"app.customers"}}, Verdict::kAllow, "", ""},
        Case{"all_includes_what_is_held_on_token",
             {{"all"}, {"app.o*", "app.customers"}},
             Verdict::kDeny,
             "p/never",
             ""},
        Case{"nothing", {{}, {}}, Verdict::kDeny, "", "names no operation"},
        Case{"unknown_verb", {{"selct"}, {}}, Verdict::kDeny, "", "`selct` is no operation"}),
    [](const ::testing::TestParamInfo<Case>& tested) { return tested.param.name; });

TEST(JudgeToken, HoldTermsAreThoseOfTheRule) {
  const TokenDecision decision = Compiled(kPolicy)->JudgeToken(Bot(), Demo(), {{"update"}, {}}, 0);
  EXPECT_THAT(decision.hold.groups, ElementsAre("leads"));
  EXPECT_EQ(decision.hold.approvals, 2);
}

TEST(JudgeToken, LifetimeIsTheShorterOfRequestAndPolicy) {
  const auto policy = Compiled(kPolicy);
  const auto ttl = [&](int64_t asked) {
    return policy->JudgeToken(Bot(), Demo(), {{"select"}, {}}, asked).session.ttl_seconds;
  };
  EXPECT_EQ(ttl(0), 600);
  EXPECT_EQ(ttl(60), 60);
  EXPECT_EQ(ttl(3600), 600);
}

TEST(JudgeToken, AStrangerGetsNothing) {
  const TokenDecision decision = Compiled(kPolicy)->JudgeToken({"x", "", {}}, Demo(), {{"select"}, {}}, 0);
  EXPECT_EQ(decision.verdict, Verdict::kDeny);
  EXPECT_THAT(decision.reason, HasSubstr("no policy speaks of agent x"));
  EXPECT_FALSE(decision.session.matched);
}

TEST(JudgeToken, AllOfNothingIsNothing) {
  const auto policy = Compiled(R"(
apiVersion: postern/v1
kind: Policy
metadata: {name: p}
subjects: [{group: agents}]
rules: [{id: d, effect: deny, do: [drop]}]
)");
  EXPECT_EQ(policy->JudgeToken(Bot(), Demo(), All(), 0).verdict, Verdict::kDeny);
}

TEST(ParseSubject, ReadsAgentPersonAndGroups) {
  const auto parse = [](std::string_view text) {
    const auto subject = ParseSubject(text);
    EXPECT_TRUE(subject.ok()) << text;
    return subject.value_or(Subject());
  };
  EXPECT_EQ(parse("bot").agent, "bot");
  EXPECT_EQ(parse("bot").on_behalf_of, "");

  const Subject full = parse("bot/z@example.com@support,leads");
  EXPECT_EQ(full.agent, "bot");
  EXPECT_EQ(full.on_behalf_of, "z@example.com");
  EXPECT_THAT(full.groups, ElementsAre("support", "leads"));

  EXPECT_THAT(parse("bot@support").groups, ElementsAre("support"));
  const Subject address = parse("bot/z@example.com");
  EXPECT_EQ(address.on_behalf_of, "z@example.com");
  EXPECT_THAT(address.groups, IsEmpty());
  const Subject plain = parse("bot/zoe@support");
  EXPECT_EQ(plain.on_behalf_of, "zoe");
  EXPECT_THAT(plain.groups, ElementsAre("support"));
}

TEST(ParseSubject, RefusesTheRest) {
  for (const std::string_view text : {"", "@g", "/z", "bot/", "bot/@g", "bot@", "bot@a,,b", "bot@a,", "bot@a@b"}) {
    EXPECT_EQ(ParseSubject(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace postern::policy::testing
