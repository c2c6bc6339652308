// What statements take from a grant's budget of tests of masked columns, and that it does not come back.
#include "sidecar/enforce/probes.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/sidecar/enforce/enforce_testing.h"

namespace postern::sidecar {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kProbing = R"(
apiVersion: postern/v1
kind: Policy
metadata: {name: shop}
subjects: [{agent: bot}]
targets: {databases: [shop]}
rules:
  - id: read
    effect: allow
    do: [read, write]
    objects: [app.*]
    columns:
      mask: {app.customers.email: hash, app.customers.born: year}
      lookup: [app.customers.email]
      count_min: {app.customers.born: 10}
      probes_max: 5
)";

class ProbesTest : public ::testing::Test {
 protected:
  ProbesTest() { enforcer_.SetCatalog(sql::Catalog::Build(testing::ShopContents())); }

  std::shared_ptr<const Plan> Judge(std::string_view text) {
    state_.SetDefaults({"app"}, "bot_role");
    return enforcer_.Judge(testing::Bot(), state_, *policy_, text);
  }

  // The statement's count; -1: it tests nothing.
  int64_t Count(std::string_view text, const std::vector<std::optional<std::string>>& values = {},
                const std::vector<int16_t>& formats = {}) {
    const auto plan = Judge(text);
    EXPECT_EQ(plan->verdict, policy::Verdict::kAllow) << text << ": " << plan->DenyFields().detail;
    const std::optional<Probes> probes = ProbesOf(*plan, values, formats);
    if (probes.has_value()) {
      EXPECT_EQ(probes->most, 5);
    }
    return probes.has_value() ? probes->count : -1;
  }

  Enforcer enforcer_;
  SessionState state_;
  const std::shared_ptr<const policy::CompiledPolicy> policy_ = testing::Compile(kProbing);
};

TEST_F(ProbesTest, EachGivenValueOfAMaskedColumnCounts) {
  EXPECT_EQ(Count("select id from customers where id in (1, 2, 3)"), -1);
  EXPECT_EQ(Count("select id from customers where email = 'a' and id = 3"), 1);
  EXPECT_EQ(Count("select id from customers where email is null"), 1);
  EXPECT_EQ(Count("select id from customers where email in ('a', 'b', 'c')"), 3);
  EXPECT_EQ(Count("select id from customers where email = any ('{a,b}')"), 2);
  EXPECT_EQ(Count("select id from customers where email = any (array['a', 'b', 'c', 'd'])"), 4);
  EXPECT_EQ(Count("select id from customers where email = 'a' or email = 'b'"), 2);
  EXPECT_EQ(Count("update customers set name = 'x' where email = 'a'"), 1);
  EXPECT_EQ(Count("select 1 from customers where email = 'a'; select 1 from customers where email in ('b', 'c')"), 3);
  EXPECT_EQ(Count("select count(*) from customers where born < '1980-01-01' having count(*) >= 10"), 1);
}

TEST_F(ProbesTest, PlansSharedByShapeCountTheirOwnArrays) {
  EXPECT_EQ(Count("select id from customers where email = any ('{a,b}')"), 2);
  EXPECT_EQ(Count("select id from customers where email = any ('{a,b,c,d,e}')"), 5);
  EXPECT_EQ(Count("select id from customers where email = any ('{a}')"), 1);
}

TEST_F(ProbesTest, ArraysOfParametersAreCountedInEitherFormat) {
  constexpr std::string_view kText = "select id from customers where email = any ($1)";
  EXPECT_EQ(Count(kText, {"{a,b,c}"}), 3);
  EXPECT_EQ(Count(kText, {std::nullopt}), 1);
  const std::string binary("\0\0\0\1\0\0\0\0\0\0\0\x19\0\0\0\2\0\0\0\1\0\0\0\1a\0\0\0\1b", 30);
  EXPECT_EQ(Count(kText, {binary}, {1}), 2);
  // What cannot be read is no free pass.
  EXPECT_GT(Count(kText, {"\1\2"}, {1}), 1'000'000);
  EXPECT_GT(Count(kText, {}), 1'000'000);
  EXPECT_EQ(Count("select id from customers where email = $1", {"{a,b,c}"}), 1);
}

TEST_F(ProbesTest, ExecuteCountsItsArguments) {
  auto prepared = std::make_shared<Prepared>();
  prepared->text = "prepare p as select id from customers where email = any ($1)";
  prepared->by_sql = true;
  EXPECT_EQ(Count(prepared->text), -1) << "PREPARE runs nothing";
  state_.OnParseComplete("p", prepared);
  EXPECT_EQ(Count("execute p ('{a,b}')"), 2);
  EXPECT_EQ(Count("execute p (array['a', 'b', 'c'])"), 3);
  EXPECT_GT(Count("execute p (string_to_array('a,b', ','))"), 5);
}

TEST_F(ProbesTest, TheBudgetIsOfTheGrantAndIsTakenWholeOrNotAtAll) {
  ProbeBudget budget;
  const absl::Time now = absl::UnixEpoch();
  const absl::Time expires = now + absl::Minutes(10);
  EXPECT_TRUE(budget.Spend("grt_1", expires, now, {3, 5}));
  EXPECT_FALSE(budget.Has("grt_1", {3, 5}));
  EXPECT_FALSE(budget.Spend("grt_1", expires, now, {3, 5}));
  EXPECT_TRUE(budget.Spend("grt_1", expires, now, {2, 5}));
  EXPECT_FALSE(budget.Spend("grt_1", expires, now, {1, 5}));
  EXPECT_TRUE(budget.Has("grt_2", {5, 5}));
  // A policy that allows more takes effect at once.
  EXPECT_TRUE(budget.Spend("grt_1", expires, now, {1, 6}));
}

TEST_F(ProbesTest, WhatIsForgottenHasExpired) {
  ProbeBudget budget;
  const absl::Time now = absl::UnixEpoch();
  EXPECT_TRUE(budget.Spend("lasting", now + absl::Hours(1), now, {5, 5}));
  for (int i = 0; i < 5000; ++i) {
    const absl::Time at = now + absl::Seconds(i);
    EXPECT_TRUE(budget.Spend(std::to_string(i), at + absl::Seconds(1), at, {1, 5}));
    ASSERT_FALSE(budget.Has("lasting", {1, 5}) && i < 3600);
  }
}

TEST_F(ProbesTest, TheRefusalSaysWhatIsUpAndWhatToDo) {
  const auto plan = Judge("select id from customers where email = 'a'");
  const auto refused = RefusedForProbes(*plan, *ProbesOf(*plan));
  const Plan::Refusal fields = refused->DenyFields();
  EXPECT_EQ(fields.sqlstate, "53400");
  EXPECT_THAT(fields.message, HasSubstr("postern: this grant has used up its tests of masked columns"));
  EXPECT_THAT(fields.detail, HasSubstr("5 tests"));
  EXPECT_THAT(fields.hint, HasSubstr("new token"));
  EXPECT_EQ(refused->decisions[refused->decisive].reason_code, "PROBES_SPENT");
  EXPECT_EQ(refused->verdict, policy::Verdict::kDeny);
}

}  // namespace
}  // namespace postern::sidecar
