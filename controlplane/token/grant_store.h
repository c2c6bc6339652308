// Grants as they are kept. The token itself is never stored.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "controlplane/approval/approval.h"
#include "controlplane/token/grant.h"

namespace postern::grant {

struct GrantFilter {
  // Empty: any.
  std::string agent = {};
  std::string target = {};
  // Only those that are ACTIVE at `now`.
  bool active_only = false;
  // Only those that have not been seen to end: PENDING_APPROVAL, and ACTIVE until it expires.
  bool open_only = false;
  // Only ids before this one (newest first); empty: from the newest.
  std::string before_id = {};
  int limit = 50;
};

// Thread-safe. UNAVAILABLE from any of them: unknown; read again before retrying.
class GrantStore {
 public:
  virtual ~GrantStore() = default;

  // Saves a new grant, together with the approval that it waits for, if any.
  //   ALREADY_EXISTS: the agent has used the request_id; nothing changed.
  virtual absl::Status Insert(const Grant& grant, const approval::Approval* opened) = 0;

  // NOT_FOUND/GRANT_NOT_FOUND.
  virtual absl::StatusOr<Grant> Get(std::string_view id) const = 0;
  virtual absl::StatusOr<Grant> FindByRequest(std::string_view agent, std::string_view request_id) const = 0;

  // Saves `next` if the stored version is still next.version.
  //   ABORTED/STALE_ETAG: it changed meanwhile; nothing was saved.
  virtual absl::Status Replace(const Grant& next) = 0;

  // Newest first.
  virtual absl::StatusOr<std::vector<Grant>> List(const GrantFilter& filter, absl::Time now) const = 0;

  // Everything that sidecars must still refuse at `now`: revoked, and not yet past its own expiry.
  virtual absl::StatusOr<std::vector<Grant>> Revoked(absl::Time now) const = 0;
};

}  // namespace postern::grant
