#include "controlplane/fleet/enrolment.h"

#include <memory>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/timestamps.h"
#include "common/crypto/ec_key.h"
#include "common/net/join_line.h"
#include "controlplane/store/fleet_store.h"
#include "tests/unit/controlplane/fleet/fleet_fakes.h"
#include "tests/unit/controlplane/store/temp_store.h"

namespace postern::fleet {
namespace {

using ::testing::ElementsAre;

class EnrolmentTest : public ::testing::Test {
 protected:
  EnrolmentTest()
      : ca_(*crypto::CertificateAuthority::CreateRoot("postern test", clock_, Random::System())),
        store_(store::NewSqlFleetStore(&*database_)),
        hub_({}, sources_, *store_, clock_),
        deps_{*store_, hub_, audit_, ca_, clock_, Random::System(), "cp.example", "127.0.0.1:7443"} {
    admin_.principal.set_id("ada");
    admin_.principal.set_kind(v1::PERSON);
  }

  std::string Csr() { return *crypto::MakeCsr(key_, "whatever"); }

  // The secret of a new invitation.
  std::string Invite(const std::string& request_id = "") {
    v1::InviteSidecarRequest request;
    request.set_name("edge-1");
    request.add_targets("demo");
    request.set_request_id(request_id);
    v1::InviteSidecarResponse response;
    absl::Status status = InviteSidecar(deps_, admin_, request, &response);
    EXPECT_TRUE(status.ok()) << status;
    return net::ParseJoinLine(response.join_line())->secret;
  }

  absl::Status TryJoin(const std::string& secret, v1::JoinSidecarResponse* response, const std::string& csr) {
    v1::JoinSidecarRequest request;
    request.set_secret(secret);
    request.set_csr_der(csr);
    return JoinSidecar(deps_, "ipv4:127.0.0.1:5", request, response);
  }

  v1::JoinSidecarResponse Join() {
    v1::JoinSidecarResponse response;
    absl::Status status = TryJoin(Invite(), &response, Csr());
    EXPECT_TRUE(status.ok()) << status;
    return response;
  }

  absl::StatusOr<SidecarCaller> Admit(const v1::JoinSidecarResponse& joined) {
    return AdmitSidecar(*store_, joined.sidecar_id(), joined.certificate_chain_pem(), clock_.Now());
  }

  absl::StatusOr<v1::JoinSidecarResponse> Renew(const v1::JoinSidecarResponse& joined) {
    absl::StatusOr<SidecarCaller> caller = Admit(joined);
    if (!caller.ok()) return caller.status();
    v1::RenewCertificateRequest request;
    request.set_csr_der(Csr());
    request.set_generation(joined.generation());
    v1::JoinSidecarResponse response;
    absl::Status status = RenewCertificate(deps_, *caller, request, &response);
    if (!status.ok()) return status;
    return response;
  }

  // As a stream does that is opened with this certificate.
  void Use(const v1::JoinSidecarResponse& joined) {
    ASSERT_TRUE(
        store_->MarkCertificateUsed(*CertificateFingerprint(joined.certificate_chain_pem()), clock_.Now()).ok());
  }

