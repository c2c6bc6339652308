// Steps, standing in, breaking the glass, templates, freezes, and statements that return.
#include <memory>

#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/timestamps.h"
#include "controlplane/approval/approvals.h"
#include "controlplane/store/approval_store.h"
#include "controlplane/store/grant_store.h"
#include "controlplane/store/standing_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/controlplane/store/doubles.h"
#include "tests/unit/controlplane/store/temp_store.h"

namespace postern::approval {
namespace {

constexpr std::string_view kSidecar = "sdc_00000000000000000000000001";

identity::Caller Person(std::string id, std::vector<std::string> groups = {"leads"},
                        std::vector<std::string> roles = {"approver"}) {
  identity::Caller caller;
  caller.principal.set_id(std::move(id));
  caller.principal.set_kind(v1::PERSON);
  for (std::string& group : groups) caller.principal.add_groups(std::move(group));
  for (std::string& role : roles) caller.principal.add_roles(std::move(role));
  return caller;
}

class StandingTest : public testing::Test {
 protected:
  void SetUp() override {
    Start();
    grant_.body.set_id(NewId(kGrantPrefix, clock_.Now(), Random::System()));
    grant_.body.set_agent("support-bot");
    grant_.body.mutable_intent()->set_target("demo");
    grant_.body.mutable_intent()->set_on_behalf_of("zoe@example.com");
    grant_.owner = "owners";
    grant_.ttl_seconds = 48 * 3600;
    grant_.request_id = NewUuid(Random::System());
    grant::Activate(grant_, clock_.Now());
    ASSERT_TRUE(grants_->Insert(grant_, nullptr).ok());
    hold_.add_by("leads");
    hold_.set_mode("wait");
  }

  void Start() {
    approvals_.reset();
    store_ = std::make_unique<store::SqlApprovalStore>(*db_);
    standing_ = std::make_unique<store::SqlStandingStore>(*db_);
    grants_ = std::make_unique<store::SqlGrantStore>(*db_);
    approvals_ = std::make_unique<Approvals>(
        *store_, *standing_, *grants_, hub_, sink_, clock_, Random::System(),
        [this](const v1::Approval&, absl::Time) -> absl::StatusOr<std::optional<Freeze>> { return freeze_; });
  }

  v1::RequestStatementApprovalRequest Request(std::string sql, std::string value = "1") {
    v1::RequestStatementApprovalRequest request;
    request.mutable_binding()->set_sql(sql);
    request.mutable_binding()->add_values()->set_value(std::move(value));
    request.mutable_binding()->set_target("demo");
    request.mutable_binding()->set_agent("support-bot");
    request.mutable_binding()->set_grant_id(grant_.id());
    *request.mutable_approver_groups() = hold_.by();
    for (const v1::HoldStep& step : hold_.steps()) request.mutable_approver_groups()->MergeFrom(step.by());
    request.set_approvals_needed(std::max(1, hold_.approvals()));
    request.set_request_ttl_seconds(600);
    request.set_use_within_seconds(60);
    *request.mutable_hold() = hold_;
    request.mutable_shape()->set_key(sql);
    request.mutable_shape()->set_template_able(true);
    request.set_session_id(session_);
    request.set_request_id(NewUuid(Random::System()));
    return request;
  }
  v1::Approval Open(std::string sql = "delete from app.orders where id = $1", std::string value = "1") {
    // Ids of one millisecond have no order.
    clock_.Advance(absl::Milliseconds(1));
    auto opened = approvals_->RequestStatementApproval(kSidecar, Request(std::move(sql), std::move(value)));
    EXPECT_TRUE(opened.ok()) << opened.status();
    return *opened;
  }
  absl::StatusOr<v1::Approval> Decide(const identity::Caller& caller, const v1::Approval& approval, bool approve = true,
                                      std::optional<v1::TemplateTerms> terms = std::nullopt) {
    v1::DecideApprovalRequest request;
    request.set_id(approval.id());
    if (terms.has_value()) *request.mutable_template_() = *terms;
    return approvals_->Decide(caller, request, approve);
  }
  absl::Status Claim(const v1::Approval& approval) {
    v1::ClaimApprovalRequest request;
    request.set_id(approval.id());
    request.set_session_id(session_);
    request.set_binding_digest(approval.binding_digest());
    return approvals_->Claim(kSidecar, request).status();
  }
  absl::StatusOr<v1::Approval> BreakGlass(const identity::Caller& caller, const v1::Approval& approval,
                                          std::string comment = "the shop is down") {
    v1::BreakGlassRequest request;
    request.set_id(approval.id());
    request.set_comment(std::move(comment));
    return approvals_->BreakGlass(caller, request);
  }
  absl::StatusOr<v1::Approval> Review(const identity::Caller& caller, const v1::Approval& approval) {
    v1::ReviewApprovalRequest request;
    request.set_id(approval.id());
    request.set_ok(true);
    request.set_comment("read the incident");
    return approvals_->Review(caller, request);
  }
  v1::ApprovalState StateOf(const v1::Approval& approval) { return store_->Get(approval.id())->body().state(); }
  static v1::TemplateTerms Terms(int64_t rows, absl::Duration lifetime) {
    v1::TemplateTerms terms;
    terms.set_rows_max(rows);
    terms.set_for_seconds(absl::ToInt64Seconds(lifetime));
    return terms;
  }
  int Alarms(std::string_view action) {
    int count = 0;
    for (const v1::AuditRecord& record : sink_.records()) {
      count += record.kind() == v1::ALARM && record.action() == action ? 1 : 0;
    }
    return count;
  }

