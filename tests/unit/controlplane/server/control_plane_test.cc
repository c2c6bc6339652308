// The whole control plane over loopback TLS, with account assertions: what the CLI and agents see.
#include "controlplane/server/control_plane.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include <stdlib.h>

#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/timestamps.h"
#include "common/crypto/ec_key.h"
#include "common/token/assertion.h"
#include "common/token/token.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "postern/v1/approval.grpc.pb.h"
#include "postern/v1/audit.grpc.pb.h"
#include "postern/v1/error.pb.h"
#include "postern/v1/identity.grpc.pb.h"
#include "postern/v1/policy.grpc.pb.h"
#include "postern/v1/session.grpc.pb.h"
#include "postern/v1/sidecar.grpc.pb.h"
#include "postern/v1/target.grpc.pb.h"
#include "postern/v1/token.grpc.pb.h"

namespace postern::server {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;

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
tests:
  - {name: reads, as: {agent: bot, group: agents}, db: orders, sql: "select id from app.orders", expect: allow}
)";

std::string ReasonOf(const grpc::Status& status) {
  v1::ErrorStatus error;
  v1::ErrorInfo info;
  if (!error.ParseFromString(status.error_details()) || error.details_size() != 1) return "(no details)";
  info.ParseFromString(error.details(0).value());
  return info.reason();
}

std::string ReadFile(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// Somebody with a key.
struct Who {
  std::string id;
  crypto::EcPrivateKey key;
};

class ControlPlaneTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "postern-cp-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    config_.origin = "cp.test";
    config_.listen = "127.0.0.1:0";
    config_.advertise = "127.0.0.1:7443";
    config_.data_dir = folder_ + "/data";
    config_.kek_file = folder_ + "/kek";
    config_.tls_hosts = {"127.0.0.1"};
    admin_ = std::make_unique<Who>(Who{"admin", *crypto::EcPrivateKey::Generate()});
    const auto initialised = Initialise(config_, {"admin", admin_->key.public_key().ToPem()}, clock_, random_);
    ASSERT_TRUE(initialised.ok()) << initialised.status();
    Start();
  }
  void TearDown() override {
    control_plane_.reset();
    std::filesystem::remove_all(folder_);
  }

  void Start() {
    auto started = ControlPlane::Start(config_, clock_, random_);
    ASSERT_TRUE(started.ok()) << started.status();
    control_plane_ = *std::move(started);
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = ReadFile(control_plane_->ca_path());
    channel_ = grpc::CreateChannel(fmt::format("127.0.0.1:{}", control_plane_->port()), grpc::SslCredentials(options));
  }

  void Authorize(grpc::ClientContext& context, const Who* who) {
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    if (who == nullptr) return;
    const auto assertion = token::MakeAssertion(who->id, who->key, config_.origin, clock_, random_);
    ASSERT_TRUE(assertion.ok()) << assertion.status();
    context.AddMetadata("authorization", "Bearer " + *assertion);
  }

  template <typename Stub, typename Request, typename Response>
  grpc::Status Call(const Who* who, grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    Stub& stub, const Request& request, Response* response) {
    grpc::ClientContext context;
    Authorize(context, who);
    return (stub.*method)(&context, request, response);
  }

