// Approvals as a service to the rest of the control plane: opening, deciding, claiming, expiring and watching them.
//
// Every change is made durable, recorded in the audit log, pushed to the sidecars that wait, and then told to watchers,
// in this order. Racing decisions are serialised by the store's versions: exactly one wins.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "controlplane/approval/approval_store.h"
#include "controlplane/approval/standing_store.h"
#include "controlplane/audit/audit_sink.h"
#include "controlplane/fleet/fleet_hub.h"
#include "controlplane/identity/caller.h"
#include "controlplane/token/grant_store.h"
#include "postern/v1/sidecar.pb.h"

namespace postern::approval {

// A change freeze that keeps an approval from going on.
struct Freeze {
  std::string name;
  std::string message;
  absl::Time until;
};

// Thread-safe. Owns one thread, which expires what is due; the destructor joins it.
class Approvals {
 public:
  // The freeze that holds for an approval at a time, by the policy in force; an error keeps it from going on as well.
  using FreezeAt = std::function<absl::StatusOr<std::optional<Freeze>>(const v1::Approval&, absl::Time)>;

  // All arguments outlive the object. Without `freeze_at` there are no freezes.
  Approvals(ApprovalStore& store, StandingStore& standing, grant::GrantStore& grants, fleet::FleetHub& hub,
            audit::AuditSink& audit, const Clock& clock, Random& random, FreezeAt freeze_at = nullptr);
  ~Approvals();
  Approvals(const Approvals&) = delete;
  Approvals& operator=(const Approvals&) = delete;

  // --- For sidecars; `sidecar_id` is the authenticated one. The caller checks that it serves the target. ---

  // Opens the approval for one exact statement or joins the pending one for the same grant and binding. One that a
  // template approves is APPROVED from the beginning.
  //   FAILED_PRECONDITION/GRANT_NOT_ACTIVE, INVALID_ARGUMENT/BINDING_MISMATCH (binding and grant disagree).
  absl::StatusOr<v1::Approval> RequestStatementApproval(std::string_view sidecar_id,
                                                        const v1::RequestStatementApprovalRequest& request);
  // Claims it for its single execution. FAILED_PRECONDITION/APPROVAL_NOT_USABLE.
  absl::StatusOr<v1::Approval> Claim(std::string_view sidecar_id, const v1::ClaimApprovalRequest& request);
  // Adds what the sidecar found out in the database; only a session that waits may.
  absl::Status AttachPreview(std::string_view sidecar_id, const v1::AttachPreviewRequest& request);
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
  absl::StatusOr<v1::Approval> BreakGlass(const identity::Caller& caller, const v1::BreakGlassRequest& request);
  absl::StatusOr<v1::Approval> Review(const identity::Caller& caller, const v1::ReviewApprovalRequest& request);
  // What `caller` may know of it, with the freeze that holds now; nullopt: not even that it exists. Agents do not see
  // the preview, which was made for those who decide.
  std::optional<v1::Approval> ViewFor(const identity::Caller& caller, const v1::Approval& approval) const;

  absl::StatusOr<v1::Delegation> Delegate(const identity::Caller& caller, const v1::CreateDelegationRequest& request);
  std::vector<v1::Delegation> Delegations() const;
  absl::Status EndDelegation(const identity::Caller& caller, std::string_view id);

  absl::StatusOr<std::vector<v1::ApprovalTemplate>> Templates(bool all) const;
  absl::StatusOr<v1::ApprovalTemplate> RevokeTemplate(const identity::Caller& caller, std::string_view id);

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
  // Who makes a change, for the audit log.
  struct Actor {
    // "people/lea@example.com", "sidecars/sdc_…", "clock".
    std::string name = {};
    std::string comment = {};
    // The sidecar's session, when it acts.
    std::string session_id = {};
  };
  absl::StatusOr<v1::Approval> Apply(std::string_view id, const Actor& actor, const Change& change);
  // Saves `next` (with its grant, for token approvals) and tells everyone.
  absl::StatusOr<Approval> Save(const Approval& next, const Actor& actor);
  // The approval as it stands now, expired (durably) if its time has come.
  absl::StatusOr<Approval> Fresh(std::string_view id);
  void Tell(std::string_view id);
  absl::Status Record(const v1::Approval& approval, const Actor& actor, std::string_view outcome);
  bool MaySee(const identity::Caller& caller, const v1::Approval& approval) const;
  // CHANGE_FREEZE if one holds for it and nobody broke the glass.
  absl::Status CheckFreeze(const v1::Approval& approval, absl::Time now) const;
  // The template by which it was approved still lives.
  absl::Status CheckTemplate(const v1::Approval& approval, absl::Time now) const;
  // The delegation by which `caller` may decide it; nullopt: none is needed, or there is none.
  std::optional<v1::Delegation> DelegationFor(const identity::Caller& caller, const v1::Approval& approval) const;
  // Reads the delegations again, which are few and asked for with every approval that is shown.
  absl::Status LoadDelegations();
  // Makes the template on which the votes of `approved` agreed.
  absl::Status MakeTemplate(const v1::Approval& approved);
  // The approval of a statement as the sidecar asks for it, not yet opened.
  absl::StatusOr<Approval> FromRequest(std::string_view sidecar_id, const v1::RequestStatementApprovalRequest& request,
                                       const grant::Grant& grant, absl::Time now) const;
  std::vector<v1::EarlierApproval> EarlierOnes(const v1::Approval& approval) const;
  // An ALARM record and a line in the log: what somebody must look at.
  absl::Status Alarm(const v1::Approval& approval, std::string_view action, std::string_view what);
  // Announces that the review it owes did not come in time, once.
  absl::Status TellOverdue(std::string_view id);
  void WakeTimer();
  void RunTimer();

  ApprovalStore& store_;
  StandingStore& standing_;
  grant::GrantStore& grants_;
  fleet::FleetHub& hub_;
  audit::AuditSink& audit_;
  const Clock& clock_;
  Random& random_;
  const FreezeAt freeze_at_;

  mutable absl::Mutex delegations_mu_;
  std::vector<v1::Delegation> delegations_ ABSL_GUARDED_BY(delegations_mu_);

  absl::Mutex watchers_mu_;
  int64_t next_subscription_ ABSL_GUARDED_BY(watchers_mu_) = 1;
  std::map<int64_t, Watcher> watchers_ ABSL_GUARDED_BY(watchers_mu_);

  absl::Mutex timer_mu_;
  bool stopping_ ABSL_GUARDED_BY(timer_mu_) = false;
  bool wake_ ABSL_GUARDED_BY(timer_mu_) = false;
  std::thread timer_;
};

}  // namespace postern::approval
