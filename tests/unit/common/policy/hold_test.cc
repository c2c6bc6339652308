// Terms of hold rules, and change freezes.
#include "absl/time/time.h"
#include "common/policy/policy.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace postern::policy {
namespace {

using testing::HasSubstr;

LoadResult LoadHold(std::string_view hold, std::string_view more = "") {
  v1::PolicyDocument document;
  document.set_path("p.yaml");
  document.set_text(
      fmt::format("apiVersion: postern/v1\nkind: Policy\nmetadata: {{name: p}}\nsubjects: [{{agent: '*'}}]\n"
                  "targets: {{env: [prod]}}\nrules:\n  - {{id: r, effect: hold, do: [delete], {}}}\n{}",
                  hold, more));
  return Load({document});
}

std::string FirstError(const LoadResult& result) {
  for (const v1::PolicyFinding& finding : result.findings) {
    if (finding.severity() == v1::PolicyFinding::ERROR) return finding.message();
  }
  return "";
}

TEST(HoldTest, EveryKeyIsRead) {
  const LoadResult loaded = LoadHold(
      "hold: {steps: [{by: [leads]}, {by: [dbas], approvals: 2}], need: any, request_ttl: 20m, use_within: 2m, "
      "run_within: 30s, in_transaction_ttl: 10s, mode: return, preview: {show: rows, rows_max: 3, redact: [app.t.c]}, "
      "template: {rows_max: 100, for: 30m}, break_glass: [oncall]}");
  ASSERT_TRUE(loaded.ok()) << FirstError(loaded);
  const v1::HoldSettings& hold = loaded.policies[0].rules(0).hold();
  EXPECT_EQ(hold.steps_size(), 2);
  EXPECT_TRUE(hold.any_step());
  EXPECT_EQ(hold.run_within_seconds(), 30);
  EXPECT_EQ(hold.in_transaction_ttl_seconds(), 10);
  EXPECT_EQ(hold.mode(), "return");
  EXPECT_EQ(hold.preview().show(), "rows");
  EXPECT_EQ(hold.preview().redact(0), "app.t.c");
  EXPECT_EQ(hold.template_().for_seconds(), 1800);
  EXPECT_EQ(hold.break_glass(0), "oncall");
}

TEST(HoldTest, MistakesAreErrorsThatSayWhatToWrite) {
  const std::pair<const char*, const char*> cases[] = {
      {"hold: {approvals: 1}", "nobody could approve"},
      {"hold: {by: [a], steps: [{by: [b]}]}", "`steps` name their own groups"},
      {"hold: {by: [a], need: any}", "`need` says how many of `steps`"},
      {"hold: {steps: [{approvals: 1}]}", "a step of `hold` needs `by`"},
      {"hold: {by: [a], mode: later}", "`mode` must be one of wait, return"},
      {"hold: {by: [a], preview: {show: all}}", "`show` must be one of none, plan, count, rows"},
      {"hold: {by: [a], preview: {redact: [t]}}", "`redact` names `schema.relation.column`"},
      {"hold: {by: [a], template: {rows_max: 5}}", "`template` needs both bounds"},
      {"hold: {by: [a], template: {rows_max: 5, for: 25h}}", "24h at most"},
      {"hold: {by: [a], modus: wait}", "modus"},
      {"on: token, hold: {by: [a], mode: return}", "are for statements, not for token requests"},
  };
  for (const auto& [hold, message] : cases) EXPECT_THAT(FirstError(LoadHold(hold)), HasSubstr(message)) << hold;
}

TEST(FreezeTest, HoldsForWhomThePolicySpeaksBetweenItsTimes) {
  const LoadResult loaded =
      LoadHold("hold: {by: [a]}",
               "freezes:\n  - {name: short, from: '2026-12-20T00:00:00Z', until: '2026-12-21T00:00:00Z'}\n"
               "  - {name: long, from: '2026-12-20T00:00:00+02:00', until: '2027-01-03T00:00:00Z'}\n");
  ASSERT_TRUE(loaded.ok()) << FirstError(loaded);
  v1::PolicySet set;
  *set.add_policies() = loaded.policies[0];
  const auto policy = CompiledPolicy::Compile(set);
  ASSERT_TRUE(policy.ok()) << policy.status();
  const Subject bot{.agent = "bot", .on_behalf_of = "", .groups = {}};
  const TargetView prod{.name = "t", .database = "d", .env = "prod"};
  const absl::Time begin = absl::FromCivil(absl::CivilHour(2026, 12, 19, 22), absl::UTCTimeZone());
  EXPECT_FALSE((*policy)->FreezeAt(bot, prod, begin - absl::Seconds(1)).has_value());
  EXPECT_EQ((*policy)->FreezeAt(bot, prod, begin)->name, "long");
  EXPECT_EQ((*policy)->FreezeAt(bot, prod, begin + absl::Hours(3))->name, "long") << "the one that ends last";
  EXPECT_FALSE((*policy)->FreezeAt(bot, {.name = "t", .database = "d", .env = "dev"}, begin).has_value());
  EXPECT_FALSE((*policy)->FreezeAt(bot, prod, begin + absl::Hours(24 * 30)).has_value());
}

TEST(FreezeTest, MistakesAreErrors) {
  const auto error = [](std::string_view freezes) { return FirstError(LoadHold("hold: {by: [a]}", freezes)); };
  EXPECT_THAT(error("freezes: [{name: f, from: 2026-12-20, until: '2027-01-03T00:00:00Z'}]\n"),
              HasSubstr("is a time such as"));
  EXPECT_THAT(error("freezes: [{name: f, from: '2027-12-20T00:00:00Z', until: '2027-01-03T00:00:00Z'}]\n"),
              HasSubstr("ends before it begins"));
}

}  // namespace
}  // namespace postern::policy