// Makes one call as `who` (nullptr: nobody).
#define POSTERN_TEST_CALL(who, Service, Method, request, response) \
  Call(who, &v1::Service::Stub::Method, *v1::Service::NewStub(channel_), request, response)

  // Makes an account and binds nothing.
  std::unique_ptr<Who> Account(std::string id, v1::PrincipalKind kind, std::string group, std::string owner = "") {
    auto who = std::make_unique<Who>(Who{std::move(id), *crypto::EcPrivateKey::Generate()});
    v1::CreateAccountRequest request;
    request.mutable_account()->set_id(who->id);
    request.mutable_account()->set_kind(kind);
    request.mutable_account()->add_groups(std::move(group));
    request.mutable_account()->set_owner(std::move(owner));
    v1::AccountKey* key = request.mutable_account()->add_keys();
    key->set_public_key_pem(who->key.public_key().ToPem());
    *key->mutable_expire_time() = ToTimestamp(clock_.Now() + absl::Hours(24));
    request.set_request_id(NewUuid(random_));
    v1::Account account;
    const grpc::Status status = POSTERN_TEST_CALL(admin_.get(), IdentityService, CreateAccount, request, &account);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return who;
  }

  void Bind(const std::string& group, const std::string& role) {
    v1::CreateRoleBindingRequest request;
    request.mutable_binding()->set_group(group);
    request.mutable_binding()->set_role(role);
    v1::RoleBinding binding;
    const grpc::Status status = POSTERN_TEST_CALL(admin_.get(), IdentityService, CreateRoleBinding, request, &binding);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }

  // The people, the agent, the target and the policy of the story.
  void Furnish() {
    Bind("approvers", "approver");
    alice_ = Account("alice", v1::PERSON, "approvers");
    bob_ = Account("bob", v1::PERSON, "approvers");
    bot_ = Account("support-bot", v1::AGENT, "agents", "bob");

    v1::CreateTargetRequest target;
    target.mutable_target()->set_name("demo");
    target.mutable_target()->set_host("127.0.0.1");
    target.mutable_target()->set_port(5432);
    target.mutable_target()->set_default_database("orders");
    target.mutable_target()->set_login_role("postern");
    target.set_password("upstream-password");
    v1::Target made;
    grpc::Status status = POSTERN_TEST_CALL(admin_.get(), TargetService, CreateTarget, target, &made);
    ASSERT_TRUE(status.ok()) << status.error_message();

    v1::ApplyPolicyResponse applied;
    status = Apply(admin_.get(), kPolicy, &applied);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(applied.revision(), 1);
  }

  grpc::Status Apply(const Who* who, std::string text, v1::ApplyPolicyResponse* response) {
    v1::ApplyPolicyRequest request;
    request.add_documents()->set_path("desk.yaml");
    request.mutable_documents(0)->set_text(std::move(text));
    return POSTERN_TEST_CALL(who, PolicyService, ApplyPolicy, request, response);
  }

  v1::MintTokenRequest Ask(std::string verb) {
    v1::MintTokenRequest request;
    request.mutable_intent()->set_target("demo");
    request.mutable_intent()->add_do_(std::move(verb));
    request.mutable_intent()->set_reason("a customer asked");
    request.set_request_id(NewUuid(random_));
    return request;
  }

  grpc::Status Mint(const v1::MintTokenRequest& request, v1::MintTokenResponse* response) {
    return POSTERN_TEST_CALL(bot_.get(), TokenService, MintToken, request, response);
  }

  const Clock& clock_ = Clock::System();
  Random& random_ = Random::System();
  std::string folder_;
  Config config_;
  std::unique_ptr<Who> admin_, alice_, bob_, bot_;
  std::unique_ptr<ControlPlane> control_plane_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(ControlPlaneTest, AnAgentGetsATokenAndLosesItAgain) {
  Furnish();
  v1::MintTokenResponse minted;
  grpc::Status status = Mint(Ask("select"), &minted);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(minted.grant().state(), v1::GRANT_ACTIVE);
  EXPECT_FALSE(minted.token().empty());
  EXPECT_LE(minted.token().size(), token::kMaxTokenBytes);

  status = Mint(Ask("drop"), &minted);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(ReasonOf(status), "POLICY_DENIED");

  v1::RevokeGrantRequest revoke;
  revoke.set_id(minted.grant().id());
  v1::Grant grant;
  status = POSTERN_TEST_CALL(bob_.get(), TokenService, RevokeGrant, revoke, &grant);
  ASSERT_TRUE(status.ok()) << "the agent's owner may revoke: " << status.error_message();
  EXPECT_EQ(grant.state(), v1::GRANT_REVOKED);
}

