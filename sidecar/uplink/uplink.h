// The sidecar's one connection to the control plane: what the session layer may ask of it, and what it learns from it.
//
// Everything a decision needs is in an immutable ControlState that the sync stream replaces; reading it costs an atomic
// load. Requests answer through callbacks on a thread of the uplink: callers post back to their own event loop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/policy/policy.h"
#include "common/token/token.h"
#include "postern/v1/approval.pb.h"
#include "postern/v1/session.pb.h"
#include "postern/v1/sidecar.pb.h"
#include "postern/v1/target.pb.h"

namespace postern::sidecar {

// What the control plane last said. Immutable.
struct ControlState {
  std::string origin;
  std::shared_ptr<const token::TokenVerifier> verifier;
  std::shared_ptr<const policy::CompiledPolicy> policy;
  int64_t policy_revision = 0;
  std::map<std::string, v1::Target> targets;
  std::unordered_map<std::string, std::string> revoked;  // grant id → reason
  std::map<std::string, std::string> mask_keys;          // target → key; secret
  // Moves with every change of anything above but the lease.
  uint64_t generation = 0;
};

// Events, called on an uplink thread; must not block.
class UplinkListener {
 public:
  virtual ~UplinkListener() = default;
  // A grant was revoked: its sessions must end now.
  virtual void OnRevoked(const std::string& grant_id, const std::string& reason) = 0;
  virtual void OnKillSession(const std::string& session_id, const std::string& reason) = 0;
  // An approval that this sidecar asked for has changed.
  virtual void OnApproval(const v1::Approval& approval) = 0;
  // Policy, targets or keys changed; state() is already the new one. Targets that vanished end their sessions.
  virtual void OnStateChanged() = 0;
};

class Uplink {
 public:
  virtual ~Uplink() = default;

  // nullptr before the first snapshot.
  virtual std::shared_ptr<const ControlState> state() const = 0;

  // True while the control plane answers: new sessions and approvals may start. The answer costs an atomic load.
  virtual bool connected() const = 0;

  // When (Clock::Monotonic()) what is granted may no longer be served on `target`; sessions then end with 57P03.
  // Moves forward with every lease.
  virtual absl::Duration lease_ends(const std::string& target) const = 0;

  // At most one listener, set before Start. Not owned.
  virtual void SetListener(UplinkListener* listener) = 0;

  // Each callback is called exactly once, possibly before the call returns, with UNAVAILABLE and reason
  // CONTROL_PLANE_UNREACHABLE when the control plane does not answer.
  virtual void ReleaseCredential(const v1::ReleaseCredentialRequest& request,
                                 std::function<void(absl::StatusOr<v1::ReleaseCredentialResponse>)> done) = 0;
  // The answer is the approval as it stands; changes follow as OnApproval.
  virtual void RequestApproval(const v1::RequestStatementApprovalRequest& request,
                               std::function<void(absl::StatusOr<v1::Approval>)> done) = 0;
  // OK exactly once per approval: the statement may run now.
  virtual void ClaimApproval(const v1::ClaimApprovalRequest& request,
                             std::function<void(absl::StatusOr<v1::Approval>)> done) = 0;
  // Retried by the uplink until answered or the approval is known to be over.
  virtual void WithdrawApproval(const v1::WithdrawApprovalRequest& request) = 0;

  // Adds what approvers should see. Tried once: an approval is good without it.
  virtual void AttachPreview(const v1::AttachPreviewRequest& request) = 0;

  // Session began or ended. Kept and sent again after a reconnect until the control plane has it.
  virtual void ReportSession(const v1::Session& session) = 0;
  virtual void PublishCatalog(const v1::CatalogSnapshot& snapshot) = 0;
};

}  // namespace postern::sidecar
