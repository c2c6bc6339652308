// The control plane's part, played by the test: policy from YAML, tokens from a key of its own, approvals in memory.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "common/token/token.h"
#include "sidecar/uplink/uplink.h"

namespace postern::session_test {

// Thread-safe.
class TestUplink : public sidecar::Uplink {
 public:
  // `target` is served as "demo"; every credential is `user` and `password`.
  TestUplink(v1::Target target, std::string user, std::string password);

  // The whole policy set, as YAML documents. Pushed at once.
  void SetPolicy(const std::string& yaml);
  // A token of agent support-bot for "demo", database shop.
  std::string Token(const std::string& grant_id, absl::Duration ttl = absl::Minutes(5),
                    const std::string& database = "shop");
  void Revoke(const std::string& grant_id);
  void RemoveTarget();
  void SetConnected(bool connected);

  // The newest approval asked for; waits until there is one that `seen` does not contain.
  v1::Approval WaitForApproval(size_t count);
  void Decide(const std::string& id, v1::ApprovalState state, const std::string& comment = "");
  v1::Approval Get(const std::string& id);
  std::vector<v1::WithdrawApprovalRequest> Withdrawn();
  std::vector<v1::WithdrawApprovalRequest> WaitForWithdrawn(size_t count);
  std::vector<v1::Session> Sessions();

  // sidecar::Uplink
  std::shared_ptr<const sidecar::ControlState> state() const override;
  bool connected() const override;
  absl::Duration lease_ends(const std::string& target) const override;
  void SetListener(sidecar::UplinkListener* listener) override { listener_ = listener; }
  void ReleaseCredential(const v1::ReleaseCredentialRequest& request,
                         std::function<void(absl::StatusOr<v1::ReleaseCredentialResponse>)> done) override;
  void RequestApproval(const v1::RequestStatementApprovalRequest& request,
                       std::function<void(absl::StatusOr<v1::Approval>)> done) override;
  void ClaimApproval(const v1::ClaimApprovalRequest& request,
                     std::function<void(absl::StatusOr<v1::Approval>)> done) override;
  void WithdrawApproval(const v1::WithdrawApprovalRequest& request) override;
  void AttachPreview(const v1::AttachPreviewRequest& request) override;
  void ReportSession(const v1::Session& session) override;
  void PublishCatalog(const v1::CatalogSnapshot&) override {}

 private:
  void Replace(std::function<void(sidecar::ControlState*)> change);

  const std::string user_;
  const std::string password_;
  std::unique_ptr<token::TokenSigner> signer_;
  sidecar::UplinkListener* listener_ = nullptr;
  mutable absl::Mutex mu_;
  std::shared_ptr<const sidecar::ControlState> state_ ABSL_GUARDED_BY(mu_);
  bool connected_ ABSL_GUARDED_BY(mu_) = true;
  std::vector<std::string> order_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, v1::Approval> approvals_ ABSL_GUARDED_BY(mu_);
  std::vector<v1::WithdrawApprovalRequest> withdrawn_ ABSL_GUARDED_BY(mu_);
  std::vector<v1::Session> sessions_ ABSL_GUARDED_BY(mu_);
};

}  // namespace postern::session_test