TEST_F(ControlPlaneTest, ATokenRequestWaitsForAPersonOtherThanTheOwner) {
  Furnish();
  const v1::MintTokenRequest request = Ask("delete");
  v1::MintTokenResponse minted;
  ASSERT_TRUE(Mint(request, &minted).ok());
  ASSERT_EQ(minted.grant().state(), v1::GRANT_PENDING_APPROVAL);

  const auto stub = v1::ApprovalService::NewStub(channel_);
  grpc::ClientContext context;
  Authorize(context, alice_.get());
  auto watch = stub->WatchApprovals(&context, {});
  v1::Approval seen;
  ASSERT_TRUE(watch->Read(&seen)) << watch->Finish().error_message();
  EXPECT_EQ(seen.id(), minted.grant().approval_id());
  EXPECT_EQ(seen.state(), v1::APPROVAL_PENDING);

  v1::DecideApprovalRequest decide;
  decide.set_id(seen.id());
  decide.set_etag(seen.etag());
  decide.set_request_id(NewUuid(random_));
  v1::Approval decided;
  grpc::Status status = POSTERN_TEST_CALL(bob_.get(), ApprovalService, ApproveApproval, decide, &decided);
  EXPECT_EQ(ReasonOf(status), "SELF_APPROVAL");
  status = POSTERN_TEST_CALL(bot_.get(), ApprovalService, ApproveApproval, decide, &decided);
  EXPECT_EQ(ReasonOf(status), "NOT_ALLOWED");
  status = POSTERN_TEST_CALL(admin_.get(), ApprovalService, ApproveApproval, decide, &decided);
  EXPECT_EQ(ReasonOf(status), "NOT_ALLOWED");
  status = POSTERN_TEST_CALL(alice_.get(), ApprovalService, ApproveApproval, decide, &decided);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(decided.state(), v1::APPROVAL_APPROVED);
  v1::Approval again;
  ASSERT_TRUE(POSTERN_TEST_CALL(alice_.get(), ApprovalService, ApproveApproval, decide, &again).ok())
      << "the same request_id gets the same answer";
  EXPECT_EQ(again.SerializeAsString(), decided.SerializeAsString());

  ASSERT_TRUE(watch->Read(&seen));
  EXPECT_EQ(seen.state(), v1::APPROVAL_APPROVED);
  context.TryCancel();
  watch->Finish();

  ASSERT_TRUE(Mint(request, &minted).ok());
  EXPECT_EQ(minted.grant().state(), v1::GRANT_ACTIVE);
  EXPECT_FALSE(minted.token().empty());
}

TEST_F(ControlPlaneTest, AWatchOfOneApprovalEndsWithItsDenial) {
  Furnish();
  v1::MintTokenResponse minted;
  ASSERT_TRUE(Mint(Ask("delete"), &minted).ok());
  const auto stub = v1::ApprovalService::NewStub(channel_);
  grpc::ClientContext context;
  Authorize(context, bot_.get());
  v1::WatchApprovalsRequest request;
  request.set_id(minted.grant().approval_id());
  auto watch = stub->WatchApprovals(&context, request);
  v1::Approval seen;
  ASSERT_TRUE(watch->Read(&seen));

  v1::DecideApprovalRequest deny;
  deny.set_id(seen.id());
  deny.set_comment("not on a Friday");
  v1::Approval denied;
  ASSERT_TRUE(POSTERN_TEST_CALL(alice_.get(), ApprovalService, DenyApproval, deny, &denied).ok());
  ASSERT_TRUE(watch->Read(&seen));
  EXPECT_EQ(seen.state(), v1::APPROVAL_DENIED);
  EXPECT_EQ(seen.votes(0).comment(), "not on a Friday");
  EXPECT_FALSE(watch->Read(&seen));
  EXPECT_TRUE(watch->Finish().ok());
}

