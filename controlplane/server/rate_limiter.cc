#include "controlplane/server/rate_limiter.h"

#include <algorithm>

namespace postern::server {
namespace {

// Beyond this many, buckets that are full again are forgotten: they say nothing.
constexpr size_t kSweepAbove = 10'000;

}  // namespace

void RateLimiter::Filled(Bucket& bucket, absl::Duration now) const {
  bucket.calls = std::min(burst_, bucket.calls + absl::ToDoubleSeconds(now - bucket.at) * per_second_);
  bucket.at = now;
}

bool RateLimiter::Take(std::string_view caller, absl::Duration monotonic) {
  if (per_second_ <= 0) return true;
  absl::MutexLock lock(&mu_);
  if (buckets_.size() > kSweepAbove) {
    absl::erase_if(buckets_, [&](auto& entry) {
      Filled(entry.second, monotonic);
      return entry.second.calls >= burst_;
    });
  }
  auto [it, fresh] = buckets_.try_emplace(std::string(caller), Bucket{burst_, monotonic});
  Filled(it->second, monotonic);
  if (it->second.calls < 1) return false;
  it->second.calls -= 1;
  return true;
}

}  // namespace postern::server
