#include "sidecar/uplink/state_builder.h"

#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/timestamps.h"
#include "common/crypto/ec_key.h"

namespace postern::sidecar {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class StateBuilderTest : public ::testing::Test {
 protected:
  StateBuilderTest()
      : builder_(clock_, [this](std::string_view reason, std::string_view) { alarms_.emplace_back(reason); }) {
    snapshot_.set_origin("cp.example");
    AddKey(snapshot_.add_token_keys(), "k1");
    *snapshot_.mutable_policy() = GoodPolicy(3);
    snapshot_.add_targets()->set_name("demo");
    (*snapshot_.mutable_mask_keys())["demo"] = "mask";
  }

  static void AddKey(v1::TokenKey* key, const std::string& id) {
    key->set_key_id(id);
    key->set_public_key_pem(crypto::EcPrivateKey::Generate()->public_key().ToPem());
  }

  static v1::PolicySet GoodPolicy(int64_t revision) {
    v1::PolicySet set;
    set.set_revision(revision);
    v1::Policy& policy = *set.add_policies();
    policy.set_name("support");
    policy.add_subjects()->set_agent("bot");
    v1::Rule& rule = *policy.add_rules();
    rule.set_id("read");
    rule.set_effect(v1::RULE_EFFECT_ALLOW);
    rule.add_do_("select");
    return set;
  }

  // A verb that this version does not know.
  static v1::PolicySet BadPolicy(int64_t revision) {
    v1::PolicySet set = GoodPolicy(revision);
    set.mutable_policies(0)->mutable_rules(0)->add_do_("levitate");
    return set;
  }

  v1::Revocation Revoked(const std::string& id, absl::Duration in) {
    v1::Revocation revocation;
    revocation.set_grant_id(id);
    revocation.set_reason("enough");
    *revocation.mutable_forget_time() = ToTimestamp(clock_.Now() + in);
    return revocation;
  }

