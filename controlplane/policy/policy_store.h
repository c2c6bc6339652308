// Policy revisions: each change of the whole set is kept for ever.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "postern/v1/policy.pb.h"

namespace postern::policy {

// Thread-safe. UNAVAILABLE from any of them: unknown; read again before retrying.
class PolicyStore {
 public:
  virtual ~PolicyStore() = default;

  // The revision in force. Before the first there is revision 0: empty, which denies everything.
  virtual absl::StatusOr<v1::PolicyRevision> Latest() const = 0;

  // NOT_FOUND/POLICY_REVISION_NOT_FOUND.
  virtual absl::StatusOr<v1::PolicyRevision> Get(int64_t revision) const = 0;

  // Makes `next` the revision in force if `seen` still is, and numbers it and its set.
  //   ABORTED/STALE_REVISION: another came first; nothing was saved.
  virtual absl::StatusOr<v1::PolicyRevision> Append(v1::PolicyRevision next, int64_t seen) = 0;

  // Newest first, without documents and set; only those before `before` (0: from the newest).
  virtual absl::StatusOr<std::vector<v1::PolicyRevision>> List(int64_t before, int limit) const = 0;
};

}  // namespace postern::policy