  store::TempStore db_;
  FakeClock clock_;
  RecordingHub hub_;
  RecordingSink sink_;
  grant::Grant grant_;
  v1::HoldSettings hold_;
  std::optional<Freeze> freeze_;
  const std::string session_ = NewId(kSessionPrefix, clock_.Now(), Random::System());
  std::unique_ptr<store::SqlApprovalStore> store_;
  std::unique_ptr<store::SqlStandingStore> standing_;
  std::unique_ptr<store::SqlGrantStore> grants_;
  std::unique_ptr<Approvals> approvals_;
};

class StepsTest : public StandingTest {
 protected:
  void Steps(bool any) {
    hold_.clear_by();
    hold_.set_any_step(any);
    v1::HoldStep* leads = hold_.add_steps();
    leads->add_by("leads");
    leads->set_approvals(1);
    v1::HoldStep* dbas = hold_.add_steps();
    dbas->add_by("dbas");
    dbas->set_approvals(2);
    hold_.set_approvals(3);
  }
};

TEST_F(StepsTest, AllStepsNeedDistinctPeople) {
  Steps(/*any=*/false);
  const v1::Approval asked = Open();
  EXPECT_EQ(Decide(Person("both@example.com", {"leads", "dbas"}), asked)->state(), v1::APPROVAL_PENDING);
  EXPECT_EQ(Decide(Person("dba1@example.com", {"dbas"}), asked)->state(), v1::APPROVAL_PENDING)
      << "one person fills one place";
  EXPECT_EQ(Decide(Person("dba2@example.com", {"dbas"}), asked)->state(), v1::APPROVAL_APPROVED)
      << "who is in both groups is counted where it helps";
}

TEST_F(StepsTest, ThreeOfOneStepAreNotTwoSteps) {
  Steps(/*any=*/false);
  const v1::Approval asked = Open();
  for (const char* person : {"d1@example.com", "d2@example.com", "d3@example.com"}) {
    EXPECT_EQ(Decide(Person(person, {"dbas"}), asked)->state(), v1::APPROVAL_PENDING);
  }
  EXPECT_EQ(Decide(Person("lea@example.com"), asked)->state(), v1::APPROVAL_APPROVED);
}

TEST_F(StepsTest, AnyStepIsEnoughAndOneDenialEndsIt) {
  Steps(/*any=*/true);
  const v1::Approval first = Open();
  EXPECT_EQ(Decide(Person("dba1@example.com", {"dbas"}), first)->state(), v1::APPROVAL_PENDING);
  EXPECT_EQ(Decide(Person("lea@example.com"), first)->state(), v1::APPROVAL_APPROVED);
  const v1::Approval second = Open("delete from app.orders where id = $1", "2");
  EXPECT_EQ(Decide(Person("dba1@example.com", {"dbas"}), second)->state(), v1::APPROVAL_PENDING);
  EXPECT_EQ(Decide(Person("dba2@example.com", {"dbas"}), second, false)->state(), v1::APPROVAL_DENIED);
}

TEST_F(StandingTest, WhoStandsInDecidesUntilTheEnd) {
  v1::CreateDelegationRequest request;
  request.set_to("bob@example.com");
  *request.mutable_end_time() = ToTimestamp(clock_.Now() + absl::Hours(8));
  const v1::Approval asked = Open();
  EXPECT_EQ(ReasonOf(Decide(Person("bob@example.com", {}), asked).status()), "APPROVAL_NOT_FOUND");
  ASSERT_TRUE(approvals_->Delegate(Person("lea@example.com"), request).ok());
  Start();  // it outlives a restart
  const auto decided = Decide(Person("bob@example.com", {}), asked);
  ASSERT_TRUE(decided.ok()) << decided.status();
  EXPECT_EQ(decided->votes(0).on_behalf_of(), "lea@example.com");

  const v1::Approval later = Open("delete from app.orders where id = $1", "2");
  clock_.Advance(absl::Hours(9));
  const v1::Approval latest = Open("delete from app.orders where id = $1", "3");
  EXPECT_EQ(ReasonOf(Decide(Person("bob@example.com", {}), latest).status()), "APPROVAL_NOT_FOUND");
  EXPECT_TRUE(approvals_->Delegations().empty());
}

TEST_F(StandingTest, WhoeverHandsOverAndWhoeverStandsInAreOneVote) {
  hold_.set_approvals(2);
  v1::CreateDelegationRequest request;
  request.set_to("bob@example.com");
  *request.mutable_end_time() = ToTimestamp(clock_.Now() + absl::Hours(8));
  ASSERT_TRUE(approvals_->Delegate(Person("lea@example.com"), request).ok());
  const v1::Approval asked = Open();
  ASSERT_TRUE(Decide(Person("bob@example.com", {}), asked).ok());
  EXPECT_EQ(ReasonOf(Decide(Person("lea@example.com"), asked).status()), "ALREADY_VOTED");
  EXPECT_EQ(Decide(Person("max@example.com"), asked)->state(), v1::APPROVAL_APPROVED);
}

TEST_F(StandingTest, NobodyHasTheirOwnRequestApprovedByAStandIn) {
  v1::CreateDelegationRequest request;
  request.set_to("bob@example.com");
  *request.mutable_end_time() = ToTimestamp(clock_.Now() + absl::Hours(8));
  ASSERT_TRUE(approvals_->Delegate(Person("zoe@example.com"), request).ok());
  EXPECT_EQ(ReasonOf(Decide(Person("bob@example.com", {}), Open()).status()), "SELF_APPROVAL");
}

TEST_F(StandingTest, ADelegationHasAnEndNearEnough) {
  v1::CreateDelegationRequest request;
  request.set_to("bob@example.com");
  EXPECT_EQ(ReasonOf(approvals_->Delegate(Person("lea@example.com"), request).status()), "INVALID_DELEGATION");
  *request.mutable_end_time() = ToTimestamp(clock_.Now() + absl::Hours(24 * 91));
  EXPECT_EQ(ReasonOf(approvals_->Delegate(Person("lea@example.com"), request).status()), "INVALID_DELEGATION");
}

TEST_F(StandingTest, ABrokenGlassReleasesAtOnceLoudlyAndOwesAReview) {
  hold_.set_approvals(2);
  hold_.add_break_glass("oncall");
  const v1::Approval asked = Open();
  EXPECT_EQ(ReasonOf(BreakGlass(Person("lea@example.com"), asked).status()), "BREAK_GLASS_NOT_ALLOWED");
  EXPECT_EQ(ReasonOf(BreakGlass(Person("ona@example.com", {"oncall"}, {}), asked, "").status()), "COMMENT_MISSING");
  EXPECT_EQ(ReasonOf(BreakGlass(Person("zoe@example.com", {"oncall"}, {}), asked).status()), "SELF_APPROVAL");
  EXPECT_EQ(Alarms("GLASS_BROKEN"), 0);
  const auto released = BreakGlass(Person("ona@example.com", {"oncall"}, {}), asked);
  ASSERT_TRUE(released.ok()) << released.status();
  EXPECT_EQ(released->state(), v1::APPROVAL_APPROVED);
  EXPECT_EQ(Alarms("GLASS_BROKEN"), 1);
  ASSERT_TRUE(Claim(asked).ok());

  v1::ListApprovalsRequest owed;
  owed.set_review_owed(true);
  v1::ListApprovalsResponse list;
  ASSERT_TRUE(approvals_->List(Person("lea@example.com"), owed, &list).ok());
  EXPECT_EQ(list.approvals_size(), 1);
  EXPECT_EQ(ReasonOf(Review(Person("ona@example.com", {"leads"}), asked).status()), "SELF_REVIEW");
  clock_.Advance(absl::Hours(24));
  approvals_->ExpireDue();
  approvals_->ExpireDue();
  EXPECT_EQ(Alarms("REVIEW_OVERDUE"), 1) << "once";
  ASSERT_TRUE(Review(Person("lea@example.com"), asked).ok());
  EXPECT_EQ(ReasonOf(Review(Person("max@example.com"), asked).status()), "NO_REVIEW_OWED");
  EXPECT_EQ(StateOf(asked), v1::APPROVAL_USED);
  list.Clear();
  ASSERT_TRUE(approvals_->List(Person("lea@example.com"), owed, &list).ok());
  EXPECT_EQ(list.approvals_size(), 0);
}

TEST_F(StandingTest, TheGlassStaysWholeWhenTheAlarmCannotBeRecorded) {
  hold_.add_break_glass("oncall");
  const v1::Approval asked = Open();
  sink_.FailWith(absl::UnavailableError("disk full"));
  EXPECT_FALSE(BreakGlass(Person("ona@example.com", {"oncall"}, {}), asked).ok());
  sink_.FailWith(absl::OkStatus());
  EXPECT_EQ(StateOf(asked), v1::APPROVAL_PENDING);
}

TEST_F(StandingTest, AFreezeLetsNothingThroughButABrokenGlass) {
  hold_.add_break_glass("oncall");
  const v1::Approval before = Open();
  ASSERT_TRUE(Decide(Person("lea@example.com"), before).ok());
  freeze_ = Freeze{.name = "year-end", .message = "", .until = clock_.Now() + absl::Hours(2)};
  EXPECT_EQ(ReasonOf(Claim(before)), "CHANGE_FREEZE") << "what was approved before waits as well";
  const v1::Approval asked = Open("delete from app.orders where id = $1", "2");
  EXPECT_EQ(ReasonOf(Decide(Person("lea@example.com"), asked).status()), "CHANGE_FREEZE");
  EXPECT_EQ(approvals_->Get(Person("lea@example.com"), asked.id())->freeze(), "year-end");
  ASSERT_TRUE(BreakGlass(Person("ona@example.com", {"oncall"}, {}), asked).ok());
  EXPECT_TRUE(Claim(asked).ok());
  const v1::Approval third = Open("delete from app.orders where id = $1", "3");
  EXPECT_TRUE(Decide(Person("lea@example.com"), third, false).ok()) << "a no is a no at any time";
}

TEST_F(StandingTest, AShapeThatIsApprovedLetsItsKindThroughForAWhile) {
  hold_.mutable_template_()->set_rows_max(100);
  hold_.mutable_template_()->set_for_seconds(1800);
  const v1::Approval asked = Open();
  EXPECT_EQ(ReasonOf(Decide(Person("lea@example.com"), asked, true, Terms(101, absl::Minutes(30))).status()),
            "TEMPLATE_NOT_ALLOWED");
  const auto decided = Decide(Person("lea@example.com"), asked, true, Terms(50, absl::Minutes(30)));
  ASSERT_TRUE(decided.ok()) << decided.status();
  EXPECT_EQ(decided->rows_max(), 50) << "its own rows are bounded as well";

  const v1::Approval next = Open("delete from app.orders where id = $1", "2");
  EXPECT_EQ(next.state(), v1::APPROVAL_APPROVED);
  EXPECT_EQ(next.rows_max(), 50);
  EXPECT_EQ(next.votes(0).principal(), "lea@example.com");
  EXPECT_TRUE(Claim(next).ok());
  EXPECT_EQ(Open("delete from app.customers where id = $1", "2").state(), v1::APPROVAL_PENDING) << "another shape";

  const auto templates = approvals_->Templates(false);
  ASSERT_TRUE(templates.ok());
  ASSERT_EQ(templates->size(), 1u);
  EXPECT_EQ(templates->front().uses(), 1);
  clock_.Advance(absl::Minutes(31));
  EXPECT_EQ(Open("delete from app.orders where id = $1", "3").state(), v1::APPROVAL_PENDING);
}

TEST_F(StandingTest, ARevokedTemplateTakesBackWhatItApproved) {
  hold_.mutable_template_()->set_rows_max(100);
  hold_.mutable_template_()->set_for_seconds(1800);
  ASSERT_TRUE(Decide(Person("lea@example.com"), Open(), true, Terms(50, absl::Minutes(30))).ok());
  const v1::Approval next = Open("delete from app.orders where id = $1", "2");
  ASSERT_EQ(next.state(), v1::APPROVAL_APPROVED);
  ASSERT_TRUE(approvals_->RevokeTemplate(Person("max@example.com"), next.template_id()).ok());
  EXPECT_EQ(ReasonOf(Claim(next)), "APPROVAL_NOT_USABLE");
}

TEST_F(StandingTest, AShapeNeedsEveryVoterAndARuleThatAllowsIt) {
  EXPECT_EQ(ReasonOf(Decide(Person("lea@example.com"), Open(), true, Terms(1, absl::Minutes(1))).status()),
            "TEMPLATE_NOT_ALLOWED");
  hold_.mutable_template_()->set_rows_max(100);
  hold_.mutable_template_()->set_for_seconds(1800);
  hold_.set_approvals(2);
  const v1::Approval asked = Open("delete from app.orders where id = $1", "2");
  ASSERT_TRUE(Decide(Person("lea@example.com"), asked, true, Terms(50, absl::Minutes(30))).ok());
  const auto decided = Decide(Person("max@example.com"), asked);
  EXPECT_EQ(decided->state(), v1::APPROVAL_APPROVED);
  EXPECT_EQ(decided->rows_max(), 0);
  EXPECT_TRUE(approvals_->Templates(true)->empty());
}

TEST_F(StandingTest, AStatementThatReturnsFindsItsApproval) {
  hold_.set_mode("return");
  const v1::Approval asked = Open();
  ASSERT_TRUE(Decide(Person("lea@example.com"), asked).ok());
  const v1::Approval again = Open();
  EXPECT_EQ(again.id(), asked.id());
  EXPECT_EQ(again.state(), v1::APPROVAL_APPROVED);
  ASSERT_TRUE(Claim(again).ok());
  const v1::Approval next = Open();
  EXPECT_NE(next.id(), asked.id()) << "single use: the next one asks anew";
  EXPECT_EQ(Open("delete from app.orders where id = $1", "9").state(), v1::APPROVAL_PENDING);

  ASSERT_TRUE(Decide(Person("lea@example.com"), next, false).ok());
  EXPECT_EQ(Open().state(), v1::APPROVAL_DENIED) << "a denial stands while the question would have stood";
  clock_.Advance(absl::Minutes(11));
  EXPECT_EQ(Open().state(), v1::APPROVAL_PENDING);
}

TEST_F(StandingTest, AnHeldTransactionIsDecidedSoonOrNotAtAll) {
  hold_.set_in_transaction_ttl_seconds(60);
  v1::RequestStatementApprovalRequest request = Request("delete from app.orders where id = $1");
  request.set_in_transaction(true);
  ASSERT_TRUE(approvals_->RequestStatementApproval(kSidecar, request).ok());
  EXPECT_EQ(hub_.approvals().back().request_expire_time().seconds(),
            absl::ToUnixSeconds(clock_.Now() + absl::Seconds(60)));
}

TEST_F(StandingTest, ThePreviewIsForApproversAndIsNoNewVersion) {
  hold_.mutable_preview()->set_show("rows");
  const v1::Approval asked = Open();
  v1::AttachPreviewRequest request;
  request.set_id(asked.id());
  request.set_session_id(session_);
  request.mutable_preview()->set_exact_rows(3);
  ASSERT_TRUE(approvals_->AttachPreview(kSidecar, request).ok());
  request.mutable_preview()->set_exact_rows(4);
  ASSERT_TRUE(approvals_->AttachPreview(kSidecar, request).ok());
  const auto seen = approvals_->Get(Person("lea@example.com"), asked.id());
  EXPECT_EQ(seen->preview().exact_rows(), 3) << "the first one stays";
  EXPECT_EQ(seen->etag(), asked.etag());
  identity::Caller agent;
  agent.principal.set_id("support-bot");
  agent.principal.set_kind(v1::AGENT);
  EXPECT_FALSE(approvals_->Get(agent, asked.id())->has_preview());
  request.set_session_id(NewId(kSessionPrefix, clock_.Now(), Random::System()));
  EXPECT_EQ(ReasonOf(approvals_->AttachPreview(kSidecar, request)), "APPROVAL_NOT_USABLE");
  ASSERT_TRUE(Decide(Person("lea@example.com"), asked).ok());
  EXPECT_EQ(approvals_->Get(Person("lea@example.com"), asked.id())->preview().exact_rows(), 3);
}

TEST_F(StandingTest, EarlierApprovalsOfTheLikeAreShown) {
  const v1::Approval first = Open();
  ASSERT_TRUE(Decide(Person("lea@example.com"), first, false).ok());
  const v1::Approval second = Open("delete from app.orders where id = $1", "2");
  const auto seen = approvals_->Get(Person("lea@example.com"), second.id());
  ASSERT_EQ(seen->earlier_size(), 1);
  EXPECT_EQ(seen->earlier(0).id(), first.id());
  EXPECT_EQ(seen->earlier(0).state(), v1::APPROVAL_DENIED);
}

}  // namespace
}  // namespace postern::approval
