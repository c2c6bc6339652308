// Remembers assertions that were used, so that none is used twice (RFC 7523 section 3, jti).
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/token/assertion.h"

namespace postern::identity {

// Thread-safe. Memory only: instead of writing each assertion to disk, one that was issued before this object was made
// is refused, since the process before may have seen it. Assertions are made per call, so callers notice nothing.
class ReplayCache {
 public:
  static constexpr size_t kMaxEntries = 200'000;

  explicit ReplayCache(absl::Time start, size_t max_entries = kMaxEntries)
      : start_(absl::FromUnixSeconds(absl::ToUnixSeconds(start))), max_entries_(max_entries) {}

  // Takes `assertion` as used. OK for the first time only.
  //   UNAUTHENTICATED/TOKEN_REPLAYED: it was used before, or was issued before the start (to the second).
  //   RESOURCE_EXHAUSTED/TOO_MANY_CALLS: max_entries that have not expired are in memory already.
  absl::Status Use(const token::Assertion& assertion, absl::Time now);

 private:
  const absl::Time start_;
  const size_t max_entries_;
  absl::Mutex mu_;
  absl::flat_hash_set<std::string> used_ ABSL_GUARDED_BY(mu_);
  std::multimap<absl::Time, std::string> by_expiry_ ABSL_GUARDED_BY(mu_);
};

}  // namespace postern::identity
