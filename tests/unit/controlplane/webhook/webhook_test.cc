#include "controlplane/webhook/webhook.h"

#include <memory>

#include "absl/synchronization/mutex.h"
#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/timestamps.h"
#include "common/crypto/hash.h"
#include "controlplane/store/approval_store.h"
#include "controlplane/store/delivery_store.h"
#include "controlplane/store/grant_store.h"
#include "controlplane/store/standing_store.h"
#include "controlplane/webhook/dispatcher.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/unit/controlplane/store/doubles.h"
#include "tests/unit/controlplane/store/temp_store.h"

namespace postern::webhook {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr std::string_view kKey = "0123456789abcdef0123456789abcdef";

Endpoint To(std::string name, Shape shape = Shape::kPostern) {
  Endpoint endpoint;
  endpoint.name = std::move(name);
  endpoint.shape = shape;
  endpoint.secret = crypto::Secret(kKey);
  endpoint.routing_key = crypto::Secret(std::string_view("R0UT1NG"));
  return endpoint;
}

v1::Approval Held() {
  v1::Approval approval;
  approval.set_id("apr_00000000000000000000000001");
  approval.set_kind(v1::APPROVAL_KIND_STATEMENT);
  approval.set_state(v1::APPROVAL_PENDING);
  approval.set_agent("support-bot");
  approval.set_target("demo");
  approval.set_reason("<!channel> [x](http://evil)");
  approval.mutable_binding()->set_sql("update app.customers set email = 'secret@example.com'");
  approval.add_effects("update app.customers (email)");
  approval.set_risk("high");
  approval.add_approver_groups("leads");
  approval.set_approvals_needed(1);
  return approval;
}

TEST(PayloadTest, NoShapeTellsTheStatementOrOffersAButton) {
  for (const Shape shape : {Shape::kPostern, Shape::kSlack, Shape::kTeams, Shape::kPagerDuty}) {
    const std::string body = Payload(To("ops", shape), Held(), "approval.pending", "whd_1");
    EXPECT_TRUE(nlohmann::json::accept(body)) << body;
    EXPECT_THAT(body, Not(HasSubstr("secret@example.com")));
    EXPECT_THAT(body, Not(HasSubstr("email")));
    EXPECT_THAT(body, Not(HasSubstr("Action.Submit")));
    EXPECT_THAT(body, Not(HasSubstr("Action.Http")));
    EXPECT_THAT(body, HasSubstr("postern approval show apr_00000000000000000000000001"));
    EXPECT_THAT(body, HasSubstr("support-bot"));
  }
}

TEST(PayloadTest, AnAgentsWordsAreNoMarkUp) {
  const auto slack = nlohmann::json::parse(Payload(To("s", Shape::kSlack), Held(), "approval.pending", ""));
  EXPECT_THAT(slack["blocks"][1]["text"]["text"].get<std::string>(), HasSubstr("&lt;!channel&gt;"));
  const auto teams = nlohmann::json::parse(Payload(To("t", Shape::kTeams), Held(), "approval.pending", ""));
  EXPECT_THAT(teams.dump(), Not(HasSubstr("[x](http")));
}

TEST(PayloadTest, ALinkLeadsToTheApproval) {
  Endpoint endpoint = To("ops");
  endpoint.link = "https://wiki.example.com/approvals?id={id}";
  const auto body = nlohmann::json::parse(Payload(endpoint, Held(), "approval.pending", "whd_1"));
  EXPECT_EQ(body["link"], "https://wiki.example.com/approvals?id=apr_00000000000000000000000001");
}

TEST(PayloadTest, AnIncidentIsOpenedAndResolved) {
  v1::Approval approval = Held();
  const Endpoint endpoint = To("pd", Shape::kPagerDuty);
  const std::string kept = Payload(endpoint, approval, "approval.pending", "");
  EXPECT_THAT(kept, Not(HasSubstr("R0UT1NG"))) << "what is kept holds no secret";
  const auto opened = nlohmann::json::parse(Outgoing(endpoint, kept));
  EXPECT_EQ(opened["routing_key"], "R0UT1NG");
  EXPECT_EQ(opened["event_action"], "trigger");
  EXPECT_EQ(opened["payload"]["severity"], "critical");
  approval.set_state(v1::APPROVAL_DENIED);
  const auto closed = nlohmann::json::parse(Payload(endpoint, approval, "approval.denied", ""));
  EXPECT_EQ(closed["event_action"], "resolve");
  EXPECT_EQ(closed["dedup_key"], opened["dedup_key"]);
}

TEST(SignatureTest, SignsTimeIdAndBody) {
  const absl::Time now = absl::FromUnixSeconds(1'750'000'000);
  const std::string signature = Signature(crypto::Secret(kKey), "whd_1", "{}", now);
  EXPECT_EQ(signature,
            "t=1750000000,v1=" + crypto::HexEncode(crypto::HmacSha256(crypto::Secret(kKey), "1750000000.whd_1.{}")));
  EXPECT_NE(signature, Signature(crypto::Secret(kKey), "whd_2", "{}", now));
  EXPECT_NE(signature, Signature(crypto::Secret(kKey), "whd_1", "{ }", now));
  EXPECT_NE(signature, Signature(crypto::Secret(kKey), "whd_1", "{}", now + absl::Seconds(1)));
}

TEST(EventsTest, EndpointsHearWhatTheyWant) {
  Endpoint endpoint = To("ops");
  EXPECT_TRUE(Wants(endpoint, Held(), "approval.pending"));
  endpoint.groups = {"dbas"};
  EXPECT_FALSE(Wants(endpoint, Held(), "approval.pending"));
  endpoint.groups = {"leads"};
  endpoint.events = {"approval.denied"};
  EXPECT_FALSE(Wants(endpoint, Held(), "approval.pending"));
  v1::Approval glass = Held();
  glass.set_state(v1::APPROVAL_APPROVED);
  glass.mutable_broken_glass()->set_by("ona@example.com");
  EXPECT_THAT(EventsOf(glass), ElementsAre("approval.approved", "approval.glass_broken"));
}

class DispatcherTest : public testing::Test {
 protected:
  void SetUp() override {
    grant_.body.set_id(NewId(kGrantPrefix, clock_.Now(), Random::System()));
    grant_.body.set_agent("support-bot");
    grant_.body.mutable_intent()->set_target("demo");
    grant_.ttl_seconds = 48 * 3600;
    grant_.request_id = NewUuid(Random::System());
    grant::Activate(grant_, clock_.Now());
    ASSERT_TRUE(grants_.Insert(grant_, nullptr).ok());
  }

  void Start() {
    std::vector<Endpoint> endpoints;
    endpoints.push_back(To("ops"));
    dispatcher_ = std::make_unique<Dispatcher>(
        std::move(endpoints), approvals_, store_, deliveries_,
        [this](const Endpoint&, const std::vector<std::string>& headers, const std::string& body) {
          absl::MutexLock lock(&mu_);
          if (!answer_.ok()) return answer_;
          headers_ = headers;
          sent_.push_back(nlohmann::json::parse(body)["event"].get<std::string>());
          return absl::OkStatus();
        },
        clock_, Random::System());
  }
  void Answer(absl::Status status) {
    absl::MutexLock lock(&mu_);
    answer_ = std::move(status);
  }
  std::vector<std::string> Sent() {
    absl::MutexLock lock(&mu_);
    return sent_;
  }
  std::string Ask(int n) {
    v1::RequestStatementApprovalRequest request;
    request.mutable_binding()->set_sql(fmt::format("drop table t{}", n));
    request.mutable_binding()->set_target("demo");
    request.mutable_binding()->set_agent("support-bot");
    request.mutable_binding()->set_grant_id(grant_.id());
    request.add_approver_groups("leads");
    request.set_session_id(NewId(kSessionPrefix, clock_.Now(), Random::System()));
    request.set_request_id(NewUuid(Random::System()));
    return approvals_.RequestStatementApproval("sdc_1", request)->id();
  }
  v1::WebhookDelivery Newest() {
    v1::ListWebhookDeliveriesRequest all;
    const auto list = dispatcher_->List(all);
    return list.ok() && !list->empty() ? list->front() : v1::WebhookDelivery();
  }

  store::TempStore db_;
  FakeClock clock_;
  RecordingHub hub_;
  RecordingSink sink_;
  grant::Grant grant_;
  store::SqlGrantStore grants_{*db_};
  store::SqlApprovalStore store_{*db_};
  store::SqlStandingStore standing_{*db_};
  store::SqlDeliveryStore deliveries_{*db_};
  approval::Approvals approvals_{store_, standing_, grants_, hub_, sink_, clock_, Random::System()};
  absl::Mutex mu_;
  absl::Status answer_;
  std::vector<std::string> headers_;
  std::vector<std::string> sent_;
  std::unique_ptr<Dispatcher> dispatcher_;
};

TEST_F(DispatcherTest, TellsEachEventOnceAcrossRestarts) {
  Ask(1);
  Start();
  dispatcher_->SendDue();
  dispatcher_.reset();
  Start();
  Ask(2);
  dispatcher_->SendDue();
  dispatcher_.reset();
  EXPECT_THAT(Sent(), ElementsAre("approval.pending", "approval.pending")) << "also what was asked before it ran";
  EXPECT_THAT(headers_, testing::Contains(testing::StartsWith("Postern-Signature: t=")));
}

TEST_F(DispatcherTest, TriesAgainThenGivesUpAndCanBeTakenUpAgain) {
  Start();
  Answer(absl::UnavailableError("the answer has status 503"));
  Ask(1);
  for (int attempt = 1; attempt <= 8; ++attempt) {
    dispatcher_->SendDue();
    const v1::WebhookDelivery now = Newest();
    EXPECT_EQ(now.attempts(), attempt);
    EXPECT_EQ(now.state(), attempt < 8 ? kWaiting : kDead);
    EXPECT_EQ(now.last_error(), "the answer has status 503");
    if (attempt == 8) break;
    EXPECT_EQ(ReasonOf(dispatcher_->Retry(now.id()).status()), "DELIVERY_NOT_DEAD");
    clock_.Advance(absl::Hours(1));
  }
  Answer(absl::OkStatus());
  ASSERT_TRUE(dispatcher_->Retry(Newest().id()).ok());
  dispatcher_->SendDue();
  EXPECT_EQ(Newest().state(), kDelivered);
  EXPECT_THAT(Sent(), ElementsAre("approval.pending"));
}

}  // namespace
}  // namespace postern::webhook
