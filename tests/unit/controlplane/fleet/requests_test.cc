#include "controlplane/fleet/requests.h"

#include <functional>
#include <string>

#include <gtest/gtest.h>

#include "common/base/errors.h"
#include "common/base/timestamps.h"
#include "tests/unit/controlplane/fleet/fleet_fakes.h"

namespace postern::fleet {
namespace {

constexpr char kSession[] = "ses_00000000000000000000000001";

class ReleaseTest : public ::testing::Test {
 protected:
  ReleaseTest() {
    caller_.id = "sdc_1";
    caller_.targets = {"demo"};
    v1::Grant grant;
    grant.set_id("grt_1");
    grant.set_state(v1::GRANT_ACTIVE);
    grant.set_agent("bot");
    grant.mutable_intent()->set_target("demo");
    grant.mutable_intent()->set_database("orders");
    *grant.mutable_expire_time() = ToTimestamp(clock_.Now() + absl::Minutes(5));
    absl::MutexLock lock(&backend_.mu);
    backend_.grants["grt_1"] = grant;
    request_.set_grant_id("grt_1");
    request_.set_session_id(kSession);
    request_.set_target("demo");
    request_.set_database("orders");
  }

  void Change(const std::function<void(v1::Grant&)>& change) {
    absl::MutexLock lock(&backend_.mu);
    change(backend_.grants["grt_1"]);
  }

  std::string Release() {
    response_.Clear();
    absl::Status status = ReleaseCredential({backend_, audit_, clock_}, caller_, request_, &response_);
    if (!status.ok()) {
      EXPECT_EQ(response_.password(), "");
    }
    return status.ok() ? "OK" : ReasonOf(status);
  }

  FakeClock clock_;
  FakeAudit audit_;
  FakeBackend backend_;
  SidecarCaller caller_;
  v1::ReleaseCredentialRequest request_;
  v1::ReleaseCredentialResponse response_;
};

TEST_F(ReleaseTest, ActiveGrantOfAServedTargetGetsTheCredential) {
  EXPECT_EQ(Release(), "OK");
  EXPECT_EQ(response_.password(), "password of demo");
}

TEST_F(ReleaseTest, ReleaseIsRecordedWithoutTheSecret) {
  ASSERT_EQ(Release(), "OK");
  ASSERT_EQ(audit_.records().size(), 1u);
  const v1::AuditRecord record = audit_.records()[0];
  EXPECT_EQ(record.grant_id(), "grt_1");
  EXPECT_EQ(record.session_id(), kSession);
  EXPECT_EQ(record.SerializeAsString().find("password of"), std::string::npos);
}

TEST_F(ReleaseTest, NothingIsReleasedThatIsNotRecorded) {
  audit_.Fail(Error(absl::StatusCode::kUnavailable, "STORE_UNAVAILABLE", "disk full"));
  EXPECT_EQ(Release(), "STORE_UNAVAILABLE");
}

TEST_F(ReleaseTest, OtherTargetsAreRefused) {
  request_.set_target("other");
  EXPECT_EQ(Release(), "TARGET_NOT_SERVED");
}

TEST_F(ReleaseTest, EachWayInWhichAGrantDoesNotFitIsRefused) {
  const struct {
    const char* name;
    std::function<void(v1::Grant&)> change;
  } kCases[] = {
      {"pending", [](v1::Grant& grant) { grant.set_state(v1::GRANT_PENDING_APPROVAL); }},
      {"revoked", [](v1::Grant& grant) { grant.set_state(v1::GRANT_REVOKED); }},
      {"expired", [](v1::Grant& grant) { grant.set_state(v1::GRANT_EXPIRED); }},
      {"without an end", [](v1::Grant& grant) { grant.clear_expire_time(); }},
      {"expiring now", [this](v1::Grant& grant) { *grant.mutable_expire_time() = ToTimestamp(clock_.Now()); }},
      {"other target", [](v1::Grant& grant) { grant.mutable_intent()->set_target("else"); }},
      {"other database", [](v1::Grant& grant) { grant.mutable_intent()->set_database("else"); }},
  };
  v1::Grant good;
  {
    absl::MutexLock lock(&backend_.mu);
    good = backend_.grants["grt_1"];
  }
  for (const auto& c : kCases) {
    Change([&](v1::Grant& grant) { grant = good; });
    ASSERT_EQ(Release(), "OK") << c.name;
    Change(c.change);
    EXPECT_EQ(Release(), "GRANT_NOT_ACTIVE") << c.name;
  }
  request_.set_grant_id("grt_2");
  EXPECT_EQ(Release(), "GRANT_NOT_ACTIVE");
}

TEST_F(ReleaseTest, SessionMustBeNamed) {
  request_.set_session_id("");
  EXPECT_EQ(Release(), "INVALID_ARGUMENT");
}

TEST_F(ReleaseTest, ApprovalsAreAskedForServedTargetsOnly) {
  v1::RequestStatementApprovalRequest request;
  request.mutable_binding()->set_target("other");
  request.set_request_id("6b1f3a52-5a53-4bfb-9a55-33d9c3a1f6a0");
  v1::Approval approval;
  const RequestDeps deps{backend_, audit_, clock_};
  EXPECT_EQ(ReasonOf(RequestStatementApproval(deps, caller_, request, &approval)), "TARGET_NOT_SERVED");
  request.mutable_binding()->set_target("demo");
  EXPECT_TRUE(RequestStatementApproval(deps, caller_, request, &approval).ok());
  EXPECT_EQ(approval.state(), v1::APPROVAL_PENDING);
}

}  // namespace
}  // namespace postern::fleet
