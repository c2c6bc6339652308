#include "controlplane/fleet/hub.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/errors.h"
#include "controlplane/store/fleet_store.h"
#include "tests/unit/controlplane/fleet/fleet_fakes.h"
#include "tests/unit/controlplane/store/temp_store.h"

namespace postern::fleet {
namespace {

// A stream that keeps what it is woken for.
struct FakeStream {
  absl::Mutex mu;
  bool closed ABSL_GUARDED_BY(mu) = false;
  absl::Status why ABSL_GUARDED_BY(mu);
  int wakes ABSL_GUARDED_BY(mu) = 0;
};

class HubTest : public ::testing::Test {
 protected:
  HubTest() : store_(store::NewSqlFleetStore(&*database_)) {
    sources_.AddTarget("demo");
    sources_.AddTarget("other");
    Reset({.lease = absl::Seconds(60),
           .lease_interval = absl::Milliseconds(20),
           .retry_interval = absl::Milliseconds(10),
           .outbox = {}});
  }

  void Reset(const HubOptions& options) { hub_ = std::make_unique<Hub>(options, sources_, *store_, clock_); }

  // Lives as long as the hub, which closes it at its end.
  FakeStream& NewStream() { return *streams_.emplace_back(std::make_unique<FakeStream>()); }

  void AddSidecar(const std::string& id) {
    const std::string secret_hash(32, static_cast<char>('a' + added_++));
    ASSERT_TRUE(store_
                    ->AddInvite({.secret_hash = secret_hash,
                                 .name = id,
                                 .targets = {"demo"},
                                 .caller = "ada",
                                 .request_id = "",
                                 .create_time = clock_.Now(),
                                 .expire_time = clock_.Now() + absl::Minutes(1)})
                    .ok());
    v1::Sidecar sidecar;
    sidecar.set_id(id);
    sidecar.set_generation(1);
    ASSERT_TRUE(store_
                    ->Join(secret_hash, clock_.Now(), sidecar,
                           {.fingerprint = secret_hash,
                            .sidecar_id = id,
                            .generation = 1,
                            .expire_time = clock_.Now() + absl::Hours(12)})
                    .ok());
  }

  std::shared_ptr<Subscriber> MakeSubscriber(const std::string& id, FakeStream& stream,
                                             const std::vector<v1::Session>& live = {}) {
    v1::SyncRequest::Hello hello;
    hello.set_advertise_host("edge.example");
    hello.set_advertise_port(6432);
    for (const v1::Session& session : live) *hello.add_live_sessions() = session;
    return std::make_shared<Subscriber>(id, std::vector<std::string>{"demo"}, clock_.Now() + absl::Hours(12), hello,
                                        hub_->options().outbox,
                                        Subscriber::Stream{.wake =
                                                               [&stream] {
                                                                 absl::MutexLock lock(&stream.mu);
                                                                 ++stream.wakes;
                                                               },
                                                           .close =
                                                               [&stream](absl::Status why) {
                                                                 absl::MutexLock lock(&stream.mu);
                                                                 if (stream.closed) return;
                                                                 stream.closed = true;
                                                                 stream.why = why;
                                                               }});
  }

  // The next message of the kind; whatever else comes first is passed over.
  static v1::SyncResponse Await(FakeStream& stream, Subscriber& subscriber, v1::SyncResponse::ItemCase kind) {
    absl::MutexLock lock(&stream.mu);
    while (true) {
      const int wakes = stream.wakes;
      stream.mu.Unlock();
      while (std::optional<v1::SyncResponse> next = subscriber.Next()) {
        if (next->item_case() == kind) {
          stream.mu.Lock();
          return *next;
        }
      }
      stream.mu.Lock();
      auto woken = [&stream, wakes]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return stream.wakes != wakes; };
      if (!stream.mu.AwaitWithTimeout(absl::Condition(&woken), absl::Seconds(10))) {
        ADD_FAILURE() << "no message of kind " << kind;
        return {};
      }
    }
  }

