#include "controlplane/token/token_service.h"

#include <memory>

#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/timestamps.h"
#include "common/crypto/ec_key.h"
#include "controlplane/store/approval_store.h"
#include "controlplane/store/grant_store.h"
#include "controlplane/store/policy_store.h"
#include "controlplane/store/standing_store.h"
#include "controlplane/store/target_store.h"
#include "controlplane/token/intent.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/controlplane/store/doubles.h"
#include "tests/unit/controlplane/store/temp_store.h"

namespace postern::grant {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kPolicy[] = R"(
apiVersion: postern/v1
kind: Policy
metadata: {name: desk, owner: support}
subjects: [{group: agents}]
targets: {databases: [orders]}
session: {ttl: 10m}
rules:
  - {id: read, effect: allow, do: [select], objects: [app.*]}
  - {id: erase, effect: allow, do: [delete], objects: [app.*]}
  - id: ask-first
    effect: hold
    on: token
    do: [delete]
    hold: {by: [approvers], approvals: 1, request_ttl: 30m, use_within: 5m}
  - {id: remove, effect: allow, do: [drop], objects: [app.*]}
  - id: two-steps
    effect: hold
    on: token
    do: [drop]
    hold: {steps: [{by: [approvers]}, {by: [dbas]}], break_glass: [oncall]}
)";

class TokenServiceTest : public testing::Test {
 protected:
  void SetUp() override {
    v1::PolicyDocument document;
    document.set_path("desk.yaml");
    document.set_text(kPolicy);
    const policy::LoadResult loaded = policy::Load({document});
    for (const v1::PolicyFinding& finding : loaded.findings) ADD_FAILURE() << finding.ShortDebugString();
    v1::PolicyRevision revision;
    for (const v1::Policy& one : loaded.policies) *revision.mutable_set()->add_policies() = one;
    *revision.mutable_create_time() = ToTimestamp(clock_.Now());
    ASSERT_TRUE(policies_.Append(revision, 0).ok());
    auto book = policy::PolicyBook::Open(policies_);
    ASSERT_TRUE(book.ok()) << book.status();
    book_ = *std::move(book);

    target::StoredTarget target;
    target.target.set_name("demo");
    target.target.set_default_database("orders");
    ASSERT_TRUE(targets_.Insert(target).ok());

    const auto key = crypto::EcPrivateKey::Generate();
    auto signer = token::TokenSigner::FromPem("key-1", key->ToPem().Expose());
    ASSERT_TRUE(signer.ok()) << signer.status();
    signer_ = *std::move(signer);
    auto verifier = token::TokenVerifier::Create("postern.test", {{"key-1", key->public_key().ToPem()}});
    ASSERT_TRUE(verifier.ok()) << verifier.status();
    verifier_ = *verifier;

    deps_ =
        std::make_unique<TokenDeps>(TokenDeps{grants_, targets_, *book_, approvals_, hub_, sink_,
                                              [this] { return signer_; }, clock_, Random::System(), "postern.test"});
    agent_.principal.set_id("support-bot");
    agent_.principal.set_kind(v1::AGENT);
    agent_.principal.add_groups("agents");
    agent_.owner = "owner@example.com";
    agent_.may_act_for = {"*@example.com"};
  }

  v1::MintTokenRequest Ask(std::vector<std::string> verbs = {"select"}) {
    v1::MintTokenRequest request;
    request.mutable_intent()->set_target("demo");
    for (std::string& verb : verbs) request.mutable_intent()->add_do_(std::move(verb));
    request.mutable_intent()->set_reason("a customer asked");
    request.set_request_id(NewUuid(Random::System()));
    return request;
  }

  absl::Status Mint(const v1::MintTokenRequest& request) {
    response_.Clear();
    act_.Clear();
    act_.set_action("mint");
    return MintToken(*deps_, agent_, request, act_, &response_);
  }

  identity::Caller Person(std::string id, std::string role, std::string group = "approvers") {
    identity::Caller caller;
    caller.principal.set_id(std::move(id));
    caller.principal.set_kind(v1::PERSON);
    if (!role.empty()) caller.principal.add_roles(std::move(role));
    caller.principal.add_groups(std::move(group));
    return caller;
  }

