// Pauses between attempts: doubling, with jitter, so that a fleet does not come back all at once.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "absl/time/time.h"
#include "common/base/random.h"

namespace postern::sidecar {

// Not thread-safe.
class Backoff {
 public:
  Backoff(absl::Duration first, absl::Duration longest, Random& random)
      : first_(first), longest_(longest), random_(random), next_(first) {}

  // Half of the current pause and up to as much again at random; the pause doubles.
  absl::Duration Next() {
    uint8_t byte = 0;
    random_.Fill(std::span<uint8_t>(&byte, 1));
    const absl::Duration pause = next_ / 2 + next_ / 2 * (byte / 255.0);
    next_ = std::min(longest_, next_ * 2);
    return pause;
  }
  void Reset() { next_ = first_; }

 private:
  const absl::Duration first_;
  const absl::Duration longest_;
  Random& random_;
  absl::Duration next_;
};

}  // namespace postern::sidecar
