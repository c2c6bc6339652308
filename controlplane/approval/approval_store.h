// Approvals, pending and decided, and the sessions that wait for them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "controlplane/approval/approval.h"
#include "controlplane/token/grant.h"

namespace postern::approval {

// A session that holds a statement until the approval is decided.
struct Waiter {
  std::string session_id;
  std::string sidecar_id;
  // The sidecar's id for its request.
  std::string request_id;
};

struct ApprovalFilter {
  // UNSPECIFIED: any.
  v1::ApprovalState state = v1::APPROVAL_STATE_UNSPECIFIED;
  // Empty: any.
  std::string agent = {};
  std::string grant_id = {};
  // Only those that owe a review.
  bool review_owed = false;
  // What LikenessOf() says of them; empty: any.
  std::string likeness = {};
  // Only ids before this one (newest first); empty: from the newest.
  std::string before_id = {};
  int limit = 50;
};

// Thread-safe. UNAVAILABLE from any of them: unknown; read again before retrying.
class ApprovalStore {
 public:
  virtual ~ApprovalStore() = default;

  // What the sidecar's request_id made before; or the pending statement approval for the same grant and digest; or
  // `fresh`, saved. In each case `waiter` waits for it from now on. `joined` says that it is not `fresh`.
  // Where `fresh` is of a rule whose statements return, one that is approved and unused is found as well, and one that
  // was denied, until its request would have expired.
  virtual absl::StatusOr<Approval> OpenOrJoin(const Approval& fresh, const Waiter& waiter, bool* joined) = 0;

  // NOT_FOUND/APPROVAL_NOT_FOUND.
  virtual absl::StatusOr<Approval> Get(std::string_view id) const = 0;

  // Saves `next`, and with it the grant that the decision changes, if the stored versions are still those of the
  // arguments. Returns what is now stored.
  //   ABORTED/STALE_ETAG: one of them changed meanwhile; nothing was saved.
  virtual absl::StatusOr<Approval> Replace(const Approval& next, const grant::Grant* also) = 0;

  // Newest first.
  virtual absl::StatusOr<std::vector<Approval>> List(const ApprovalFilter& filter) const = 0;

  // Keeps the preview, unless there is one. It is no part of what versions count. NOT_FOUND/APPROVAL_NOT_FOUND.
  virtual absl::Status AttachPreview(std::string_view id, const v1::Preview& preview) = 0;

  // Those whose deadline, or that of a review that they owe, is at or before `now`, earliest first.
  virtual absl::StatusOr<std::vector<Approval>> Due(absl::Time now, int limit) const = 0;
  // The earliest deadline of all; InfiniteFuture when there is none.
  virtual absl::StatusOr<absl::Time> NextDeadline() const = 0;

  virtual absl::StatusOr<std::vector<Waiter>> Waiters(std::string_view id) const = 0;
  // The session waits no longer. If it was the last one, `if_last` is saved as by Replace(). Returns what is now
  // stored.
  //   ABORTED/STALE_ETAG: it was the last, and the approval changed meanwhile; nothing was saved.
  virtual absl::StatusOr<Approval> RemoveWaiter(const Waiter& waiter, const Approval& if_last) = 0;
};

}  // namespace postern::approval
