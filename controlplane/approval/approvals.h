// Approvals as a service to the rest of the control plane: opening, deciding, claiming, expiring and watching them.
//
// Every change is made durable, recorded in the audit log, pushed to the sidecars that wait, and then told to watchers,
// in this order. Racing decisions are serialised by the store's versions: exactly one wins.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "controlplane/approval/approval_store.h"
#include "controlplane/audit/audit_sink.h"
#include "controlplane/fleet/fleet_hub.h"
#include "controlplane/identity/caller.h"
#include "controlplane/token/grant_store.h"
#include "postern/v1/sidecar.pb.h"

namespace postern::approval {

// Thread-safe. Owns one thread, which expires what is due; the destructor joins it.
class Approvals {
 public:
  // All arguments outlive the object.
  Approvals(ApprovalStore& store, grant::GrantStore& grants, fleet::FleetHub& hub, audit::AuditSink& audit,
            const Clock& clock, Random& random);
  ~Approvals();
  Approvals(const Approvals&) = delete;
  Approvals& operator=(const Approvals&) = delete;

  // --- For sidecars; `sidecar_id` is the authenticated one. The caller checks that it serves the target. ---

  // Opens the approval for one exact statement or joins the pending one for the same grant and binding.
  //   FAILED_PRECONDITION/GRANT_NOT_ACTIVE, INVALID_ARGUMENT/BINDING_MISMATCH (binding and grant disagree).
  absl::StatusOr<v1::Approval> RequestStatementApproval(std::string_view sidecar_id,
                                                        const v1::RequestStatementApprovalRequest& request);
  // Claims it for its single execution. FAILED_PRECONDITION/APPROVAL_NOT_USABLE.
  absl::StatusOr<v1::Approval> Claim(std::string_view sidecar_id, const v1::ClaimApprovalRequest& request);
  // The session no longer waits; the last one to leave cancels the approval.
  absl::StatusOr<v1::Approval> Withdraw(std::string_view sidecar_id, const v1::WithdrawApprovalRequest& request);

  // --- For the token room. ---

  // Makes (does not save) the approval that a new grant waits for; GrantStore::Insert saves both. The caller then calls
  // Announce().
  Approval MakeTokenApproval(v1::Approval body, std::string owner) const;
  void Announce(const Approval& approval);
  // Expires it if its time has come, and with it the grant that waits for it.
  absl::Status Settle(std::string_view id);
  // Takes the approval of a grant whose token is being collected. OK also if it was used before.
  absl::Status ClaimForToken(std::string_view id);
  // The grant was revoked: what waits for it is cancelled.
  absl::Status CancelForGrant(std::string_view grant_id);

  // --- For callers of ApprovalService. ---

  absl::StatusOr<v1::Approval> Get(const identity::Caller& caller, std::string_view id);
  absl::Status List(const identity::Caller& caller, const v1::ListApprovalsRequest& request,
                    v1::ListApprovalsResponse* response);
  absl::StatusOr<v1::Approval> Decide(const identity::Caller& caller, const v1::DecideApprovalRequest& request,
                                      bool approve);
  absl::StatusOr<v1::Approval> Cancel(const identity::Caller& caller, const v1::CancelApprovalRequest& request);
  // Whether `caller` may know of it at all.
  static bool Visible(const identity::Caller& caller, const v1::Approval& approval);

  // --- Watching. ---

  // Called with each approval as it is opened or changes, on the thread that changed it: must not block. Not called
  // after Unsubscribe() has returned.
  using Watcher = std::function<void(const v1::Approval&)>;
  int64_t Subscribe(Watcher watcher);
  void Unsubscribe(int64_t subscription);

  // Expires what is due now. The thread calls it when the time comes; tests call it after moving the clock.
  void ExpireDue();

 private:
  // How a change is made: applied to a fresh read, again after each lost race.
  using Change = std::function<absl::Status(Approval&, absl::Time now)>;
  struct Actor;
  absl::StatusOr<v1::Approval> Apply(std::string_view id, const Actor& actor, const Change& change);
  // Saves `next` (with its grant, for token approvals) and tells everyone.
  absl::StatusOr<Approval> Save(const Approval& next, const Actor& actor);
  // The approval as it stands now, expired (durably) if its time has come.
  absl::StatusOr<Approval> Fresh(std::string_view id);
  void Tell(std::string_view id);
  absl::Status Record(const v1::Approval& approval, const Actor& actor, std::string_view outcome);
  void WakeTimer();
  void RunTimer();

  ApprovalStore& store_;
  grant::GrantStore& grants_;
  fleet::FleetHub& hub_;
  audit::AuditSink& audit_;
  const Clock& clock_;
  Random& random_;

  absl::Mutex watchers_mu_;
  int64_t next_subscription_ ABSL_GUARDED_BY(watchers_mu_) = 1;
  std::map<int64_t, Watcher> watchers_ ABSL_GUARDED_BY(watchers_mu_);

  absl::Mutex timer_mu_;
  bool stopping_ ABSL_GUARDED_BY(timer_mu_) = false;
  bool wake_ ABSL_GUARDED_BY(timer_mu_) = false;
  std::thread timer_;
};

}  // namespace postern::approval
