// How long what is granted may be served without hearing from the control plane.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "sidecar/uplink/uplink.h"

namespace postern::sidecar {

// The lease in hand. One thread renews, any number read; reading costs two atomic loads. All times are
// Clock::Monotonic(), so a wall clock that is set back or forward neither extends nor ends a lease.
class Lease {
 public:
  // A lease of `length` was received at `now`.
  void Renew(absl::Duration now, absl::Duration length) {
    length_ns_.store(absl::ToInt64Nanoseconds(length), std::memory_order_relaxed);
    received_ns_.store(absl::ToInt64Nanoseconds(now), std::memory_order_release);
  }

  // When it ends on `target`, which may set a length of its own. A target that `state` does not have, and no lease at
  // all: -absl::InfiniteDuration(), long over.
  absl::Duration EndsOn(const ControlState* state, const std::string& target) const {
    const int64_t received = received_ns_.load(std::memory_order_acquire);
    if (received == kNever || state == nullptr) return -absl::InfiniteDuration();
    auto found = state->targets.find(target);
    if (found == state->targets.end()) return -absl::InfiniteDuration();
    const int64_t own = found->second.lease_seconds();
    return absl::Nanoseconds(received) +
           (own > 0 ? absl::Seconds(own) : absl::Nanoseconds(length_ns_.load(std::memory_order_relaxed)));
  }

 private:
  static constexpr int64_t kNever = INT64_MIN;
  std::atomic<int64_t> received_ns_{kNever};
  std::atomic<int64_t> length_ns_{0};
};

}  // namespace postern::sidecar