  absl::Status Decide(const std::string& id, bool approve, std::string comment = "") {
    v1::DecideApprovalRequest request;
    request.set_id(id);
    request.set_comment(std::move(comment));
    return approvals_.Decide(Person("lea@example.com", "approver"), request, approve).status();
  }

  store::TempStore db_;
  FakeClock clock_;
  RecordingHub hub_;
  RecordingSink sink_;
  store::SqlGrantStore grants_{*db_};
  store::SqlApprovalStore approval_store_{*db_};
  store::SqlPolicyStore policies_{*db_};
  store::SqlTargetStore targets_{*db_};
  store::SqlStandingStore standing_{*db_};
  approval::Approvals approvals_{approval_store_, standing_, grants_, hub_, sink_, clock_, Random::System()};
  std::unique_ptr<policy::PolicyBook> book_;
  std::shared_ptr<const token::TokenSigner> signer_;
  std::shared_ptr<const token::TokenVerifier> verifier_;
  std::unique_ptr<TokenDeps> deps_;
  identity::Caller agent_;
  v1::AuditRecord act_;
  v1::MintTokenResponse response_;
};

TEST_F(TokenServiceTest, AnAllowedIntentGetsATokenThatSaysWhatWasGranted) {
  ASSERT_TRUE(Mint(Ask()).ok());
  EXPECT_EQ(response_.grant().state(), v1::GRANT_ACTIVE);
  EXPECT_EQ(response_.sidecar_port(), 6432);
  EXPECT_EQ(response_.database(), "orders");
  const auto verified = verifier_->Verify(response_.token(), "demo", clock_);
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_EQ(verified->claims().grant_id, response_.grant().id());
  EXPECT_EQ(verified->claims().agent, "support-bot");
  EXPECT_THAT(verified->claims().verbs, ElementsAre("select"));
  EXPECT_EQ(verified->claims().expires_at, FromTimestamp(response_.grant().expire_time()));
  EXPECT_EQ(verified->claims().expires_at - clock_.Now(), absl::Minutes(10));
  EXPECT_THAT(sink_.lines(), ElementsAre("mint intended", "mint completed"));
  for (const v1::AuditRecord& record : sink_.records()) {
    EXPECT_EQ(record.SerializeAsString().find(response_.token()), std::string::npos) << "the token is in the log";
  }
}

TEST_F(TokenServiceTest, TheLifetimeIsCutToWhatPolicyAllows) {
  auto request = Ask();
  request.mutable_intent()->set_ttl_seconds(60);
  ASSERT_TRUE(Mint(request).ok());
  EXPECT_EQ(FromTimestamp(response_.grant().expire_time()) - clock_.Now(), absl::Minutes(1));
  request = Ask();
  request.mutable_intent()->set_ttl_seconds(7200);
  ASSERT_TRUE(Mint(request).ok());
  EXPECT_EQ(FromTimestamp(response_.grant().expire_time()) - clock_.Now(), absl::Minutes(10));
}

TEST_F(TokenServiceTest, ARepeatedRequestGetsTheSameGrant) {
  const auto request = Ask();
  ASSERT_TRUE(Mint(request).ok());
  const std::string id = response_.grant().id();
  clock_.Advance(absl::Minutes(1));
  ASSERT_TRUE(Mint(request).ok());
  EXPECT_EQ(response_.grant().id(), id);
  const auto verified = verifier_->Verify(response_.token(), "demo", clock_);
  ASSERT_TRUE(verified.ok());
  EXPECT_EQ(verified->claims().expires_at - clock_.Now(), absl::Minutes(9)) << "the deadline is absolute";

  auto other = request;
  other.mutable_intent()->set_reason("something else");
  EXPECT_EQ(ReasonOf(Mint(other)), "REQUEST_ID_REUSED");
  clock_.Advance(absl::Minutes(9));
  EXPECT_EQ(ReasonOf(Mint(request)), "GRANT_EXPIRED");
}

TEST_F(TokenServiceTest, WhatPolicyDoesNotGrantIsDeniedAndLeavesNoGrant) {
  const absl::Status status = Mint(Ask({"select", "truncate"}));
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(ReasonOf(status), "POLICY_DENIED");
  EXPECT_THAT(std::string(status.message()), HasSubstr("truncate"));
  EXPECT_EQ(act_.decision(), "deny");
  EXPECT_THAT(*grants_.List({}, clock_.Now()), IsEmpty());
}

