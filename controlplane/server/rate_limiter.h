// How often one caller may call: a token bucket for each.
#pragma once

#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace postern::server {

// Thread-safe.
class RateLimiter {
 public:
  // `per_second` calls on average, `burst` at once. 0 per second: no limit.
  RateLimiter(double per_second, double burst) : per_second_(per_second), burst_(burst) {}

  // Takes one call from `caller`'s bucket at `monotonic` time; false if it is empty.
  bool Take(std::string_view caller, absl::Duration monotonic);

 private:
  struct Bucket {
    double calls;
    absl::Duration at;
  };
  void Filled(Bucket& bucket, absl::Duration now) const;

  const double per_second_;
  const double burst_;
  absl::Mutex mu_;
  absl::flat_hash_map<std::string, Bucket> buckets_ ABSL_GUARDED_BY(mu_);
};

}  // namespace postern::server
