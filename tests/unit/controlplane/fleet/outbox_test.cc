#include "controlplane/fleet/outbox.h"

#include <string>

#include <gtest/gtest.h>

namespace postern::fleet {
namespace {

v1::SyncResponse Revoked(const std::string& id) {
  v1::SyncResponse message;
  message.mutable_revocation()->set_grant_id(id);
  return message;
}
v1::SyncResponse Policy(int64_t revision) {
  v1::SyncResponse message;
  message.mutable_policy()->set_revision(revision);
  return message;
}
v1::SyncResponse Lease(int64_t seconds) {
  v1::SyncResponse message;
  message.mutable_lease()->set_lease_seconds(seconds);
  return message;
}
v1::SyncResponse Snapshot(int64_t revision) {
  v1::SyncResponse message;
  message.mutable_snapshot()->mutable_policy()->set_revision(revision);
  return message;
}

TEST(Outbox, NothingGoesBeforeTheSnapshot) {
  Outbox outbox({});
  ASSERT_TRUE(outbox.PushEvent(Revoked("a")));
  outbox.SetState(Lease(1));
  EXPECT_FALSE(outbox.Next().has_value());
  outbox.SetSnapshot(Snapshot(1));
  EXPECT_TRUE(outbox.Next()->has_snapshot());
  EXPECT_EQ(outbox.Next()->revocation().grant_id(), "a");
}

TEST(Outbox, SnapshotTakesThePlaceOfOlderState) {
  Outbox outbox({});
  outbox.SetState(Policy(6));
  outbox.SetSnapshot(Snapshot(7));
  EXPECT_EQ(outbox.Next()->snapshot().policy().revision(), 7);
  EXPECT_FALSE(outbox.Next().has_value());
}

TEST(Outbox, RevocationsOvertakePolicyAndLease) {
  Outbox outbox({});
  outbox.SetSnapshot(Snapshot(1));
  outbox.SetState(Lease(60));
  outbox.SetState(Policy(2));
  ASSERT_TRUE(outbox.PushEvent(Revoked("a")));
  ASSERT_TRUE(outbox.PushEvent(Revoked("b")));
  EXPECT_TRUE(outbox.Next()->has_snapshot());
  EXPECT_EQ(outbox.Next()->revocation().grant_id(), "a");
  EXPECT_EQ(outbox.Next()->revocation().grant_id(), "b");
  EXPECT_TRUE(outbox.Next()->has_policy());
  EXPECT_TRUE(outbox.Next()->has_lease());
  EXPECT_FALSE(outbox.Next().has_value());
}

TEST(Outbox, NewerStateReplacesOlder) {
  Outbox outbox({});
  outbox.SetSnapshot(Snapshot(1));
  outbox.Next();
  outbox.SetState(Policy(2));
  outbox.SetState(Policy(3));
  EXPECT_EQ(outbox.Next()->policy().revision(), 3);
  EXPECT_FALSE(outbox.Next().has_value());
}

TEST(Outbox, EventsBeyondTheirNumberOverflow) {
  Outbox outbox({.events = 2, .bytes = 1 << 20});
  EXPECT_TRUE(outbox.PushEvent(Revoked("a")));
  EXPECT_TRUE(outbox.PushEvent(Revoked("b")));
  EXPECT_FALSE(outbox.PushEvent(Revoked("c")));
}

TEST(Outbox, EventsBeyondTheirBytesOverflowAndSendingMakesRoom) {
  const v1::SyncResponse big = Revoked(std::string(100, 'x'));
  Outbox outbox({.events = 100, .bytes = big.ByteSizeLong() * 2});
  EXPECT_TRUE(outbox.PushEvent(big));
  EXPECT_TRUE(outbox.PushEvent(big));
  EXPECT_FALSE(outbox.PushEvent(big));
  outbox.SetSnapshot(Snapshot(1));
  outbox.Next();
  outbox.Next();
  EXPECT_TRUE(outbox.PushEvent(big));
}

}  // namespace
}  // namespace postern::fleet
