// Time as an injected dependency. Nothing outside this file asks the system for the time of day.
#pragma once

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace postern {

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // Wall-clock time, for what is written down and for expiries.
  virtual absl::Time Now() const = 0;
  // Monotonic time since some fixed point, for deadlines and leases: never jumps when the wall clock does.
  virtual absl::Duration Monotonic() const = 0;

  // The system's clock. Never destroyed.
  static const Clock& System();
};

// A clock that moves when told to.
class FakeClock : public Clock {
 public:
  explicit FakeClock(absl::Time now = absl::FromUnixSeconds(1'750'000'000)) : now_(now) {}
  absl::Time Now() const override;
  absl::Duration Monotonic() const override;
  void Advance(absl::Duration by);

 private:
  mutable absl::Mutex mu_;
  absl::Time now_ ABSL_GUARDED_BY(mu_);
  absl::Duration monotonic_ ABSL_GUARDED_BY(mu_) = absl::ZeroDuration();
};

}  // namespace postern
