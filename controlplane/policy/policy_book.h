// The policy in force, compiled, in the hands of whoever judges by it.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/policy/policy.h"
#include "controlplane/policy/policy_store.h"

namespace postern::policy {

// Thread-safe.
class PolicyBook {
 public:
  // Loads the revision in force. `store` outlives the book.
  static absl::StatusOr<std::unique_ptr<PolicyBook>> Open(const PolicyStore& store);

  std::shared_ptr<const CompiledPolicy> Current() const;

  // Reads the store again after a change. On an error the old policy stays.
  absl::Status Reload();

 private:
  explicit PolicyBook(const PolicyStore& store) : store_(store) {}

  const PolicyStore& store_;
  // Held while reading, so that of two reloads the later one wins.
  absl::Mutex reload_mu_;
  mutable absl::Mutex mu_;
  std::shared_ptr<const CompiledPolicy> current_ ABSL_GUARDED_BY(mu_);
};

}  // namespace postern::policy