TEST_F(TokenServiceTest, WrongRequestsAreNamed) {
  struct Case {
    std::string name;
    std::function<void(v1::MintTokenRequest&)> change;
    std::string reason;
  };
  const Case cases[] = {
      {"no uuid", [](auto& r) { r.set_request_id("1"); }, "INVALID_REQUEST_ID"},
      {"no target", [](auto& r) { r.mutable_intent()->clear_target(); }, "INVALID_INTENT"},
      {"no verbs", [](auto& r) { r.mutable_intent()->clear_do_(); }, "INVALID_INTENT"},
      {"an unknown verb", [](auto& r) { r.mutable_intent()->set_do_(0, "slect"); }, "INVALID_INTENT"},
      {"no reason", [](auto& r) { r.mutable_intent()->clear_reason(); }, "INVALID_INTENT"},
      {"a long reason", [](auto& r) { r.mutable_intent()->set_reason(std::string(501, 'x')); }, "INVALID_INTENT"},
      {"escapes in it", [](auto& r) { r.mutable_intent()->set_reason("a\x1b[31m"); }, "INVALID_INTENT"},
      {"a negative ttl", [](auto& r) { r.mutable_intent()->set_ttl_seconds(-1); }, "INVALID_INTENT"},
      {"an unknown target", [](auto& r) { r.mutable_intent()->set_target("nowhere"); }, "TARGET_NOT_FOUND"},
      {"a foreign database", [](auto& r) { r.mutable_intent()->set_database("payroll"); }, "DATABASE_NOT_SERVED"},
      {"a stranger's errand", [](auto& r) { r.mutable_intent()->set_on_behalf_of("eve@evil.org"); }, "ON_BEHALF_OF"},
  };
  for (const Case& c : cases) {
    auto request = Ask();
    c.change(request);
    EXPECT_EQ(ReasonOf(Mint(request)), c.reason) << c.name;
    EXPECT_TRUE(response_.token().empty()) << c.name;
  }
  EXPECT_THAT(*grants_.List({}, clock_.Now()), IsEmpty());
}

TEST_F(TokenServiceTest, AHeldRequestIsCollectedOnceApproved) {
  auto request = Ask({"delete"});
  request.mutable_intent()->set_on_behalf_of("zoe@example.com");
  ASSERT_TRUE(Mint(request).ok());
  EXPECT_EQ(response_.grant().state(), v1::GRANT_PENDING_APPROVAL);
  EXPECT_TRUE(response_.token().empty());
  EXPECT_FALSE(response_.grant().has_expire_time());
  const std::string approval_id = response_.grant().approval_id();
  const auto approval = approval_store_.Get(approval_id);
  ASSERT_TRUE(approval.ok());
  EXPECT_EQ(approval->body().rule(), "desk/ask-first");
  EXPECT_EQ(approval->body().on_behalf_of(), "zoe@example.com");
  EXPECT_EQ(approval->owner(), "owner@example.com");

  ASSERT_TRUE(Mint(request).ok());
  EXPECT_EQ(response_.grant().state(), v1::GRANT_PENDING_APPROVAL) << "asking again changes nothing";

  clock_.Advance(absl::Minutes(20));
  ASSERT_TRUE(Decide(approval_id, true).ok());
  ASSERT_TRUE(Mint(request).ok());
  EXPECT_EQ(response_.grant().state(), v1::GRANT_ACTIVE);
  EXPECT_EQ(FromTimestamp(response_.grant().expire_time()) - clock_.Now(), absl::Minutes(10));
  EXPECT_TRUE(verifier_->Verify(response_.token(), "demo", clock_).ok());
  EXPECT_EQ(approval_store_.Get(approval_id)->body().state(), v1::APPROVAL_USED);
}

