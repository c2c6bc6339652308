#include "tests/integration/session/test_uplink.h"

#include <cstdio>
#include <cstdlib>

#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/crypto/ec_key.h"
#include "common/crypto/hash.h"
#include "fmt/format.h"

namespace postern::session_test {
namespace {
constexpr const char* kIssuer = "https://postern.test";
constexpr absl::Duration kPatience = absl::Seconds(20);
}  // namespace

TestUplink::TestUplink(v1::Target target, std::string user, std::string password)
    : user_(std::move(user)), password_(std::move(password)) {
  const auto key = crypto::EcPrivateKey::Generate();
  signer_ = *token::TokenSigner::FromPem("test-key", key->ToPem().Expose());
  auto state = std::make_shared<sidecar::ControlState>();
  state->origin = kIssuer;
  state->verifier = *token::TokenVerifier::Create(kIssuer, {signer_->public_key()});
  state->targets["demo"] = std::move(target);
  state->mask_keys["demo"] = std::string(32, 'k');
  absl::MutexLock lock(&mu_);
  state_ = std::move(state);
}

void TestUplink::Replace(std::function<void(sidecar::ControlState*)> change) {
  {
    absl::MutexLock lock(&mu_);
    auto next = std::make_shared<sidecar::ControlState>(*state_);
    change(next.get());
    ++next->generation;
    state_ = std::move(next);
  }
  if (listener_ != nullptr) listener_->OnStateChanged();
}

void TestUplink::SetPolicy(const std::string& yaml) {
  v1::PolicyDocument document;
  document.set_path("test.yaml");
  document.set_text(yaml);
  const policy::LoadResult loaded = policy::Load({document});
  if (!loaded.ok()) {
    for (const auto& finding : loaded.findings) fmt::print(stderr, "{}\n", finding.ShortDebugString());
    std::abort();
  }
  Replace([&](sidecar::ControlState* next) {
    v1::PolicySet set;
    set.set_revision(next->policy_revision + 1);
    for (const v1::Policy& policy : loaded.policies) *set.add_policies() = policy;
    next->policy = *policy::CompiledPolicy::Compile(set);
    next->policy_revision = set.revision();
  });
}

std::string TestUplink::Token(const std::string& grant_id, absl::Duration ttl, const std::string& database) {
  token::Claims claims;
  claims.issuer = kIssuer;
  claims.target = "demo";
  claims.agent = "support-bot";
  claims.on_behalf_of = "zoe@example.com";
  claims.groups = {"agents"};
  claims.grant_id = grant_id;
  claims.database = database;
  claims.verbs = {"all"};
  claims.issued_at = Clock::System().Now() - absl::Seconds(1);
  claims.expires_at = Clock::System().Now() + ttl;
  return *signer_->Sign(claims);
}

void TestUplink::Revoke(const std::string& grant_id) {
  Replace([&](sidecar::ControlState* next) { next->revoked[grant_id] = "test"; });
  listener_->OnRevoked(grant_id, "test");
}

void TestUplink::RemoveTarget() {
  Replace([](sidecar::ControlState* next) { next->targets.clear(); });
}

void TestUplink::SetConnected(bool connected) {
  absl::MutexLock lock(&mu_);
  connected_ = connected;
}

v1::Approval TestUplink::WaitForApproval(size_t count) {
  absl::MutexLock lock(&mu_);
  const auto there = [this, count]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return order_.size() >= count; };
  if (!mu_.AwaitWithTimeout(absl::Condition(&there), kPatience)) return {};
  return approvals_[order_[count - 1]];
}

void TestUplink::Decide(const std::string& id, v1::ApprovalState state, const std::string& comment) {
  v1::Approval approval;
  {
    absl::MutexLock lock(&mu_);
    v1::Approval& stored = approvals_[id];
    stored.set_state(state);
    v1::Vote* vote = stored.add_votes();
    vote->set_principal("ann@example.com");
    vote->set_approve(state == v1::APPROVAL_APPROVED);
    vote->set_comment(comment);
    approval = stored;
  }
  listener_->OnApproval(approval);
}

v1::Approval TestUplink::Get(const std::string& id) {
  absl::MutexLock lock(&mu_);
  return approvals_[id];
}

std::vector<v1::WithdrawApprovalRequest> TestUplink::Withdrawn() {
  absl::MutexLock lock(&mu_);
  return withdrawn_;
}

std::vector<v1::WithdrawApprovalRequest> TestUplink::WaitForWithdrawn(size_t count) {
  absl::MutexLock lock(&mu_);
  const auto there = [this, count]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return withdrawn_.size() >= count; };
  mu_.AwaitWithTimeout(absl::Condition(&there), kPatience);
  return withdrawn_;
}

std::vector<v1::Session> TestUplink::Sessions() {
  absl::MutexLock lock(&mu_);
  return sessions_;
}

std::shared_ptr<const sidecar::ControlState> TestUplink::state() const {
  absl::MutexLock lock(&mu_);
  return state_;
}

bool TestUplink::connected() const {
  absl::MutexLock lock(&mu_);
  return connected_;
}

absl::Duration TestUplink::lease_ends(const std::string&) const { return absl::InfiniteDuration(); }

void TestUplink::ReleaseCredential(const v1::ReleaseCredentialRequest&,
                                   std::function<void(absl::StatusOr<v1::ReleaseCredentialResponse>)> done) {
  v1::ReleaseCredentialResponse response;
  response.set_user(user_);
  response.set_password(password_);
  done(response);
}

void TestUplink::RequestApproval(const v1::RequestStatementApprovalRequest& request,
                                 std::function<void(absl::StatusOr<v1::Approval>)> done) {
  v1::Approval approval;
  approval.set_id(NewId(kApprovalPrefix, Clock::System().Now(), Random::System()));
  approval.set_state(v1::APPROVAL_PENDING);
  *approval.mutable_binding() = request.binding();
  approval.set_binding_digest(crypto::Sha256(request.binding().SerializeAsString()));
  for (const std::string& effect : request.effects()) approval.add_effects(effect);
  approval.set_rule(request.rule());
  approval.set_session_id(request.session_id());
  {
    absl::MutexLock lock(&mu_);
    approvals_[approval.id()] = approval;
    order_.push_back(approval.id());
  }
  done(approval);
}

void TestUplink::ClaimApproval(const v1::ClaimApprovalRequest& request,
                               std::function<void(absl::StatusOr<v1::Approval>)> done) {
  absl::StatusOr<v1::Approval> answer =
      Error(absl::StatusCode::kFailedPrecondition, "APPROVAL_NOT_USABLE", "not approved, or used already");
  {
    absl::MutexLock lock(&mu_);
    v1::Approval& approval = approvals_[request.id()];
    if (approval.state() == v1::APPROVAL_APPROVED && approval.binding_digest() == request.binding_digest()) {
      approval.set_state(v1::APPROVAL_USED);
      answer = approval;
    }
  }
  done(std::move(answer));
}

void TestUplink::WithdrawApproval(const v1::WithdrawApprovalRequest& request) {
  absl::MutexLock lock(&mu_);
  withdrawn_.push_back(request);
}

void TestUplink::AttachPreview(const v1::AttachPreviewRequest& request) {
  absl::MutexLock lock(&mu_);
  *approvals_[request.id()].mutable_preview() = request.preview();
}

void TestUplink::ReportSession(const v1::Session& session) {
  absl::MutexLock lock(&mu_);
  sessions_.push_back(session);
}

}  // namespace postern::session_test
