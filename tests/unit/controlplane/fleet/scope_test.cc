#include "controlplane/fleet/scope.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postern::fleet {
namespace {

using ::testing::ElementsAre;

v1::Target MakeTarget(const std::string& name, const std::string& env, const std::vector<std::string>& databases = {}) {
  v1::Target target;
  target.set_name(name);
  target.set_env(env);
  target.set_default_database("orders");
  for (const std::string& database : databases) target.add_databases(database);
  return target;
}

// The names of the policies that a sidecar for `targets` gets of one policy per matcher.
std::vector<int> Kept(const std::vector<v1::TargetMatcher>& matchers, const std::vector<v1::Target>& targets) {
  v1::PolicySet set;
  for (size_t i = 0; i < matchers.size(); ++i) {
    v1::Policy& policy = *set.add_policies();
    policy.set_name(std::to_string(i));
    *policy.mutable_targets() = matchers[i];
  }
  v1::SyncResponse::Targets served;
  for (const v1::Target& target : targets) *served.add_targets() = target;
  std::vector<int> kept;
  const v1::PolicySet scoped = PolicyFor(set, served);
  for (const v1::Policy& policy : scoped.policies()) kept.push_back(std::stoi(policy.name()));
  return kept;
}

TEST(Scope, TargetsThatAreNotServedAreNotTold) {
  ControlSources::TargetSet all;
  all.targets = {MakeTarget("mine", "prod"), MakeTarget("other", "prod")};
  all.mask_keys = {{"mine", "k1"}, {"other", "k2"}};
  v1::SyncResponse::Targets targets = TargetsFor(all, {"mine", "not there"});
  ASSERT_EQ(targets.targets_size(), 1);
  EXPECT_EQ(targets.targets(0).name(), "mine");
  ASSERT_EQ(targets.mask_keys_size(), 1);
  EXPECT_EQ(targets.mask_keys().at("mine"), "k1");
}

TEST(Scope, PoliciesThatCouldApplyAreKept) {
  v1::TargetMatcher any, env, other_env, database, glob_database, name, both_but_one;
  env.add_env("prod");
  other_env.add_env("staging");
  database.add_databases("billing");
  glob_database.add_databases("b*g");
  name.add_names("main-*");
  both_but_one.add_env("prod");
  both_but_one.add_names("else");
  EXPECT_THAT(Kept({any, env, other_env, database, glob_database, name, both_but_one},
                   {MakeTarget("main-1", "prod", {"billing", "archive"})}),
              ElementsAre(0, 1, 3, 4, 5));
}

TEST(Scope, DefaultDatabaseCountsBesideListedOnes) {
  v1::TargetMatcher orders;
  orders.add_databases("orders");
  EXPECT_THAT(Kept({orders}, {MakeTarget("t", "prod", {"billing"})}), ElementsAre(0));
  EXPECT_THAT(Kept({orders}, {MakeTarget("t", "prod")}), ElementsAre(0));
}

TEST(Scope, NoTargetsNeedNoPolicies) {
  v1::TargetMatcher any;
  EXPECT_THAT(Kept({any}, {}), ElementsAre());
}

TEST(Scope, TestsAndOwnersStayAtHome) {
  v1::PolicySet set;
  set.set_revision(9);
  set.add_policies()->set_owner("team");
  set.mutable_policies(0)->add_tests()->set_sql("select 1");
  v1::SyncResponse::Targets served;
  *served.add_targets() = MakeTarget("t", "prod");
  v1::PolicySet scoped = PolicyFor(set, served);
  EXPECT_EQ(scoped.revision(), 9);
  ASSERT_EQ(scoped.policies_size(), 1);
  EXPECT_EQ(scoped.policies(0).tests_size(), 0);
  EXPECT_EQ(scoped.policies(0).owner(), "");
}

}  // namespace
}  // namespace postern::fleet