  static std::string AwaitClose(FakeStream& stream) {
    absl::MutexLock lock(&stream.mu);
    if (!stream.mu.AwaitWithTimeout(absl::Condition(&stream.closed), absl::Seconds(10))) return "still open";
    return ReasonOf(stream.why);
  }

  FakeClock clock_;
  store::TempStore database_;
  FakeSources sources_;
  std::unique_ptr<FleetStore> store_;
  std::vector<std::unique_ptr<FakeStream>> streams_;
  std::unique_ptr<Hub> hub_;
  int added_ = 0;
};

TEST_F(HubTest, SnapshotHoldsWhatTheSidecarNeedsAndNoMore) {
  AddSidecar("sdc_1");
  {
    absl::MutexLock lock(&sources_.mu);
    sources_.policy.set_revision(3);
    sources_.revocations.emplace_back().set_grant_id("grt_9");
    sources_.keys.emplace_back().set_key_id("k1");
  }
  FakeStream& stream = NewStream();
  auto subscriber = MakeSubscriber("sdc_1", stream);
  ASSERT_TRUE(hub_->Attach(subscriber).ok());
  std::optional<v1::SyncResponse> first = subscriber->Next();
  ASSERT_TRUE(first.has_value() && first->has_snapshot());
  const v1::SyncResponse::Snapshot& snapshot = first->snapshot();
  EXPECT_EQ(snapshot.origin(), "cp.example");
  EXPECT_EQ(snapshot.policy().revision(), 3);
  EXPECT_EQ(snapshot.token_keys(0).key_id(), "k1");
  EXPECT_EQ(snapshot.revocations(0).grant_id(), "grt_9");
  EXPECT_EQ(snapshot.lease().lease_seconds(), 60);
  ASSERT_EQ(snapshot.targets_size(), 1);
  EXPECT_EQ(snapshot.targets(0).name(), "demo");
  EXPECT_EQ(snapshot.mask_keys().count("other"), 0u);
}

TEST_F(HubTest, ChangesReachConnectedSidecars) {
  AddSidecar("sdc_1");
  FakeStream& stream = NewStream();
  auto subscriber = MakeSubscriber("sdc_1", stream);
  ASSERT_TRUE(hub_->Attach(subscriber).ok());
  {
    absl::MutexLock lock(&sources_.mu);
    sources_.policy.set_revision(4);
    sources_.keys.emplace_back().set_key_id("k2");
  }
  hub_->PushPolicy();
  EXPECT_EQ(Await(stream, *subscriber, v1::SyncResponse::kPolicy).policy().revision(), 4);
  hub_->PushTokenKeys();
  EXPECT_EQ(Await(stream, *subscriber, v1::SyncResponse::kTokenKeys).token_keys().keys(0).key_id(), "k2");
  hub_->PushTargets();
  EXPECT_EQ(Await(stream, *subscriber, v1::SyncResponse::kTargets).targets().targets_size(), 1);
  v1::Revocation revocation;
  revocation.set_grant_id("grt_1");
  hub_->PushRevocation(revocation);
  EXPECT_EQ(Await(stream, *subscriber, v1::SyncResponse::kRevocation).revocation().grant_id(), "grt_1");
  hub_->PushKill("ses_1", "enough");
  EXPECT_EQ(Await(stream, *subscriber, v1::SyncResponse::kKillSession).kill_session().reason(), "enough");
}

TEST_F(HubTest, SourceThatFailsIsReadAgain) {
  AddSidecar("sdc_1");
  FakeStream& stream = NewStream();
  auto subscriber = MakeSubscriber("sdc_1", stream);
  ASSERT_TRUE(hub_->Attach(subscriber).ok());
  {
    absl::MutexLock lock(&sources_.mu);
    sources_.fail = absl::UnavailableError("busy");
    sources_.policy.set_revision(5);
  }
  hub_->PushPolicy();
  Await(stream, *subscriber, v1::SyncResponse::kLease);  // leases go on meanwhile
  {
    absl::MutexLock lock(&sources_.mu);
    sources_.fail = absl::OkStatus();
  }
  EXPECT_EQ(Await(stream, *subscriber, v1::SyncResponse::kPolicy).policy().revision(), 5);
}

TEST_F(HubTest, SnapshotThatCannotBeReadAttachesNothing) {
  AddSidecar("sdc_1");
  {
    absl::MutexLock lock(&sources_.mu);
    sources_.fail = absl::UnavailableError("busy");
  }
  FakeStream& stream = NewStream();
  EXPECT_EQ(hub_->Attach(MakeSubscriber("sdc_1", stream)).code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(hub_->IsConnected("sdc_1"));
}

TEST_F(HubTest, LeasesComeByThemselvesWithTheLatestCheckpoint) {
  AddSidecar("sdc_1");
  FakeStream& stream = NewStream();
  auto subscriber = MakeSubscriber("sdc_1", stream);
  ASSERT_TRUE(hub_->Attach(subscriber).ok());
  {
    absl::MutexLock lock(&sources_.mu);
    sources_.checkpoint.emplace().set_tree_size(12);
  }
  while (true) {
    v1::SyncResponse message = Await(stream, *subscriber, v1::SyncResponse::kLease);
    ASSERT_TRUE(message.has_lease());
    if (message.lease().checkpoint().tree_size() == 12) break;
  }
}

TEST_F(HubTest, SidecarThatDoesNotReadLosesItsStreamNotItsRevocations) {
  Reset({.lease = absl::Seconds(60),
         .lease_interval = absl::Seconds(3),
         .retry_interval = absl::Seconds(1),
         .outbox = {.events = 3, .bytes = 1 << 20}});
  AddSidecar("sdc_1");
  FakeStream& slow = NewStream();
  ASSERT_TRUE(hub_->Attach(MakeSubscriber("sdc_1", slow)).ok());
  for (int i = 0; i < 4; ++i) {
    v1::Revocation revocation;
    revocation.set_grant_id("grt_" + std::to_string(i));
    absl::MutexLock lock(&sources_.mu);
    sources_.revocations.push_back(revocation);
    hub_->PushRevocation(revocation);
  }
  EXPECT_EQ(AwaitClose(slow), "SIDECAR_TOO_SLOW");
  FakeStream& fresh = NewStream();
  auto again = MakeSubscriber("sdc_1", fresh);
  ASSERT_TRUE(hub_->Attach(again).ok());
  EXPECT_EQ(again->Next()->snapshot().revocations_size(), 4);
}

TEST_F(HubTest, NewerStreamTakesOverAndOutlivesTheOlderOnesEnd) {
  AddSidecar("sdc_1");
  FakeStream &old_stream = NewStream(), &new_stream = NewStream();
  auto before = MakeSubscriber("sdc_1", old_stream), after = MakeSubscriber("sdc_1", new_stream);
  ASSERT_TRUE(hub_->Attach(before).ok());
  ASSERT_TRUE(hub_->Attach(after).ok());
  EXPECT_EQ(AwaitClose(old_stream), "SIDECAR_REPLACED");
  hub_->Detach(*before);
  EXPECT_TRUE(hub_->IsConnected("sdc_1"));
  hub_->Detach(*after);
  EXPECT_FALSE(hub_->IsConnected("sdc_1"));
}

TEST_F(HubTest, RevokedSidecarIsNeitherAttachedNorKept) {
  AddSidecar("sdc_1");
  FakeStream& stream = NewStream();
  ASSERT_TRUE(hub_->Attach(MakeSubscriber("sdc_1", stream)).ok());
  // By another replica: nobody here is told.
  ASSERT_TRUE(store_->Revoke("sdc_1", "stolen", clock_.Now()).ok());
  EXPECT_EQ(AwaitClose(stream), "SIDECAR_REVOKED");
  FakeStream& again = NewStream();
  EXPECT_EQ(ReasonOf(hub_->Attach(MakeSubscriber("sdc_1", again))), "SIDECAR_REVOKED");
  EXPECT_FALSE(hub_->IsConnected("sdc_1"));
}

TEST_F(HubTest, StreamEndsWithItsCertificate) {
  AddSidecar("sdc_1");
  FakeStream& stream = NewStream();
  ASSERT_TRUE(hub_->Attach(MakeSubscriber("sdc_1", stream)).ok());
  clock_.Advance(absl::Hours(12));
  EXPECT_EQ(AwaitClose(stream), "CERTIFICATE_EXPIRED");
}

TEST_F(HubTest, KillIsToldAgainUntilTheSessionIsOver) {
  AddSidecar("sdc_1");
  hub_->PushKill("ses_1", "enough");  // while the sidecar is away
  v1::Session session;
  session.set_id("ses_1");
  FakeStream& stream = NewStream();
  auto subscriber = MakeSubscriber("sdc_1", stream, {session});
  ASSERT_TRUE(hub_->Attach(subscriber).ok());
  EXPECT_EQ(Await(stream, *subscriber, v1::SyncResponse::kKillSession).kill_session().session_id(), "ses_1");
  hub_->SessionEnded("ses_1");
  FakeStream& again = NewStream();
  auto after = MakeSubscriber("sdc_1", again, {session});
  ASSERT_TRUE(hub_->Attach(after).ok());
  EXPECT_TRUE(after->Next()->has_snapshot());
  std::optional<v1::SyncResponse> next = after->Next();
  EXPECT_TRUE(!next.has_value() || !next->has_kill_session());
}

TEST_F(HubTest, ApprovalGoesToWhoeverMayWaitForItWithoutItsStatement) {
  AddSidecar("sdc_1");
  FakeStream& stream = NewStream();
  auto subscriber = MakeSubscriber("sdc_1", stream);
  ASSERT_TRUE(hub_->Attach(subscriber).ok());
  v1::Approval approval;
  approval.set_id("apr_1");
  approval.set_state(v1::APPROVAL_APPROVED);
  approval.set_target("demo");
  approval.set_sidecar_id("sdc_of_another_waiter");
  approval.mutable_binding()->set_sql("drop table app.orders");
  hub_->PushApproval(approval);
  const v1::SyncResponse message = Await(stream, *subscriber, v1::SyncResponse::kApproval);
  EXPECT_EQ(message.approval().id(), "apr_1");
  EXPECT_FALSE(message.approval().has_binding());
}

TEST_F(HubTest, EndpointsAreThoseOfConnectedSidecarsOfTheTarget) {
  AddSidecar("sdc_1");
  EXPECT_TRUE(hub_->EndpointsFor("demo").empty());
  FakeStream& stream = NewStream();
  ASSERT_TRUE(hub_->Attach(MakeSubscriber("sdc_1", stream)).ok());
  ASSERT_EQ(hub_->EndpointsFor("demo").size(), 1u);
  EXPECT_EQ(hub_->EndpointsFor("demo")[0].port, 6432);
  EXPECT_TRUE(hub_->EndpointsFor("other").empty());
}

TEST_F(HubTest, StopEndsEveryStream) {
  AddSidecar("sdc_1");
  FakeStream& stream = NewStream();
  ASSERT_TRUE(hub_->Attach(MakeSubscriber("sdc_1", stream)).ok());
  hub_->Stop();
  EXPECT_EQ(AwaitClose(stream), "CONTROL_PLANE_STOPPING");
  FakeStream& late = NewStream();
  EXPECT_EQ(ReasonOf(hub_->Attach(MakeSubscriber("sdc_1", late))), "CONTROL_PLANE_STOPPING");
}

}  // namespace
}  // namespace postern::fleet
