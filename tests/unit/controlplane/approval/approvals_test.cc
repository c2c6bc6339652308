#include "controlplane/approval/approvals.h"

#include <atomic>
#include <memory>
#include <thread>

#include "absl/synchronization/notification.h"
#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/timestamps.h"
#include "controlplane/store/approval_store.h"
#include "controlplane/store/grant_store.h"
#include "controlplane/store/standing_store.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/controlplane/store/doubles.h"
#include "tests/unit/controlplane/store/temp_store.h"

namespace postern::approval {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::string_view kSidecar = "sdc_00000000000000000000000001";

identity::Caller Person(std::string id, std::vector<std::string> roles = {"approver"},
                        std::vector<std::string> groups = {"approvers"}) {
  identity::Caller caller;
  caller.principal.set_id(std::move(id));
  caller.principal.set_kind(v1::PERSON);
  for (std::string& role : roles) caller.principal.add_roles(std::move(role));
  for (std::string& group : groups) caller.principal.add_groups(std::move(group));
  return caller;
}

identity::Caller Agent(std::string id) {
  identity::Caller caller;
  caller.principal.set_id(std::move(id));
  caller.principal.set_kind(v1::AGENT);
  return caller;
}

class ApprovalsTest : public testing::Test {
 protected:
  void SetUp() override { Start(); }

  void Start() {
    store_ = std::make_unique<store::SqlApprovalStore>(*db_);
    grants_ = std::make_unique<store::SqlGrantStore>(*db_);
    standing_ = std::make_unique<store::SqlStandingStore>(*db_);
    approvals_ = std::make_unique<Approvals>(*store_, *standing_, *grants_, hub_, sink_, clock_, Random::System());
  }
  void Restart() {
    approvals_.reset();
    db_.Reopen();
    Start();
  }

  // A stored, active grant of support-bot for target demo.
  grant::Grant ActiveGrant(absl::Duration ttl = absl::Hours(1)) {
    grant::Grant grant;
    grant.body.set_id(NewId(kGrantPrefix, clock_.Now(), Random::System()));
    grant.body.set_agent("support-bot");
    grant.body.mutable_intent()->set_target("demo");
    grant.body.mutable_intent()->set_reason("tidy up");
    grant.owner = "owner@example.com";
    grant.ttl_seconds = absl::ToInt64Seconds(ttl);
    grant.request_id = NewUuid(Random::System());
    grant::Activate(grant, clock_.Now());
    EXPECT_TRUE(grants_->Insert(grant, nullptr).ok());
    return grant;
  }

  v1::RequestStatementApprovalRequest Request(const grant::Grant& grant, std::string sql = "drop table app.orders") {
    v1::RequestStatementApprovalRequest request;
    request.mutable_binding()->set_sql(std::move(sql));
    request.mutable_binding()->set_target("demo");
    request.mutable_binding()->set_agent("support-bot");
    request.mutable_binding()->set_grant_id(grant.id());
    request.add_approver_groups("approvers");
    request.set_approvals_needed(1);
    request.set_request_ttl_seconds(600);
    request.set_use_within_seconds(60);
    request.set_session_id(NewId(kSessionPrefix, clock_.Now(), Random::System()));
    request.set_request_id(NewUuid(Random::System()));
    return request;
  }

  v1::Approval Open(const v1::RequestStatementApprovalRequest& request, std::string_view sidecar = kSidecar) {
    auto approval = approvals_->RequestStatementApproval(sidecar, request);
    EXPECT_TRUE(approval.ok()) << approval.status();
    return *approval;
  }

  absl::StatusOr<v1::Approval> Decide(const identity::Caller& caller, std::string id, bool approve = true,
                                      std::string etag = "") {
    v1::DecideApprovalRequest request;
    request.set_id(std::move(id));
    request.set_etag(std::move(etag));
    return approvals_->Decide(caller, request, approve);
  }

  absl::StatusOr<v1::Approval> Claim(const v1::Approval& approval, std::string session,
                                     std::string_view sidecar = kSidecar) {
    v1::ClaimApprovalRequest request;
    request.set_id(approval.id());
    request.set_session_id(std::move(session));
    request.set_binding_digest(approval.binding_digest());
    return approvals_->Claim(sidecar, request);
  }

