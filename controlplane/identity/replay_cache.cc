#include "controlplane/identity/replay_cache.h"

#include "common/base/errors.h"
#include "common/crypto/hash.h"

namespace postern::identity {

absl::Status ReplayCache::Use(const token::Assertion& assertion, absl::Time now) {
  if (assertion.issued_at < start_) {
    return Error(absl::StatusCode::kUnauthenticated, "TOKEN_REPLAYED",
                 "the assertion was made before this control plane started", "Make a new one.");
  }
  // A digest, so that an entry's size does not depend on what the caller chose as jti.
  std::string entry = crypto::Sha256(assertion.account_id + '\n' + assertion.id);
  absl::MutexLock lock(&mu_);
  while (!by_expiry_.empty() && by_expiry_.begin()->first <= now) {
    used_.erase(by_expiry_.begin()->second);
    by_expiry_.erase(by_expiry_.begin());
  }
  if (used_.contains(entry)) {
    return Error(absl::StatusCode::kUnauthenticated, "TOKEN_REPLAYED", "the assertion was used before",
                 "Make a new one for each call.");
  }
  if (used_.size() >= max_entries_) {
    return Error(absl::StatusCode::kResourceExhausted, "TOO_MANY_CALLS", "too many calls in the last minutes",
                 "Try again in a minute.");
  }
  used_.insert(entry);
  by_expiry_.emplace(assertion.expires_at, std::move(entry));
  return absl::OkStatus();
}

}  // namespace postern::identity