  FakeClock clock_;
  store::TempStore database_;
  FakeSources sources_;
  FakeAudit audit_;
  crypto::CertificateAuthority ca_;
  crypto::EcPrivateKey key_ = *crypto::EcPrivateKey::Generate();
  std::unique_ptr<FleetStore> store_;
  Hub hub_;
  EnrolmentDeps deps_;
  identity::Caller admin_;
};

TEST_F(EnrolmentTest, InvitedSidecarJoinsWithACertificateOfItsOwn) {
  v1::JoinSidecarResponse joined = Join();
  EXPECT_TRUE(IsId(joined.sidecar_id(), kSidecarPrefix));
  EXPECT_EQ(joined.generation(), 1);
  EXPECT_EQ(FromTimestamp(joined.expire_time()), clock_.Now() + kSidecarCertificateLifetime);
  absl::StatusOr<crypto::CertificateInfo> info = crypto::ReadCertificate(joined.certificate_chain_pem());
  ASSERT_TRUE(info.ok());
  EXPECT_THAT(info->uris, ElementsAre("postern://cp.example/sidecar/" + joined.sidecar_id()));
  EXPECT_TRUE(crypto::VerifyCertificate(joined.certificate_chain_pem(), joined.ca_pem(),
                                        crypto::CertificatePurpose::kClient, clock_.Now())
                  .ok());
  absl::StatusOr<SidecarCaller> caller = Admit(joined);
  ASSERT_TRUE(caller.ok()) << caller.status();
  EXPECT_THAT(caller->targets, ElementsAre("demo"));
}

TEST_F(EnrolmentTest, JoinSecretIsSpentOnce) {
  const std::string secret = Invite();
  v1::JoinSidecarResponse response;
  ASSERT_TRUE(TryJoin(secret, &response, Csr()).ok());
  EXPECT_EQ(ReasonOf(TryJoin(secret, &response, Csr())), "JOIN_REFUSED");
}

TEST_F(EnrolmentTest, JoinSecretEndsAfterFifteenMinutesExactly) {
  const std::string early = Invite(), late = Invite();
  v1::JoinSidecarResponse response;
  clock_.Advance(kInviteLifetime - absl::Microseconds(1));
  EXPECT_TRUE(TryJoin(early, &response, Csr()).ok());
  clock_.Advance(absl::Microseconds(1));
  EXPECT_EQ(ReasonOf(TryJoin(late, &response, Csr())), "JOIN_REFUSED");
}

TEST_F(EnrolmentTest, EveryFaultOfAJoinLooksTheSame) {
  v1::JoinSidecarResponse response;
  const absl::Status wrong = TryJoin("wrong", &response, Csr());
  const absl::Status no_csr = TryJoin(Invite(), &response, "not a request");
  EXPECT_EQ(wrong, no_csr);
  EXPECT_EQ(wrong.code(), absl::StatusCode::kUnauthenticated);
}

TEST_F(EnrolmentTest, StoreHoldsNoSecretInClear) {
  const std::string secret = Invite();
  auto reader = database_->Read();
  store::Statement rows = (*reader)->Prepare("SELECT secret_hash FROM sidecar_invites");
  ASSERT_TRUE(rows.Step());
  EXPECT_EQ(rows.Bytes(0).find(secret), std::string::npos);
  EXPECT_EQ(rows.Bytes(0).size(), 32u);
}

TEST_F(EnrolmentTest, RepeatedInvitationVoidsTheSecretBefore) {
  const std::string request_id = NewUuid(Random::System());
  const std::string first = Invite(request_id), second = Invite(request_id);
  v1::JoinSidecarResponse response;
  EXPECT_EQ(ReasonOf(TryJoin(first, &response, Csr())), "JOIN_REFUSED");
  EXPECT_TRUE(TryJoin(second, &response, Csr()).ok());
}

TEST_F(EnrolmentTest, NothingIsInvitedOrJoinedThatIsNotRecorded) {
  const std::string secret = Invite();
  audit_.Fail(absl::UnavailableError("disk full"));
  v1::InviteSidecarRequest request;
  request.set_name("edge-2");
  request.add_targets("demo");
  v1::InviteSidecarResponse invited;
  EXPECT_EQ(InviteSidecar(deps_, admin_, request, &invited).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(invited.join_line(), "");
  v1::JoinSidecarResponse joined;
  EXPECT_EQ(TryJoin(secret, &joined, Csr()).code(), absl::StatusCode::kUnavailable);
  audit_.Fail(absl::OkStatus());
  EXPECT_TRUE(TryJoin(secret, &joined, Csr()).ok());
}

TEST_F(EnrolmentTest, InvitationsNeedANameAndTargets) {
  v1::InviteSidecarResponse response;
  v1::InviteSidecarRequest request;
  request.add_targets("demo");
  EXPECT_EQ(InviteSidecar(deps_, admin_, request, &response).code(), absl::StatusCode::kInvalidArgument);
  request.set_name("Edge_1");
  EXPECT_EQ(InviteSidecar(deps_, admin_, request, &response).code(), absl::StatusCode::kInvalidArgument);
  request.set_name("edge-1");
  request.clear_targets();
  EXPECT_EQ(InviteSidecar(deps_, admin_, request, &response).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(EnrolmentTest, RenewalCountsGenerations) {
  v1::JoinSidecarResponse first = Join();
  Use(first);
  absl::StatusOr<v1::JoinSidecarResponse> second = Renew(first);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->generation(), 2);
  EXPECT_EQ(second->sidecar_id(), first.sidecar_id());
  Use(*second);
  EXPECT_EQ(Renew(*second)->generation(), 3);
}

TEST_F(EnrolmentTest, RenewalWhoseAnswerWasLostIsRepeated) {
  v1::JoinSidecarResponse first = Join();
  Use(first);
  ASSERT_TRUE(Renew(first).ok());  // never seen by the sidecar
  absl::StatusOr<v1::JoinSidecarResponse> again = Renew(first);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->generation(), 3);
}

TEST_F(EnrolmentTest, RenewalByAnOldCertificateExposesACloneAndRevokes) {
  v1::JoinSidecarResponse first = Join();
  Use(first);
  absl::StatusOr<v1::JoinSidecarResponse> thief = Renew(first);
  ASSERT_TRUE(thief.ok());
  Use(*thief);
  EXPECT_EQ(ReasonOf(Renew(first).status()), "SIDECAR_CLONED");
  // Neither of the two goes on, and people hear of it.
  EXPECT_EQ(ReasonOf(Admit(first).status()), "SIDECAR_REVOKED");
  EXPECT_EQ(ReasonOf(Admit(*thief).status()), "SIDECAR_REVOKED");
  EXPECT_EQ(audit_.records().back().kind(), v1::ALARM);
  EXPECT_EQ(audit_.records().back().reason_code(), "SIDECAR_CLONED");
}

TEST_F(EnrolmentTest, CertificatesThatAreNotOnRecordAreRefusedWhoeverSignedThem) {
  v1::JoinSidecarResponse joined = Join();
  absl::StatusOr<crypto::IssuedCertificate> forged =
      ca_.IssueClient(key_.public_key(), joined.sidecar_id(), crypto::SidecarUri("cp.example", joined.sidecar_id()),
                      absl::Hours(1), clock_, Random::System());
  EXPECT_EQ(ReasonOf(AdmitSidecar(*store_, joined.sidecar_id(), forged->pem, clock_.Now()).status()),
            "CERTIFICATE_UNKNOWN");
  EXPECT_EQ(ReasonOf(AdmitSidecar(*store_, joined.sidecar_id(), "", clock_.Now()).status()), "CERTIFICATE_UNKNOWN");
  v1::JoinSidecarResponse other = Join();
  EXPECT_EQ(ReasonOf(AdmitSidecar(*store_, other.sidecar_id(), joined.certificate_chain_pem(), clock_.Now()).status()),
            "CERTIFICATE_UNKNOWN");
}

TEST_F(EnrolmentTest, CertificateExpiringNowIsExpired) {
  v1::JoinSidecarResponse joined = Join();
  clock_.Advance(kSidecarCertificateLifetime - absl::Microseconds(1));
  EXPECT_TRUE(Admit(joined).ok());
  clock_.Advance(absl::Microseconds(1));
  EXPECT_EQ(ReasonOf(Admit(joined).status()), "CERTIFICATE_UNKNOWN");
}

TEST_F(EnrolmentTest, RevocationIsIdempotentAndKeepsTheFirstTime) {
  v1::JoinSidecarResponse joined = Join();
  v1::RevokeSidecarRequest request;
  request.set_id(joined.sidecar_id());
  request.set_reason("lost laptop");
  v1::Sidecar sidecar;
  ASSERT_TRUE(RevokeSidecar(deps_, admin_, request, &sidecar).ok());
  EXPECT_TRUE(sidecar.revoked());
  ASSERT_TRUE(RevokeSidecar(deps_, admin_, request, &sidecar).ok());
  EXPECT_EQ(ReasonOf(Admit(joined).status()), "SIDECAR_REVOKED");
  request.set_id("sdc_00000000000000000000000000");
  EXPECT_EQ(ReasonOf(RevokeSidecar(deps_, admin_, request, &sidecar)), "SIDECAR_NOT_FOUND");
}

TEST_F(EnrolmentTest, ListPagesNewestFirst) {
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) {
    ids.push_back(Join().sidecar_id());
    clock_.Advance(absl::Seconds(1));
  }
  v1::ListSidecarsRequest request;
  request.set_page_size(2);
  std::vector<std::string> listed;
  do {
    v1::ListSidecarsResponse response;
    ASSERT_TRUE(ListSidecars(deps_, request, &response).ok());
    EXPECT_LE(response.sidecars_size(), 2);
    for (const v1::Sidecar& sidecar : response.sidecars()) listed.push_back(sidecar.id());
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(listed, std::vector<std::string>(ids.rbegin(), ids.rend()));
}

}  // namespace
}  // namespace postern::fleet
