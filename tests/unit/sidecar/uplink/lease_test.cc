#include "sidecar/uplink/lease.h"

#include <gtest/gtest.h>

#include "common/base/random.h"
#include "sidecar/uplink/backoff.h"

namespace postern::sidecar {
namespace {

ControlState WithTargets() {
  ControlState state;
  state.targets["plain"].set_name("plain");
  state.targets["short"].set_lease_seconds(5);
  state.targets["long"].set_lease_seconds(600);
  return state;
}

TEST(Lease, NoneIsLongOver) {
  const ControlState state = WithTargets();
  EXPECT_EQ(Lease().EndsOn(&state, "plain"), -absl::InfiniteDuration());
}

TEST(Lease, CountsFromReceiptByTheTargetsOwnLength) {
  const ControlState state = WithTargets();
  Lease lease;
  lease.Renew(absl::Seconds(100), absl::Seconds(60));
  EXPECT_EQ(lease.EndsOn(&state, "plain"), absl::Seconds(160));
  EXPECT_EQ(lease.EndsOn(&state, "short"), absl::Seconds(105));
  EXPECT_EQ(lease.EndsOn(&state, "long"), absl::Seconds(700));
}

TEST(Lease, EachNewOneMovesTheEnd) {
  const ControlState state = WithTargets();
  Lease lease;
  lease.Renew(absl::Seconds(100), absl::Seconds(60));
  lease.Renew(absl::Seconds(103), absl::Seconds(60));
  EXPECT_EQ(lease.EndsOn(&state, "plain"), absl::Seconds(163));
}

TEST(Lease, ReceiptAtTheClocksVeryBeginningCounts) {
  const ControlState state = WithTargets();
  Lease lease;
  lease.Renew(absl::ZeroDuration(), absl::Seconds(60));
  EXPECT_EQ(lease.EndsOn(&state, "plain"), absl::Seconds(60));
}

TEST(Lease, TargetsThatAreNotServedHaveNone) {
  const ControlState state = WithTargets();
  Lease lease;
  lease.Renew(absl::Seconds(100), absl::Seconds(60));
  EXPECT_EQ(lease.EndsOn(&state, "gone"), -absl::InfiniteDuration());
  EXPECT_EQ(lease.EndsOn(nullptr, "plain"), -absl::InfiniteDuration());
}

TEST(Backoff, GrowsWithinItsBoundsAndStartsOverWhenReset) {
  Backoff backoff(absl::Milliseconds(100), absl::Seconds(1), Random::System());
  absl::Duration longest = absl::Milliseconds(100);
  for (int i = 0; i < 10; ++i) {
    const absl::Duration pause = backoff.Next();
    EXPECT_GE(pause, longest / 2);
    EXPECT_LE(pause, longest);
    longest = std::min(absl::Seconds(1), longest * 2);
  }
  backoff.Reset();
  EXPECT_LE(backoff.Next(), absl::Milliseconds(100));
}

}  // namespace
}  // namespace postern::sidecar