TEST_F(TokenServiceTest, AHeldRequestMayNeedSeveralStepsOrABrokenGlass) {
  const auto request = Ask({"drop"});
  ASSERT_TRUE(Mint(request).ok());
  ASSERT_TRUE(Decide(response_.grant().approval_id(), true).ok());
  v1::DecideApprovalRequest second;
  second.set_id(response_.grant().approval_id());
  EXPECT_EQ(ReasonOf(approvals_.Decide(Person("lea@example.com", "approver", "dbas"), second, true).status()),
            "ALREADY_VOTED");
  ASSERT_TRUE(Mint(request).ok());
  EXPECT_EQ(response_.grant().state(), v1::GRANT_PENDING_APPROVAL);
  ASSERT_TRUE(approvals_.Decide(Person("dan@example.com", "approver", "dbas"), second, true).ok());
  ASSERT_TRUE(Mint(request).ok());
  EXPECT_EQ(response_.grant().state(), v1::GRANT_ACTIVE);

  const auto urgent = Ask({"drop"});
  ASSERT_TRUE(Mint(urgent).ok());
  v1::BreakGlassRequest glass;
  glass.set_id(response_.grant().approval_id());
  glass.set_comment("the shop is down");
  ASSERT_TRUE(approvals_.BreakGlass(Person("ona@example.com", "", "oncall"), glass).ok());
  ASSERT_TRUE(Mint(urgent).ok());
  EXPECT_EQ(response_.grant().state(), v1::GRANT_ACTIVE);
}

TEST_F(TokenServiceTest, ADenialReachesTheAgent) {
  const auto request = Ask({"delete"});
  ASSERT_TRUE(Mint(request).ok());
  ASSERT_TRUE(Decide(response_.grant().approval_id(), false, "not on a Friday").ok());
  const absl::Status status = Mint(request);
  EXPECT_EQ(ReasonOf(status), "GRANT_DENIED");
  EXPECT_THAT(std::string(status.message()), HasSubstr("not on a Friday"));
}

TEST_F(TokenServiceTest, AnApprovedTokenThatNobodyFetchesExpires) {
  const auto request = Ask({"delete"});
  ASSERT_TRUE(Mint(request).ok());
  ASSERT_TRUE(Decide(response_.grant().approval_id(), true).ok());
  clock_.Advance(absl::Minutes(5));
  EXPECT_EQ(ReasonOf(Mint(request)), "GRANT_EXPIRED");
}

TEST_F(TokenServiceTest, WhatNobodyDecidesExpires) {
  const auto request = Ask({"delete"});
  ASSERT_TRUE(Mint(request).ok());
  clock_.Advance(absl::Minutes(30));
  EXPECT_EQ(ReasonOf(Mint(request)), "GRANT_EXPIRED");
}