  FakeClock clock_;
  std::vector<std::string> alarms_;
  StateBuilder builder_;
  v1::SyncResponse::Snapshot snapshot_;
};

TEST_F(StateBuilderTest, NothingIsKnownBeforeTheFirstSnapshot) { EXPECT_EQ(builder_.state(), nullptr); }

TEST_F(StateBuilderTest, SnapshotBecomesAState) {
  *snapshot_.add_revocations() = Revoked("grt_1", absl::Minutes(5));
  EXPECT_EQ(builder_.Apply(snapshot_).size(), 1u);
  auto state = builder_.state();
  EXPECT_EQ(state->origin, "cp.example");
  EXPECT_NE(state->verifier, nullptr);
  EXPECT_EQ(state->policy->revision(), 3);
  EXPECT_EQ(state->policy_revision, 3);
  EXPECT_EQ(state->targets.count("demo"), 1u);
  EXPECT_EQ(state->revoked.at("grt_1"), "enough");
  EXPECT_EQ(state->mask_keys.at("demo"), "mask");
  EXPECT_THAT(alarms_, IsEmpty());
}

TEST_F(StateBuilderTest, StatesThatWereReadStayAsTheyWere) {
  builder_.Apply(snapshot_);
  auto before = builder_.state();
  builder_.Apply(GoodPolicy(4));
  EXPECT_EQ(before->policy_revision, 3);
  EXPECT_EQ(builder_.state()->policy_revision, 4);
  EXPECT_GT(builder_.state()->generation, before->generation);
  EXPECT_EQ(builder_.state()->targets.count("demo"), 1u);
}

TEST_F(StateBuilderTest, PolicyThatDoesNotCompileLeavesTheOldOneInForce) {
  builder_.Apply(snapshot_);
  builder_.Apply(BadPolicy(4));
  EXPECT_EQ(builder_.state()->policy_revision, 3);
  EXPECT_THAT(alarms_, ElementsAre("POLICY_NOT_APPLIED"));
  *snapshot_.mutable_policy() = BadPolicy(5);
  builder_.Apply(snapshot_);
  EXPECT_EQ(builder_.state()->policy_revision, 3);
}

TEST_F(StateBuilderTest, FirstPolicyThatDoesNotCompileDeniesEverything) {
  *snapshot_.mutable_policy() = BadPolicy(3);
  builder_.Apply(snapshot_);
  ASSERT_NE(builder_.state()->policy, nullptr);
  EXPECT_EQ(builder_.state()->policy_revision, 0);
  policy::Subject subject;
  subject.agent = "bot";
  policy::TargetView target;
  target.name = "demo";
  EXPECT_FALSE(builder_.state()->policy->TermsFor(subject, target).matched);
  EXPECT_THAT(alarms_, ElementsAre("POLICY_NOT_APPLIED"));
}

TEST_F(StateBuilderTest, KeysThatDoNotParseLeaveTheOldOnesInForce) {
  builder_.Apply(snapshot_);
  auto verifier = builder_.state()->verifier;
  v1::SyncResponse::TokenKeys keys;
  keys.add_keys()->set_key_id("k2");
  builder_.Apply(keys);
  EXPECT_EQ(builder_.state()->verifier, verifier);
  EXPECT_THAT(alarms_, ElementsAre("TOKEN_KEYS_NOT_APPLIED"));
  keys.clear_keys();
  AddKey(keys.add_keys(), "k3");
  builder_.Apply(keys);
  EXPECT_NE(builder_.state()->verifier, verifier);
}

TEST_F(StateBuilderTest, TargetsAreReplacedWithTheirMaskKeys) {
  builder_.Apply(snapshot_);
  v1::SyncResponse::Targets targets;
  targets.add_targets()->set_name("next");
  builder_.Apply(targets);
  EXPECT_EQ(builder_.state()->targets.count("demo"), 0u);
  EXPECT_EQ(builder_.state()->targets.count("next"), 1u);
  EXPECT_TRUE(builder_.state()->mask_keys.empty());
}

TEST_F(StateBuilderTest, RevocationIsNewsOnce) {
  builder_.Apply(snapshot_);
  EXPECT_TRUE(builder_.Apply(Revoked("grt_1", absl::Minutes(5))));
  EXPECT_FALSE(builder_.Apply(Revoked("grt_1", absl::Minutes(5))));
  *snapshot_.add_revocations() = Revoked("grt_1", absl::Minutes(5));
  *snapshot_.add_revocations() = Revoked("grt_2", absl::Minutes(5));
  std::vector<v1::Revocation> news = builder_.Apply(snapshot_);
  ASSERT_EQ(news.size(), 1u);
  EXPECT_EQ(news[0].grant_id(), "grt_2");
}

TEST_F(StateBuilderTest, RevocationsAreForgottenSomeTimeAfterTheGrantEnds) {
  builder_.Apply(snapshot_);
  builder_.Apply(Revoked("grt_1", absl::Minutes(5)));
  v1::Revocation endless = Revoked("grt_2", absl::ZeroDuration());
  endless.clear_forget_time();
  builder_.Apply(endless);
  clock_.Advance(absl::Minutes(6));  // a token is accepted a little beyond its expiry
  builder_.Apply(GoodPolicy(4));
  EXPECT_EQ(builder_.state()->revoked.count("grt_1"), 1u);
  clock_.Advance(absl::Minutes(60));
  builder_.Apply(GoodPolicy(5));
  EXPECT_EQ(builder_.state()->revoked.count("grt_1"), 0u);
  EXPECT_EQ(builder_.state()->revoked.count("grt_2"), 1u);
}

TEST_F(StateBuilderTest, NothingOfAnotherControlPlaneStaysInForce) {
  builder_.Apply(snapshot_);
  snapshot_.set_origin("other.example");
  *snapshot_.mutable_policy() = BadPolicy(9);
  builder_.Apply(snapshot_);
  EXPECT_EQ(builder_.state()->policy_revision, 0);
}

}  // namespace
}  // namespace postern::sidecar
