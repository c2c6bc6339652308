#include "controlplane/approval/approval.h"

#include "common/base/errors.h"
#include "common/base/timestamps.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace postern::approval {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'750'000'000);

v1::Principal Person(std::string id, std::vector<std::string> groups = {"approvers"},
                     std::vector<std::string> roles = {"approver"}) {
  v1::Principal person;
  person.set_id(std::move(id));
  person.set_kind(v1::PERSON);
  for (std::string& group : groups) person.add_groups(std::move(group));
  for (std::string& role : roles) person.add_roles(std::move(role));
  return person;
}

Approval Pending(int needed = 1, std::string owner = "") {
  v1::Approval body;
  body.set_id("apr_00000000000000000000000001");
  body.set_kind(v1::APPROVAL_KIND_STATEMENT);
  body.set_agent("support-bot");
  body.set_on_behalf_of("zoe@example.com");
  body.set_binding_digest("digest");
  body.add_approver_groups("approvers");
  body.set_approvals_needed(needed);
  *body.mutable_request_expire_time() = ToTimestamp(kNow + absl::Minutes(30));
  body.set_use_within_seconds(300);
  return Approval::Open(std::move(body), std::move(owner));
}

TEST(ApprovalTest, OneApprovalIsEnoughWhenOneIsNeeded) {
  Approval approval = Pending();
  ASSERT_TRUE(approval.Approve(Person("lea@example.com"), "fine", kNow).ok());
  EXPECT_EQ(approval.body().state(), v1::APPROVAL_APPROVED);
  EXPECT_EQ(FromTimestamp(approval.body().use_expire_time()), kNow + absl::Minutes(5))
      << "the use clock starts at the decision, not at the request";
  EXPECT_EQ(approval.body().votes(0).comment(), "fine");
}

TEST(ApprovalTest, AQuorumCountsPeopleNotGroupsOrVotes) {
  Approval approval = Pending(2);
  ASSERT_TRUE(approval.Approve(Person("lea@example.com", {"approvers", "security"}), "", kNow).ok());
  EXPECT_EQ(approval.body().state(), v1::APPROVAL_PENDING);
  EXPECT_EQ(ReasonOf(approval.Approve(Person("lea@example.com"), "", kNow)), "ALREADY_VOTED");
  EXPECT_EQ(ReasonOf(approval.Approve(Person("Lea@Example.com"), "", kNow)), "ALREADY_VOTED");
  EXPECT_EQ(approval.body().state(), v1::APPROVAL_PENDING);
  ASSERT_TRUE(approval.Approve(Person("max@example.com"), "", kNow).ok());
  EXPECT_EQ(approval.body().state(), v1::APPROVAL_APPROVED);
}

TEST(ApprovalTest, NoApprovalsNeededMeansOne) {
  Approval approval = Pending(0);
  EXPECT_EQ(approval.body().approvals_needed(), 1);
  EXPECT_EQ(approval.body().state(), v1::APPROVAL_PENDING);
}

TEST(ApprovalTest, OneDenialEndsIt) {
  Approval approval = Pending(2);
  ASSERT_TRUE(approval.Approve(Person("lea@example.com"), "", kNow).ok());
  ASSERT_TRUE(approval.Deny(Person("max@example.com"), "not on a Friday", kNow).ok());
  EXPECT_EQ(approval.body().state(), v1::APPROVAL_DENIED);
  EXPECT_EQ(ReasonOf(approval.Approve(Person("ana@example.com"), "", kNow)), "APPROVAL_ALREADY_DECIDED");
}

TEST(ApprovalTest, WhoApprovedMayStillDeny) {
  Approval approval = Pending(2);
  ASSERT_TRUE(approval.Approve(Person("lea@example.com"), "", kNow).ok());
  EXPECT_TRUE(approval.Deny(Person("lea@example.com"), "on second thoughts", kNow).ok());
  EXPECT_EQ(approval.body().state(), v1::APPROVAL_DENIED);
}

TEST(ApprovalTest, NobodyDecidesTheirOwn) {
  struct Case {
    std::string name;
    v1::Principal person;
    std::string owner;
  };
  const Case cases[] = {
      {"the person whose errand it is", Person("zoe@example.com"), ""},
      {"the same in other letters", Person("Zoe@Example.COM"), ""},
      {"the agent's owner", Person("lea@example.com"), "lea@example.com"},
      {"a member of the owning group", Person("lea@example.com", {"approvers", "bot-owners"}), "bot-owners"},
      {"a person of the agent's name", Person("support-bot"), ""},
  };
  for (const Case& c : cases) {
    Approval approval = Pending(1, c.owner);
    EXPECT_EQ(ReasonOf(approval.Approve(c.person, "", kNow)), "SELF_APPROVAL") << c.name;
    EXPECT_EQ(ReasonOf(approval.Deny(c.person, "", kNow)), "SELF_APPROVAL") << c.name;
    EXPECT_EQ(approval.body().state(), v1::APPROVAL_PENDING) << c.name;
    EXPECT_EQ(approval.body().votes_size(), 0) << c.name;
  }
}

TEST(ApprovalTest, OnlyApproversOfTheNamedGroupsDecide) {
  v1::Principal agent = Person("other-bot");
  agent.set_kind(v1::AGENT);
  const v1::Principal cases[] = {
      agent,
      Person("lea@example.com", {"approvers"}, {"admin"}),
      Person("lea@example.com", {"finance"}, {"approver"}),
      Person("lea@example.com", {}, {}),
  };
  for (const v1::Principal& person : cases) {
    Approval approval = Pending();
    EXPECT_EQ(ReasonOf(approval.Approve(person, "", kNow)), "NOT_AN_APPROVER") << person.ShortDebugString();
    EXPECT_EQ(approval.body().state(), v1::APPROVAL_PENDING);
  }
}