  v1::ApprovalState StateOf(const std::string& id) { return store_->Get(id)->body().state(); }

  store::TempStore db_;
  FakeClock clock_;
  RecordingHub hub_;
  RecordingSink sink_;
  std::unique_ptr<store::SqlApprovalStore> store_;
  std::unique_ptr<store::SqlStandingStore> standing_;
  std::unique_ptr<store::SqlGrantStore> grants_;
  std::unique_ptr<Approvals> approvals_;
};

TEST_F(ApprovalsTest, FromRequestToApprovalToItsSingleUse) {
  const auto request = Request(ActiveGrant());
  const v1::Approval opened = Open(request);
  EXPECT_EQ(opened.state(), v1::APPROVAL_PENDING);
  EXPECT_EQ(opened.binding_digest(), DigestOf(request.binding()));
  EXPECT_EQ(opened.reason(), "tidy up");

  ASSERT_TRUE(Decide(Person("lea@example.com"), opened.id(), true, opened.etag()).ok());
  ASSERT_THAT(hub_.approvals(), Contains(testing::Property(&v1::Approval::state, v1::APPROVAL_APPROVED)));
  ASSERT_TRUE(Claim(opened, request.session_id()).ok());
  EXPECT_EQ(ReasonOf(Claim(opened, request.session_id()).status()), "APPROVAL_NOT_USABLE");
  EXPECT_THAT(sink_.lines(), ElementsAre("approval intended", "approval completed", "approval intended",
                                         "approval completed", "approval intended", "approval completed"));
}

TEST_F(ApprovalsTest, ARepeatJoinsThePendingOne) {
  const grant::Grant grant = ActiveGrant();
  const auto first = Request(grant);
  auto second = Request(grant);
  const v1::Approval a = Open(first);
  const v1::Approval b = Open(second, "sdc_00000000000000000000000002");
  EXPECT_EQ(a.id(), b.id());
  const v1::Approval other = Open(Request(grant, "drop table app.customers"));
  EXPECT_NE(other.id(), a.id());

  ASSERT_TRUE(Decide(Person("lea@example.com"), a.id()).ok());
  std::set<std::string> told;
  for (const v1::Approval& pushed : hub_.approvals()) {
    if (pushed.id() == a.id() && pushed.state() == v1::APPROVAL_APPROVED) told.insert(pushed.sidecar_id());
  }
  EXPECT_EQ(told.size(), 2u) << "both sidecars that wait are told";
  // One approval, two who wait: one of them runs it.
  ASSERT_TRUE(Claim(b, second.session_id(), "sdc_00000000000000000000000002").ok());
  EXPECT_FALSE(Claim(a, first.session_id()).ok());
}

TEST_F(ApprovalsTest, ARetriedRequestFindsWhatItMadeEvenWhenDecided) {
  const auto request = Request(ActiveGrant());
  const v1::Approval opened = Open(request);
  ASSERT_TRUE(Decide(Person("lea@example.com"), opened.id()).ok());
  const v1::Approval again = Open(request);
  EXPECT_EQ(again.id(), opened.id());
  EXPECT_EQ(again.state(), v1::APPROVAL_APPROVED);
}

TEST_F(ApprovalsTest, OnlyASessionThatWaitsClaimsIt) {
  const auto request = Request(ActiveGrant());
  const v1::Approval opened = Open(request);
  ASSERT_TRUE(Decide(Person("lea@example.com"), opened.id()).ok());
  EXPECT_EQ(ReasonOf(Claim(opened, "ses_00000000000000000000000009").status()), "APPROVAL_NOT_USABLE");
  EXPECT_EQ(ReasonOf(Claim(opened, request.session_id(), "sdc_00000000000000000000000009").status()),
            "APPROVAL_NOT_USABLE");
  EXPECT_EQ(StateOf(opened.id()), v1::APPROVAL_APPROVED);
}

TEST_F(ApprovalsTest, TheLastOneToLeaveCancelsIt) {
  const grant::Grant grant = ActiveGrant();
  const auto first = Request(grant);
  const auto second = Request(grant);
  const v1::Approval opened = Open(first);
  Open(second);
  v1::WithdrawApprovalRequest leave;
  leave.set_id(opened.id());
  leave.set_session_id("ses_00000000000000000000000009");
  EXPECT_EQ(approvals_->Withdraw(kSidecar, leave)->state(), v1::APPROVAL_PENDING) << "a stranger takes nobody's place";
  leave.set_session_id(first.session_id());
  EXPECT_EQ(approvals_->Withdraw(kSidecar, leave)->state(), v1::APPROVAL_PENDING);
  leave.set_session_id(second.session_id());
  EXPECT_EQ(approvals_->Withdraw(kSidecar, leave)->state(), v1::APPROVAL_CANCELLED);
  EXPECT_EQ(ReasonOf(Decide(Person("lea@example.com"), opened.id()).status()), "APPROVAL_ALREADY_DECIDED");
}

TEST_F(ApprovalsTest, ABindingMustFitItsGrant) {
  const grant::Grant grant = ActiveGrant();
  auto request = Request(grant);
  request.mutable_binding()->set_agent("other-bot");
  EXPECT_EQ(ReasonOf(approvals_->RequestStatementApproval(kSidecar, request).status()), "BINDING_MISMATCH");
  request = Request(grant);
  request.mutable_binding()->set_target("other");
  EXPECT_EQ(ReasonOf(approvals_->RequestStatementApproval(kSidecar, request).status()), "BINDING_MISMATCH");
}

TEST_F(ApprovalsTest, AnEndedGrantGetsNoApprovalAndUsesNone) {
  const grant::Grant grant = ActiveGrant(absl::Seconds(30));
  const auto request = Request(grant);
  const v1::Approval opened = Open(request);
  EXPECT_EQ(FromTimestamp(opened.request_expire_time()), clock_.Now() + absl::Seconds(30));
  ASSERT_TRUE(Decide(Person("lea@example.com"), opened.id()).ok());
  clock_.Advance(absl::Seconds(31));
  EXPECT_EQ(ReasonOf(Claim(opened, request.session_id()).status()), "APPROVAL_NOT_USABLE");
  EXPECT_EQ(ReasonOf(approvals_->RequestStatementApproval(kSidecar, Request(grant)).status()), "GRANT_NOT_ACTIVE");
}

TEST_F(ApprovalsTest, WhatNobodyDecidesExpiresAndIsTold) {
  const v1::Approval opened = Open(Request(ActiveGrant()));
  std::atomic<int> seen = 0;
  const int64_t subscription = approvals_->Subscribe([&](const v1::Approval& changed) {
    if (changed.state() == v1::APPROVAL_EXPIRED) ++seen;
  });
  clock_.Advance(absl::Seconds(600));
  approvals_->ExpireDue();
  approvals_->Unsubscribe(subscription);
  EXPECT_EQ(seen, 1);
  EXPECT_EQ(StateOf(opened.id()), v1::APPROVAL_EXPIRED);
  EXPECT_EQ(hub_.approvals().back().state(), v1::APPROVAL_EXPIRED);
}

TEST_F(ApprovalsTest, TheTimerExpiresWhatIsDueWithoutBeingAsked) {
  // On the system's clock, since the timer waits on it.
  approvals_.reset();
  approvals_ =
      std::make_unique<Approvals>(*store_, *standing_, *grants_, hub_, sink_, Clock::System(), Random::System());
  clock_.Advance(Clock::System().Now() - clock_.Now());
  auto request = Request(ActiveGrant());
  request.set_request_ttl_seconds(1);
  absl::Notification expired;
  const int64_t subscription = approvals_->Subscribe([&](const v1::Approval& changed) {
    if (changed.state() == v1::APPROVAL_EXPIRED && !expired.HasBeenNotified()) expired.Notify();
  });
  Open(request);
  EXPECT_TRUE(expired.WaitForNotificationWithTimeout(absl::Seconds(10)));
  approvals_->Unsubscribe(subscription);
}

TEST_F(ApprovalsTest, AWrongEtagIsStale) {
  const v1::Approval opened = Open(Request(ActiveGrant()));
  EXPECT_EQ(ReasonOf(Decide(Person("lea@example.com"), opened.id(), true, "99").status()), "STALE_ETAG");
  EXPECT_EQ(StateOf(opened.id()), v1::APPROVAL_PENDING);
}

TEST_F(ApprovalsTest, TheOwnerIsRefusedAndOthersSeeNothing) {
  const v1::Approval opened = Open(Request(ActiveGrant()));
  EXPECT_EQ(ReasonOf(Decide(Person("owner@example.com"), opened.id()).status()), "SELF_APPROVAL");
  EXPECT_EQ(ReasonOf(Decide(Person("eve@example.com", {"approver"}, {"others"}), opened.id()).status()),
            "APPROVAL_NOT_FOUND");
  EXPECT_EQ(ReasonOf(approvals_->Get(Agent("other-bot"), opened.id()).status()), "APPROVAL_NOT_FOUND");
  EXPECT_TRUE(approvals_->Get(Agent("support-bot"), opened.id()).ok());
  EXPECT_TRUE(approvals_->Get(Person("aud@example.com", {"auditor"}, {}), opened.id()).ok());
}

TEST_F(ApprovalsTest, RacingDecidersAgreeOnOneOutcome) {
  for (int round = 0; round < 10; ++round) {
    const v1::Approval opened = Open(Request(ActiveGrant()));
    std::atomic<int> won = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        if (Decide(Person(fmt::format("p{}@example.com", i)), opened.id(), i % 2 == 0).ok()) ++won;
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(won, 1);
    const Approval stored = *store_->Get(opened.id());
    EXPECT_EQ(stored.body().votes_size(), 1);
    EXPECT_EQ(stored.body().state(), stored.body().votes(0).approve() ? v1::APPROVAL_APPROVED : v1::APPROVAL_DENIED);
  }
}

TEST_F(ApprovalsTest, RacingClaimsHaveOneWinner) {
  const auto request = Request(ActiveGrant());
  const v1::Approval opened = Open(request);
  ASSERT_TRUE(Decide(Person("lea@example.com"), opened.id()).ok());
  std::atomic<int> won = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      if (Claim(opened, request.session_id()).ok()) ++won;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(won, 1);
}

TEST_F(ApprovalsTest, WithoutAnAuditRecordNothingIsDecided) {
  const v1::Approval opened = Open(Request(ActiveGrant()));
  sink_.FailWith(absl::UnavailableError("disk full"));
  EXPECT_EQ(Decide(Person("lea@example.com"), opened.id()).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(StateOf(opened.id()), v1::APPROVAL_PENDING);
}

TEST_F(ApprovalsTest, AFailingStoreLeavesItPendingAndSaysSoInTheLog) {
  const v1::Approval opened = Open(Request(ActiveGrant()));
  db_.FailNext(absl::UnavailableError("disk full"));
  EXPECT_EQ(Decide(Person("lea@example.com"), opened.id()).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(StateOf(opened.id()), v1::APPROVAL_PENDING);
  EXPECT_EQ(sink_.lines().back(), "approval failed");
}

TEST_F(ApprovalsTest, ARestartForgetsNothing) {
  const auto request = Request(ActiveGrant());
  const v1::Approval opened = Open(request);
  Restart();
  ASSERT_TRUE(Decide(Person("lea@example.com"), opened.id()).ok());
  Restart();
  ASSERT_TRUE(Claim(opened, request.session_id()).ok());
}

TEST_F(ApprovalsTest, ListsPageAndShowOnlyWhatTheCallerMaySee) {
  const grant::Grant grant = ActiveGrant();
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) {
    ids.push_back(Open(Request(grant, fmt::format("drop table t{}", i))).id());
    clock_.Advance(absl::Milliseconds(5));
  }
  v1::ListApprovalsRequest request;
  request.set_page_size(2);
  std::vector<std::string> seen;
  do {
    v1::ListApprovalsResponse page;
    ASSERT_TRUE(approvals_->List(Person("lea@example.com"), request, &page).ok());
    EXPECT_LE(page.approvals_size(), 2);
    for (const v1::Approval& approval : page.approvals()) seen.push_back(approval.id());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  std::reverse(ids.begin(), ids.end());
  EXPECT_EQ(seen, ids);

  v1::ListApprovalsResponse none;
  ASSERT_TRUE(approvals_->List(Person("eve@example.com", {"approver"}, {"others"}), {}, &none).ok());
  EXPECT_EQ(none.approvals_size(), 0);
  ASSERT_TRUE(approvals_->List(Agent("other-bot"), {}, &none).ok());
  EXPECT_EQ(none.approvals_size(), 0);
}

}  // namespace
}  // namespace postern::approval