TEST_F(ControlPlaneTest, NobodyGetsInWithoutProof) {
  v1::Principal principal;
  EXPECT_EQ(POSTERN_TEST_CALL(nullptr, IdentityService, WhoAmI, v1::WhoAmIRequest(), &principal).error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
  const Who impostor{"admin", *crypto::EcPrivateKey::Generate()};
  EXPECT_EQ(POSTERN_TEST_CALL(&impostor, IdentityService, WhoAmI, v1::WhoAmIRequest(), &principal).error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
  ASSERT_TRUE(POSTERN_TEST_CALL(admin_.get(), IdentityService, WhoAmI, v1::WhoAmIRequest(), &principal).ok());
  EXPECT_EQ(principal.id(), "admin");
  EXPECT_THAT(principal.roles(), Contains("admin"));

  const auto stub = v1::ApprovalService::NewStub(channel_);
  grpc::ClientContext context;
  Authorize(context, nullptr);
  auto watch = stub->WatchApprovals(&context, {});
  v1::Approval seen;
  EXPECT_FALSE(watch->Read(&seen));
  EXPECT_EQ(watch->Finish().error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(ControlPlaneTest, PolicyIsCheckedBeforeItComesIntoForceAndCanBeRolledBack) {
  Furnish();
  v1::ApplyPolicyResponse response;
  EXPECT_EQ(ReasonOf(Apply(admin_.get(), "apiVersion: postern/v1\nkind: Policy\nmetadat: {}\n", &response)),
            "POLICY_INVALID");
  std::string failing(kPolicy);
  failing.replace(failing.find("expect: allow"), 13, "expect: deny");
  EXPECT_EQ(ReasonOf(Apply(admin_.get(), failing, &response)), "POLICY_TESTS_FAILED");
  EXPECT_EQ(ReasonOf(Apply(bot_.get(), kPolicy, &response)), "NOT_ALLOWED");

  std::string narrower(kPolicy);
  narrower.replace(narrower.find("do: [select]"), 12, "do: [select, insert]");
  response.Clear();
  ASSERT_TRUE(Apply(admin_.get(), narrower, &response).ok());
  EXPECT_EQ(response.revision(), 2);
  EXPECT_THAT(response.changed(), testing::ElementsAre("desk"));

  v1::RollbackPolicyRequest rollback;
  rollback.set_revision(1);
  response.Clear();
  ASSERT_TRUE(POSTERN_TEST_CALL(admin_.get(), PolicyService, RollbackPolicy, rollback, &response).ok());
  EXPECT_EQ(response.revision(), 3);
  v1::PolicyRevision first, third;
  v1::GetPolicyRequest get;
  get.set_revision(1);
  ASSERT_TRUE(POSTERN_TEST_CALL(admin_.get(), PolicyService, GetPolicy, get, &first).ok());
  get.set_revision(0);
  ASSERT_TRUE(POSTERN_TEST_CALL(admin_.get(), PolicyService, GetPolicy, get, &third).ok());
  EXPECT_EQ(third.revision(), 3);
  EXPECT_EQ(third.digest(), first.digest());
  EXPECT_EQ(third.author(), "admin");
}

TEST_F(ControlPlaneTest, EveryMutationIsInTheAuditLogWithoutItsSecrets) {
  Furnish();
  v1::MintTokenResponse minted;
  ASSERT_TRUE(Mint(Ask("select"), &minted).ok());
  v1::QueryAuditRequest request;
  request.set_oldest_first(true);
  request.set_page_size(1000);
  v1::QueryAuditResponse log;
  const grpc::Status status = POSTERN_TEST_CALL(admin_.get(), AuditService, QueryAudit, request, &log);
  ASSERT_TRUE(status.ok()) << status.error_message();
  std::vector<std::string> lines;
  for (const v1::LoggedRecord& logged : log.records()) {
    v1::AuditRecord record;
    ASSERT_TRUE(record.ParseFromString(logged.chained().record()));
    lines.push_back(record.action() + " " + record.outcome());
    EXPECT_THAT(logged.chained().record(), testing::Not(HasSubstr("upstream-password")));
    EXPECT_THAT(logged.chained().record(), testing::Not(HasSubstr(minted.token())));
  }
  EXPECT_THAT(lines, Contains("TargetService/CreateTarget intended"));
  EXPECT_THAT(lines, Contains("TargetService/CreateTarget completed"));
  EXPECT_THAT(lines, Contains("PolicyService/ApplyPolicy completed"));
  EXPECT_THAT(lines, Contains("TokenService/MintToken intended"));
  EXPECT_THAT(lines, Contains("TokenService/MintToken completed"));

  const std::string stored =
      ReadFile(config_.data_dir + "/postern.db") + ReadFile(config_.data_dir + "/postern.db-wal");
  EXPECT_THAT(stored, testing::Not(HasSubstr("upstream-password")));
  EXPECT_THAT(stored, testing::Not(HasSubstr(minted.token())));
  EXPECT_THAT(stored, testing::Not(HasSubstr("PRIVATE KEY")));
}

TEST_F(ControlPlaneTest, ARestartKeepsEverything) {
  Furnish();
  const v1::MintTokenRequest request = Ask("delete");
  v1::MintTokenResponse minted;
  ASSERT_TRUE(Mint(request, &minted).ok());
  const std::string approval = minted.grant().approval_id();
  control_plane_->Stop(absl::Seconds(1));
  control_plane_.reset();
  Start();
  // Assertions from before the start are refused to the second; the next ones must be younger than that.
  v1::DecideApprovalRequest decide;
  decide.set_id(approval);
  v1::Approval decided;
  const grpc::Status status = POSTERN_TEST_CALL(alice_.get(), ApprovalService, ApproveApproval, decide, &decided);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_TRUE(Mint(request, &minted).ok());
  EXPECT_EQ(minted.grant().state(), v1::GRANT_ACTIVE);
}

TEST_F(ControlPlaneTest, ADataFolderIsInitialisedOnceAndHeldByOneProcess) {
  EXPECT_EQ(postern::ReasonOf(ControlPlane::Start(config_, clock_, random_).status()), "DATA_DIR_IN_USE");
  control_plane_.reset();
  EXPECT_EQ(postern::ReasonOf(
                Initialise(config_, {"eve", crypto::EcPrivateKey::Generate()->public_key().ToPem()}, clock_, random_)
                    .status()),
            "BOOTSTRAPPED");
  Config other = config_;
  other.data_dir = folder_ + "/other";
  EXPECT_EQ(postern::ReasonOf(ControlPlane::Start(other, clock_, random_).status()), "NOT_INITIALISED");
}

TEST_F(ControlPlaneTest, ADisabledAgentIsRefusedAndItsGrantsAreRevoked) {
  Furnish();
  v1::MintTokenResponse minted;
  ASSERT_TRUE(Mint(Ask("select"), &minted).ok());
  v1::UpdateAccountRequest update;
  update.mutable_account()->set_id("support-bot");
  update.mutable_account()->set_kind(v1::AGENT);
  update.mutable_account()->add_groups("agents");
  update.mutable_account()->set_owner("bob");
  update.mutable_account()->set_disabled(true);
  v1::Account account;
  grpc::Status status = POSTERN_TEST_CALL(admin_.get(), IdentityService, UpdateAccount, update, &account);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(ReasonOf(Mint(Ask("select"), &minted)), "ACCOUNT_DISABLED");
  v1::ListGrantsRequest list;
  v1::ListGrantsResponse grants;
  ASSERT_TRUE(POSTERN_TEST_CALL(admin_.get(), TokenService, ListGrants, list, &grants).ok());
  ASSERT_EQ(grants.grants_size(), 1);
  EXPECT_EQ(grants.grants(0).state(), v1::GRANT_REVOKED);
}

TEST_F(ControlPlaneTest, OneCallerCannotCallWithoutEnd) {
  control_plane_.reset();
  config_.limits.calls_per_second = 1;
  config_.limits.burst = 3;
  Start();
  std::vector<std::string> reasons;
  v1::Principal principal;
  for (int i = 0; i < 6; ++i) {
    reasons.push_back(
        ReasonOf(POSTERN_TEST_CALL(admin_.get(), IdentityService, WhoAmI, v1::WhoAmIRequest(), &principal)));
  }
  EXPECT_THAT(reasons, Contains("TOO_MANY_CALLS"));
}

}  // namespace
}  // namespace postern::server