TEST(ApprovalTest, ApprovingAgainDoesNotExtendTheWindow) {
  Approval approval = Pending();
  ASSERT_TRUE(approval.Approve(Person("lea@example.com"), "", kNow).ok());
  const absl::Status again = approval.Approve(Person("max@example.com"), "", kNow + absl::Minutes(4));
  EXPECT_EQ(again.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(again), "APPROVAL_ALREADY_DECIDED");
  EXPECT_EQ(FromTimestamp(approval.body().use_expire_time()), kNow + absl::Minutes(5));
}

TEST(ApprovalTest, ItIsClaimedOnceForExactlyItsBinding) {
  Approval approval = Pending();
  EXPECT_EQ(ReasonOf(approval.Claim("digest", kNow)), "APPROVAL_NOT_USABLE") << "not approved yet";
  ASSERT_TRUE(approval.Approve(Person("lea@example.com"), "", kNow).ok());
  EXPECT_EQ(ReasonOf(approval.Claim("another", kNow)), "APPROVAL_NOT_USABLE");
  ASSERT_TRUE(approval.Claim("digest", kNow).ok());
  EXPECT_EQ(approval.body().state(), v1::APPROVAL_USED);
  EXPECT_EQ(ReasonOf(approval.Claim("digest", kNow)), "APPROVAL_NOT_USABLE") << "twice";
}

TEST(ApprovalTest, ItExpiresAtItsDeadlineExactly) {
  Approval pending = Pending();
  EXPECT_FALSE(pending.Expire(kNow + absl::Minutes(30) - absl::Microseconds(1)));
  EXPECT_TRUE(pending.Expire(kNow + absl::Minutes(30)));
  EXPECT_EQ(pending.body().state(), v1::APPROVAL_EXPIRED);
  EXPECT_FALSE(pending.Expire(kNow + absl::Hours(1))) << "once only";

  Approval approved = Pending();
  ASSERT_TRUE(approved.Approve(Person("lea@example.com"), "", kNow).ok());
  EXPECT_FALSE(approved.Expire(kNow + absl::Minutes(5) - absl::Microseconds(1)));
  EXPECT_TRUE(approved.Expire(kNow + absl::Minutes(5)));
  EXPECT_EQ(ReasonOf(approved.Claim("digest", kNow)), "APPROVAL_NOT_USABLE");
}

TEST(ApprovalTest, WhatIsFinalNeverChanges) {
  const auto make = [](v1::ApprovalState state) {
    v1::Approval body = Pending().body();
    body.set_state(state);
    return Approval(body, "", 7);
  };
  for (v1::ApprovalState state :
       {v1::APPROVAL_DENIED, v1::APPROVAL_EXPIRED, v1::APPROVAL_CANCELLED, v1::APPROVAL_USED}) {
    Approval approval = make(state);
    EXPECT_TRUE(approval.IsFinal());
    EXPECT_EQ(approval.Deadline(), absl::InfiniteFuture());
    EXPECT_FALSE(approval.Approve(Person("lea@example.com"), "", kNow).ok());
    EXPECT_FALSE(approval.Deny(Person("lea@example.com"), "", kNow).ok());
    EXPECT_FALSE(approval.Cancel(kNow).ok());
    EXPECT_FALSE(approval.Claim("digest", kNow).ok());
    EXPECT_FALSE(approval.Expire(absl::InfiniteFuture()));
    EXPECT_EQ(approval.body().state(), state);
  }
}

TEST(BindingDigestTest, EveryFieldChangesTheDigest) {
  v1::StatementBinding binding;
  binding.set_sql("delete from app.orders where id = $1");
  v1::BindValue* value = binding.add_values();
  value->set_value("42");
  binding.set_target("demo");
  binding.set_database("orders");
  binding.set_role("app");
  binding.set_search_path("app, public");
  binding.add_settings("TimeZone=UTC");
  binding.set_agent("support-bot");
  binding.set_grant_id("grt_1");
  binding.set_policy_revision(3);
  binding.add_parameter_types(23);
  const std::string digest = DigestOf(binding);
  EXPECT_EQ(digest.size(), 32u);
  EXPECT_EQ(DigestOf(binding), digest);

  const std::function<void(v1::StatementBinding&)> changes[] = {
      [](auto& b) { b.set_sql("delete from app.orders where id = $1 "); },
      [](auto& b) { b.mutable_values(0)->set_value("43"); },
      [](auto& b) { b.mutable_values(0)->set_is_null(true); },
      [](auto& b) { b.mutable_values(0)->set_format(1); },
      [](auto& b) { b.set_target("other"); },
      [](auto& b) { b.set_database("other"); },
      [](auto& b) { b.set_role("other"); },
      [](auto& b) { b.set_search_path("public, app"); },
      [](auto& b) { b.set_settings(0, "TimeZone=CET"); },
      [](auto& b) { b.set_agent("other"); },
      [](auto& b) { b.set_grant_id("grt_2"); },
      [](auto& b) { b.set_policy_revision(4); },
      [](auto& b) { b.set_parameter_types(0, 25); },
  };
  EXPECT_EQ(std::size(changes) - 2, static_cast<size_t>(v1::StatementBinding::descriptor()->field_count()))
      << "a new field needs a change here, too";
  for (const auto& change : changes) {
    v1::StatementBinding other = binding;
    change(other);
    EXPECT_NE(DigestOf(other), digest) << other.ShortDebugString();
  }
}

}  // namespace
}  // namespace postern::approval
