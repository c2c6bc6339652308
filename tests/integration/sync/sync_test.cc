// README.md says what this proves.
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/synchronization/notification.h"
#include "sidecar/uplink/channel.h"
#include "sidecar/uplink/identity_file.h"
#include "tests/integration/sync/harness.h"

namespace postern {
namespace {

constexpr absl::Duration kPushBound = absl::Milliseconds(250);

class SyncTest : public ::testing::Test {
 protected:
  SyncTest() { cp_.Start(); }
  ~SyncTest() override { StopSidecar(); }

  absl::Status Join() { return sidecar::Join(cp_.Invite(), data_dir()); }

  void StartSidecar() {
    absl::StatusOr<sidecar::SidecarIdentity> identity = sidecar::LoadIdentity(data_dir());
    ASSERT_TRUE(identity.ok()) << identity.status();
    spool::Options spool_options;
    spool_options.directory = dir_.path() + "/spool";
    spool_options.writer = identity->sidecar_id;
    spool_options.sync_interval = absl::Milliseconds(10);
    auto spool = spool::Spool::Open(spool_options, spool::FileSystem::System(), Clock::System(), Random::System());
    ASSERT_TRUE(spool.ok()) << spool.status();
    spool_ = *std::move(spool);
    sidecar::UplinkOptions options;
    options.data_dir = data_dir();
    options.version = "test";
    options.advertise_host = "edge.example";
    options.advertise_port = 6432;
    auto uplink = sidecar::UplinkClient::Create(options, *spool_, cp_.clock, Random::System());
    ASSERT_TRUE(uplink.ok()) << uplink.status();
    uplink_ = *std::move(uplink);
    uplink_->SetListener(&events_);
    uplink_->Start();
  }

  void StopSidecar() {
    if (uplink_ != nullptr) uplink_->Stop();
    uplink_.reset();
    spool_.reset();
  }

  void JoinAndStart() {
    absl::Status joined = Join();
    ASSERT_TRUE(joined.ok()) << joined;
    StartSidecar();
    ASSERT_TRUE(events_.Await("state"));
    ASSERT_TRUE(uplink_->connected());
  }

  void AppendRecords(int n) {
    for (int i = 0; i < n; ++i) {
      v1::AuditRecord record;
      record.set_kind(v1::STATEMENT_OUTCOME);
      record.set_rows(i);
      ASSERT_TRUE(spool_->Append(record, spool::Durability::kRelaxed).ok());
    }
    ASSERT_TRUE(spool_->Sync().ok());
  }

  size_t Logged() {
    absl::MutexLock lock(&cp_.backend.mu);
    return cp_.backend.logged.size();
  }

  v1::RequestStatementApprovalRequest ApprovalRequest() {
    v1::RequestStatementApprovalRequest request;
    request.mutable_binding()->set_target("demo");
    request.mutable_binding()->set_sql("drop table app.orders");
    request.set_request_id(NewUuid(Random::System()));
    request.set_session_id("ses_00000000000000000000000001");
    return request;
  }

  // Asks and waits for the answer.
  v1::Approval Ask() {
    v1::Approval approval;
    absl::Notification answered;
    uplink_->RequestApproval(ApprovalRequest(), [&](absl::StatusOr<v1::Approval> answer) {
      EXPECT_TRUE(answer.ok()) << answer.status();
      if (answer.ok()) approval = *answer;
      answered.Notify();
    });
    answered.WaitForNotification();
    return approval;
  }

  v1::Approval Decide(const std::string& id, v1::ApprovalState state) {
    absl::MutexLock lock(&cp_.backend.mu);
    v1::Approval& approval = cp_.backend.approvals[id];
    approval.set_state(state);
    approval.set_etag("2");
    return approval;
  }

  std::string data_dir() const { return dir_.path() + "/data"; }

