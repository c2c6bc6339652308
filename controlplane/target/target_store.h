// Registered Postgres servers, with their sealed secrets.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "postern/v1/target.pb.h"

namespace postern::target {

struct StoredTarget {
  // With its etag, which is made of `version`.
  v1::Target target;
  // Counts writes, from 1.
  int64_t version = 0;
  // Sealed by credential::CredentialVault for this target's name.
  std::string sealed_password;
  std::string sealed_mask_key;
};

// Thread-safe. UNAVAILABLE from any of them: unknown; read again before retrying.
class TargetStore {
 public:
  virtual ~TargetStore() = default;

  // ALREADY_EXISTS/TARGET_EXISTS.
  virtual absl::StatusOr<StoredTarget> Insert(const StoredTarget& target) = 0;
  // NOT_FOUND/TARGET_NOT_FOUND.
  virtual absl::StatusOr<StoredTarget> Get(std::string_view name) const = 0;
  // Saves `next` if the stored version is still next.version. ABORTED/STALE_ETAG, NOT_FOUND/TARGET_NOT_FOUND.
  virtual absl::StatusOr<StoredTarget> Replace(const StoredTarget& next) = 0;
  // NOT_FOUND/TARGET_NOT_FOUND.
  virtual absl::Status Delete(std::string_view name) = 0;
  // By name, after `after` (empty: from the first). 0: all of them.
  virtual absl::StatusOr<std::vector<StoredTarget>> List(std::string_view after, int limit) const = 0;
};

}  // namespace postern::target