TEST_F(TokenServiceTest, WithoutAnAuditRecordNothingIsSigned) {
  sink_.FailWith(absl::UnavailableError("disk full"));
  EXPECT_EQ(Mint(Ask()).code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(response_.token().empty());
  EXPECT_THAT(*grants_.List({}, clock_.Now()), IsEmpty());
}

TEST_F(TokenServiceTest, AFailingStoreGivesNoToken) {
  db_.FailNext(absl::UnavailableError("disk full"));
  EXPECT_EQ(Mint(Ask()).code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(response_.token().empty());
}

TEST_F(TokenServiceTest, ATokenThatDoesNotFitLeavesNoActiveGrant) {
  for (int i = 0; i < 100; ++i) agent_.principal.add_groups(fmt::format("a-group-with-a-long-name-{}", i));
  EXPECT_EQ(ReasonOf(Mint(Ask())), "TOKEN_TOO_LARGE");
  EXPECT_THAT(*grants_.List({.active_only = true}, clock_.Now()), IsEmpty());
}

TEST_F(TokenServiceTest, RevokingPushesAndCancelsAndIsIdempotent) {
  ASSERT_TRUE(Mint(Ask()).ok());
  v1::RevokeGrantRequest request;
  request.set_id(response_.grant().id());
  request.set_reason("lost laptop");
  v1::Grant revoked;
  ASSERT_TRUE(RevokeGrant(*deps_, Person("ops@example.com", "operator"), request, &revoked).ok());
  EXPECT_EQ(revoked.state(), v1::GRANT_REVOKED);
  ASSERT_EQ(hub_.revocations().size(), 1u);
  EXPECT_EQ(hub_.revocations()[0].grant_id(), revoked.id());
  EXPECT_EQ(hub_.revocations()[0].reason(), "lost laptop");
  EXPECT_EQ(grants_.Revoked(clock_.Now())->size(), 1u);
  ASSERT_TRUE(RevokeGrant(*deps_, Person("ops@example.com", "operator"), request, &revoked).ok());
  EXPECT_EQ(hub_.revocations().size(), 1u);
  clock_.Advance(absl::Minutes(10));
  EXPECT_THAT(*grants_.Revoked(clock_.Now()), IsEmpty()) << "past its own expiry it need not be remembered";
}

TEST_F(TokenServiceTest, RevokingAPendingGrantCancelsItsApproval) {
  ASSERT_TRUE(Mint(Ask({"delete"})).ok());
  v1::RevokeGrantRequest request;
  request.set_id(response_.grant().id());
  v1::Grant revoked;
  ASSERT_TRUE(RevokeGrant(*deps_, agent_, request, &revoked).ok());
  EXPECT_EQ(revoked.state(), v1::GRANT_REVOKED);
  EXPECT_EQ(approval_store_.Get(response_.grant().approval_id())->body().state(), v1::APPROVAL_CANCELLED);
  EXPECT_EQ(grants_.Get(revoked.id())->body.state(), v1::GRANT_REVOKED);
}

TEST_F(TokenServiceTest, OnlyItsOwnAgentItsOwnerAndOperatorsRevokeAGrant) {
  ASSERT_TRUE(Mint(Ask()).ok());
  v1::RevokeGrantRequest request;
  request.set_id(response_.grant().id());
  v1::Grant answer;
  identity::Caller other = agent_;
  other.principal.set_id("other-bot");
  for (const identity::Caller& caller : {other, Person("eve@example.com", ""), Person("a@example.com", "auditor")}) {
    EXPECT_EQ(ReasonOf(RevokeGrant(*deps_, caller, request, &answer)), "GRANT_NOT_FOUND") << caller.id();
  }
  v1::GetGrantRequest get;
  get.set_id(request.id());
  EXPECT_EQ(ReasonOf(GetGrant(*deps_, other, get, &answer)), "GRANT_NOT_FOUND");
  EXPECT_TRUE(RevokeGrant(*deps_, Person("owner@example.com", ""), request, &answer).ok());
}

TEST_F(TokenServiceTest, ADisabledAgentLosesEverything) {
  ASSERT_TRUE(Mint(Ask()).ok());
  ASSERT_TRUE(Mint(Ask()).ok());
  ASSERT_TRUE(Mint(Ask({"delete"})).ok());
  ASSERT_TRUE(RevokeGrantsOf(*deps_, "support-bot", "account disabled").ok());
  EXPECT_EQ(hub_.revocations().size(), 3u);
  EXPECT_THAT(*grants_.List({.open_only = true}, clock_.Now()), IsEmpty());
}

TEST_F(TokenServiceTest, ListsPageAndAgentsSeeTheirOwn) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(Mint(Ask()).ok());
    clock_.Advance(absl::Milliseconds(5));
  }
  v1::ListGrantsRequest request;
  request.set_page_size(2);
  v1::ListGrantsResponse first;
  ASSERT_TRUE(ListGrants(*deps_, agent_, request, &first).ok());
  EXPECT_EQ(first.grants_size(), 2);
  request.set_page_token(first.next_page_token());
  v1::ListGrantsResponse second;
  ASSERT_TRUE(ListGrants(*deps_, agent_, request, &second).ok());
  EXPECT_EQ(second.grants_size(), 1);
  EXPECT_TRUE(second.next_page_token().empty());
  identity::Caller other = agent_;
  other.principal.set_id("other-bot");
  v1::ListGrantsResponse none;
  ASSERT_TRUE(ListGrants(*deps_, other, {}, &none).ok());
  EXPECT_EQ(none.grants_size(), 0);
}

TEST(MayActForTest, StarsStandForAnyRun) {
  EXPECT_TRUE(MayActFor({"*@example.com"}, "zoe@example.com"));
  EXPECT_FALSE(MayActFor({"*@example.com"}, "zoe@example.com.evil.org"));
  EXPECT_FALSE(MayActFor({}, "zoe@example.com"));
}

}  // namespace
}  // namespace postern::grant