  ControlPlane cp_;
  sidecar::TempDir dir_;
  Events events_;
  std::unique_ptr<spool::Spool> spool_;
  std::unique_ptr<sidecar::UplinkClient> uplink_;
};

// --- 1. Joining ---

TEST_F(SyncTest, JoinLineWorksOnceAndTheKeyStaysPrivate) {
  const std::string line = cp_.Invite();
  absl::Status joined = sidecar::Join(line, data_dir());
  ASSERT_TRUE(joined.ok()) << joined;
  EXPECT_EQ(std::filesystem::status(data_dir() + "/identity.json").permissions() & std::filesystem::perms::mask,
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  EXPECT_EQ(ReasonOf(sidecar::Join(cp_.Invite(), data_dir())), "ALREADY_JOINED");
  EXPECT_EQ(ReasonOf(sidecar::Join(line, dir_.path() + "/second")), "JOIN_REFUSED");
}

TEST_F(SyncTest, AnotherPinIsRefusedBeforeTheSecretIsSent) {
  std::string line = cp_.Invite();
  const size_t pin = line.find("sha256:") + 7;
  std::string forged = line;
  forged[pin] = forged[pin] == 'A' ? 'B' : 'A';
  EXPECT_EQ(ReasonOf(sidecar::Join(forged, data_dir())), "CA_PIN_MISMATCH");
  EXPECT_TRUE(sidecar::Join(line, data_dir()).ok());
}

TEST_F(SyncTest, JoinWithoutAControlPlaneSaysSo) {
  const std::string line = cp_.Invite();
  cp_.Stop();
  EXPECT_EQ(ReasonOf(sidecar::Join(line, data_dir())), "CONTROL_PLANE_UNREACHABLE");
}

// --- 2. Snapshot and changes ---

TEST_F(SyncTest, SnapshotBecomesTheStateAndTheControlPlaneKnowsItsSidecar) {
  JoinAndStart();
  auto state = uplink_->state();
  ASSERT_NE(state, nullptr);
  EXPECT_EQ(state->origin, "cp.example");
  EXPECT_EQ(state->policy_revision, 1);
  EXPECT_EQ(state->targets.count("demo"), 1u);
  EXPECT_EQ(state->mask_keys.at("demo"), "mask key of demo");
  EXPECT_GT(uplink_->lease_ends("demo"), Clock::System().Monotonic() + absl::Seconds(50));
  ASSERT_EQ(cp_.hub().EndpointsFor("demo").size(), 1u);
  EXPECT_EQ(cp_.hub().EndpointsFor("demo")[0].host, "edge.example");
  EXPECT_EQ(cp_.store().Get(uplink_->sidecar_id())->version(), "test");
}

TEST_F(SyncTest, EveryChangeArrivesWithinTheBound) {
  JoinAndStart();
  auto measure = [&](const char* what, const std::function<void()>& push, const std::function<bool()>& seen) {
    const absl::Time start = absl::Now();
    push();
    ASSERT_TRUE(events_.AwaitTrue(seen)) << what;
    const absl::Duration took = absl::Now() - start;
    EXPECT_LT(took, kPushBound) << what;
    RecordProperty(std::string(what) + "_us", static_cast<int>(absl::ToInt64Microseconds(took)));
  };
  measure(
      "policy",
      [&] {
        {
          absl::MutexLock lock(&cp_.sources.mu);
          cp_.sources.policy.set_revision(2);
        }
        cp_.hub().PushPolicy();
      },
      [&] { return uplink_->state()->policy_revision == 2; });
  measure(
      "revocation",
      [&] {
        v1::Revocation revocation;
        revocation.set_grant_id("grt_1");
        cp_.hub().PushRevocation(revocation);
      },
      [&] { return uplink_->state()->revoked.count("grt_1") == 1; });
  EXPECT_TRUE(events_.Await("revoked grt_1"));
  measure(
      "targets",
      [&] {
        {
          absl::MutexLock lock(&cp_.sources.mu);
          cp_.sources.targets.targets[0].set_env("prod");
        }
        cp_.hub().PushTargets();
      },
      [&] { return uplink_->state()->targets.at("demo").env() == "prod"; });
  cp_.hub().PushKill("ses_1", "enough");
  EXPECT_TRUE(events_.Await("kill ses_1"));
}

TEST_F(SyncTest, AppliedRevisionIsReported) {
  JoinAndStart();
  const std::string id = uplink_->sidecar_id();
  // The hub writes it down with its next round of leases.
  ASSERT_TRUE(events_.AwaitTrue([&] {
    auto sidecar = cp_.store().Get(id);
    return sidecar.ok() && sidecar->has_last_seen_time();
  }));
}

// --- 3, 4. Away and back ---

TEST_F(SyncTest, ComesBackAfterARestartAndLearnsWhatItMissed) {
  JoinAndStart();
  cp_.Stop();
  ASSERT_TRUE(events_.AwaitTrue([&] { return !uplink_->connected(); }));
  EXPECT_GT(uplink_->lease_ends("demo"), Clock::System().Monotonic());
  absl::Notification answered;
  uplink_->ReleaseCredential({}, [&](absl::StatusOr<v1::ReleaseCredentialResponse> answer) {
    EXPECT_EQ(ReasonOf(answer.status()), "CONTROL_PLANE_UNREACHABLE");
    answered.Notify();
  });
  answered.WaitForNotification();
  {
    absl::MutexLock lock(&cp_.sources.mu);
    cp_.sources.policy.set_revision(7);
    cp_.sources.revocations.emplace_back().set_grant_id("grt_away");
  }
  events_.Clear();
  cp_.Start();
  EXPECT_TRUE(events_.Await("revoked grt_away"));
  EXPECT_TRUE(events_.Await("state"));
  EXPECT_EQ(uplink_->state()->policy_revision, 7);
  EXPECT_TRUE(uplink_->connected());
}

// --- 5. Those that stay out ---

TEST_F(SyncTest, RevokedSidecarIsCutAndStaysOut) {
  JoinAndStart();
  const absl::Time start = absl::Now();
  cp_.RevokeSidecar(uplink_->sidecar_id());
  ASSERT_TRUE(events_.AwaitTrue([&] { return !uplink_->connected(); }));
  EXPECT_LT(absl::Now() - start, absl::Seconds(1));
  EXPECT_FALSE(cp_.hub().IsConnected(uplink_->sidecar_id()));
  absl::Notification answered;
  uplink_->ReleaseCredential({}, [&](absl::StatusOr<v1::ReleaseCredentialResponse> answer) {
    EXPECT_EQ(ReasonOf(answer.status()), "SIDECAR_REVOKED");
    answered.Notify();
  });
  answered.WaitForNotification();
}

TEST_F(SyncTest, CertificateThatIsNotOnRecordIsRefused) {
  ASSERT_TRUE(Join().ok());
  auto identity = *sidecar::LoadIdentity(data_dir());
  auto key = *crypto::EcPrivateKey::Generate();
  auto forged = *cp_.ca().IssueClient(key.public_key(), "forged", crypto::SidecarUri("cp.example", identity.sidecar_id),
                                      absl::Hours(1), cp_.clock, Random::System());
  identity.key_pem = key.ToPem();
  identity.certificate_chain_pem = forged.pem;
  auto stub = v1::SidecarService::NewStub(sidecar::OpenChannel(identity));
  grpc::ClientContext context;
  v1::ReleaseCredentialResponse response;
  EXPECT_EQ(ReasonOf(sidecar::FromGrpc(stub->ReleaseCredential(&context, {}, &response))), "CERTIFICATE_UNKNOWN");
  grpc::ClientContext sync_context;
  auto stream = stub->Sync(&sync_context);
  v1::SyncRequest hello;
  hello.mutable_hello()->set_version("forged");
  stream->Write(hello);
  v1::SyncResponse answer;
  EXPECT_FALSE(stream->Read(&answer));
  EXPECT_EQ(ReasonOf(sidecar::FromGrpc(stream->Finish())), "CERTIFICATE_UNKNOWN");
}

TEST_F(SyncTest, ClientWithoutACertificateIsNoSidecar) {
  auto stub = v1::SidecarService::NewStub(
      sidecar::OpenAnonymousChannel("localhost:" + std::to_string(cp_.port()), cp_.ca().certificate_pem()));
  grpc::ClientContext context;
  v1::ReleaseCredentialResponse response;
  EXPECT_EQ(stub->ReleaseCredential(&context, {}, &response).error_code(), grpc::StatusCode::PERMISSION_DENIED);
}

// --- 6. Audit ---

TEST_F(SyncTest, RecordsArriveOnceThoughAnAcknowledgementIsLost) {
  ASSERT_TRUE(Join().ok());
  {
    absl::MutexLock lock(&cp_.backend.mu);
    cp_.backend.lose_answer = absl::UnavailableError("committed, but nobody hears of it");
  }
  StartSidecar();
  AppendRecords(100);
  ASSERT_TRUE(events_.AwaitTrue([&] { return spool_->stats().acknowledged >= 100; }));
  EXPECT_EQ(Logged(), 100u);
  absl::MutexLock lock(&cp_.backend.mu);
  EXPECT_GT(cp_.backend.uploads, 100);  // it really came twice
}

TEST_F(SyncTest, RecordsWrittenWhileAwayArriveAfterwards) {
  JoinAndStart();
  AppendRecords(10);
  ASSERT_TRUE(events_.AwaitTrue([&] { return Logged() == 10; }));
  cp_.Stop();
  AppendRecords(10);
  cp_.Start();
  ASSERT_TRUE(events_.AwaitTrue([&] { return spool_->stats().acknowledged >= 20; }));
  EXPECT_EQ(Logged(), 20u);
}

TEST_F(SyncTest, RestartedSidecarGoesOnWhereItStopped) {
  JoinAndStart();
  AppendRecords(10);
  ASSERT_TRUE(events_.AwaitTrue([&] { return spool_->stats().acknowledged >= 10; }));
  StopSidecar();
  StartSidecar();
  AppendRecords(5);
  ASSERT_TRUE(events_.AwaitTrue([&] { return Logged() == 15; }));
  absl::MutexLock lock(&cp_.backend.mu);
  EXPECT_EQ(cp_.backend.uploads, 15);  // nothing that was acknowledged is sent again
}

TEST_F(SyncTest, CheckpointThatWentBackIsAlarmed) {
  JoinAndStart();
  auto show = [&](int64_t size) {
    absl::MutexLock lock(&cp_.sources.mu);
    cp_.sources.checkpoint.emplace().set_tree_size(size);
    cp_.sources.checkpoint->set_root_hash("root");
  };
  show(10);
  ASSERT_TRUE(events_.AwaitTrue([&] { return std::filesystem::file_size(data_dir() + "/checkpoint.pb") > 0; }));
  show(9);
  ASSERT_TRUE(events_.AwaitTrue([&] {
    absl::MutexLock lock(&cp_.backend.mu);
    for (const auto& [position, chained] : cp_.backend.logged) {
      v1::AuditRecord record;
      if (record.ParseFromString(chained.record()) && record.reason_code() == "CHECKPOINT_ROLLED_BACK") return true;
    }
    return false;
  }));
}

// --- 7. What sessions ask and tell ---

TEST_F(SyncTest, DecisionReachesTheWaitingSessionAndIsClaimedOnce) {
  JoinAndStart();
  const v1::Approval approval = Ask();
  EXPECT_EQ(approval.state(), v1::APPROVAL_PENDING);
  const v1::Approval decided = Decide(approval.id(), v1::APPROVAL_APPROVED);
  const absl::Time start = absl::Now();
  cp_.hub().PushApproval(decided);
  ASSERT_TRUE(events_.Await("approval " + approval.id() + " APPROVAL_APPROVED"));
  EXPECT_LT(absl::Now() - start, kPushBound);
  for (const char* expected : {"OK", "APPROVAL_NOT_USABLE"}) {
    v1::ClaimApprovalRequest claim;
    claim.set_id(approval.id());
    absl::Notification answered;
    uplink_->ClaimApproval(claim, [&](absl::StatusOr<v1::Approval> answer) {
      EXPECT_EQ(answer.ok() ? "OK" : ReasonOf(answer.status()), expected);
      answered.Notify();
    });
    answered.WaitForNotification();
  }
}

TEST_F(SyncTest, DecisionThatNobodyCouldTellIsLearntAfterTheReconnect) {
  JoinAndStart();
  const v1::Approval approval = Ask();
  cp_.Stop();
  Decide(approval.id(), v1::APPROVAL_DENIED);
  cp_.Start();
  EXPECT_TRUE(events_.Await("approval " + approval.id() + " APPROVAL_DENIED"));
}

TEST_F(SyncTest, WithdrawalIsRepeatedUntilItIsHeard) {
  JoinAndStart();
  const v1::Approval approval = Ask();
  cp_.Stop();
  v1::WithdrawApprovalRequest withdraw;
  withdraw.set_id(approval.id());
  uplink_->WithdrawApproval(withdraw);
  cp_.Start();
  EXPECT_TRUE(events_.AwaitTrue([&] {
    absl::MutexLock lock(&cp_.backend.mu);
    return cp_.backend.approvals[approval.id()].state() == v1::APPROVAL_CANCELLED;
  }));
}

TEST_F(SyncTest, EndOfASessionIsReportedUntilItIsKnown) {
  JoinAndStart();
  v1::Session session;
  session.set_id("ses_1");
  session.set_state(v1::SESSION_LIVE);
  uplink_->ReportSession(session);
  auto stored = [&] {
    absl::MutexLock lock(&cp_.backend.mu);
    return cp_.backend.sessions["ses_1"];
  };
  ASSERT_TRUE(events_.AwaitTrue([&] { return stored().state() == v1::SESSION_LIVE; }));
  EXPECT_EQ(stored().sidecar_id(), uplink_->sidecar_id());
  cp_.Stop();
  session.set_state(v1::SESSION_ENDED);
  session.set_end_reason("client");
  uplink_->ReportSession(session);
  cp_.Start();
  ASSERT_TRUE(events_.AwaitTrue([&] { return stored().state() == v1::SESSION_ENDED; }));
  EXPECT_EQ(stored().end_reason(), "client");  // not "lost", though it was gone when the sidecar came back
}

TEST_F(SyncTest, CredentialIsReleasedForAnActiveGrant) {
  JoinAndStart();
  {
    absl::MutexLock lock(&cp_.backend.mu);
    v1::Grant& grant = cp_.backend.grants["grt_1"];
    grant.set_id("grt_1");
    grant.set_state(v1::GRANT_ACTIVE);
    grant.mutable_intent()->set_target("demo");
    grant.mutable_intent()->set_database("orders");
    *grant.mutable_expire_time() = ToTimestamp(cp_.clock.Now() + absl::Minutes(5));
  }
  v1::ReleaseCredentialRequest request;
  request.set_grant_id("grt_1");
  request.set_session_id("ses_00000000000000000000000001");
  request.set_target("demo");
  request.set_database("orders");
  absl::Notification answered;
  uplink_->ReleaseCredential(request, [&](absl::StatusOr<v1::ReleaseCredentialResponse> answer) {
    EXPECT_TRUE(answer.ok() && answer->user() == "app" && !answer->password().empty());
    answered.Notify();
  });
  answered.WaitForNotification();
}

TEST_F(SyncTest, CatalogIsPublishedForServedTargetsOnly) {
  JoinAndStart();
  v1::CatalogSnapshot catalog;
  catalog.set_target("demo");
  catalog.set_database("orders");
  *catalog.mutable_read_time() = ToTimestamp(cp_.clock.Now());
  catalog.mutable_contents()->set_server_version(150000);
  uplink_->PublishCatalog(catalog);
  ASSERT_TRUE(events_.AwaitTrue([&] { return cp_.catalogs().Find("demo", "orders") != nullptr; }));
  EXPECT_EQ(cp_.catalogs().Find("demo", "orders")->server_version(), 150000);
  EXPECT_EQ(cp_.catalogs().Find("demo", "billing"), nullptr);
}

// --- 8. Renewal ---

TEST_F(SyncTest, CertificateIsRenewedAtHalfLifeWhileServing) {
  cp_.clock.Shift(-absl::Hours(7));
  ASSERT_TRUE(Join().ok());
  EXPECT_EQ(sidecar::LoadIdentity(data_dir())->generation, 1);
  cp_.clock.Shift(absl::Hours(7));
  StartSidecar();  // finds that its certificate is past the half
  ASSERT_TRUE(events_.AwaitTrue([&] { return sidecar::LoadIdentity(data_dir())->generation == 2; }));
  const std::string id = uplink_->sidecar_id();
  // The new certificate is the one in use.
  ASSERT_TRUE(events_.AwaitTrue([&] {
    auto newest = cp_.store().NewestCertificate(id);
    return newest.ok() && newest->generation == 2 && newest->first_use_time != absl::InfinitePast();
  }));
  ASSERT_TRUE(events_.AwaitTrue([&] { return uplink_->connected() && cp_.hub().IsConnected(id); }));
}

}  // namespace
}  // namespace postern
