// Numbered as README.md lists what they prove.
#include <filesystem>
#include <fstream>
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/errors.h"
#include "common/base/strings.h"
#include "common/crypto/certificate.h"
#include "controlplane/identity/authenticator.h"
#include "controlplane/identity/identity_service.h"
#include "tests/integration/oidc/provider_process.h"
#include "tests/unit/controlplane/identity/fixture.h"

namespace postern::identity {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::string_view kZoe =
    R"({"sub":"zoe","email":"zoe@example.com","email_verified":true,"groups":["approvers"]})";

// Real time for the tokens, which the provider dates by its own clock, and time that tests can move for caches.
class ShiftedClock final : public Clock {
 public:
  absl::Time Now() const override { return Clock::System().Now() + shift_; }
  absl::Duration Monotonic() const override { return Clock::System().Monotonic() + monotonic_shift_; }
  void AdvanceMonotonic(absl::Duration by) { monotonic_shift_ += by; }
  void ShiftWall(absl::Duration by) { shift_ += by; }

 private:
  absl::Duration shift_;
  absl::Duration monotonic_shift_;
};

class OidcTest : public testing::Test {
 protected:
  void Register(std::string_view name, v1::PrincipalKind kind,
                const std::function<void(v1::IdentityProvider&)>& change) {
    v1::CreateIdentityProviderRequest request;
    v1::IdentityProvider& provider = *request.mutable_provider();
    provider.set_name(std::string(name));
    provider.set_issuer(provider_->url());
    provider.set_kind(kind);
    provider.set_allow_loopback_http(true);
    change(provider);
    v1::IdentityProvider response;
    const absl::Status status = CreateIdentityProvider(deps_, Caller(), request, &response);
    ASSERT_TRUE(status.ok()) << status;
  }
  void RegisterPeople(const std::function<void(v1::IdentityProvider&)>& change = [](auto&) {}) {
    Register("corp", v1::PERSON, [&](v1::IdentityProvider& provider) {
      for (const std::string_view alg : {"RS256", "PS256", "ES256"}) {
        provider.add_algorithms(std::string(alg));
        provider.add_audiences(fmt::format("postern-{}", alg));
      }
      change(provider);
    });
  }

  absl::StatusOr<Caller> Call(std::string_view token) {
    return authenticator_->Authenticate({fmt::format("Bearer {}", token), "", "test"});
  }
  std::string Refusal(std::string_view token) { return ReasonOf(Call(token).status()); }

  ShiftedClock clock_;
  store::TempStore database_;
  store::SqlIdentityStore store_{*database_};
  FakeAudit audit_;
  IdentityDeps deps_{store_, audit_, clock_, nullptr};
  std::unique_ptr<ProviderProcess> provider_ = std::make_unique<ProviderProcess>();
  std::unique_ptr<HttpFetcher> fetcher_ = NewHttpFetcher();
  std::unique_ptr<Authenticator> authenticator_ =
      std::make_unique<Authenticator>(Authenticator::Options{"postern.example", nullptr}, store_, *fetcher_, clock_);
};

TEST_F(OidcTest, Step1_APersonWhoLoggedInIsKnownByTheirAddress) {
  RegisterPeople();
  v1::RoleBinding binding;
  binding.set_group("approvers");
  binding.set_role("approver");
  ASSERT_TRUE(store_.InsertRoleBinding(binding).ok());
  for (const std::string_view algorithm : {"RS256", "PS256", "ES256"}) {
    const absl::StatusOr<Caller> caller = Call(provider_->IdToken(algorithm, kZoe));
    ASSERT_TRUE(caller.ok()) << algorithm << ": " << caller.status();
    EXPECT_TRUE(caller->IsPerson());
    EXPECT_EQ(caller->id(), "zoe@example.com");
    EXPECT_THAT(caller->principal.groups(), ElementsAre("approvers"));
    EXPECT_THAT(caller->principal.roles(), ElementsAre("approver"));
  }
  EXPECT_EQ(provider_->JwksHits(), 1);
}

TEST_F(OidcTest, Step2_AWorkloadIsMatchedByItsClaims) {
  Register("ci", v1::AGENT, [](v1::IdentityProvider& provider) {
    provider.add_audiences("postern");
    (*provider.mutable_required_claims())["repository_id"] = "42";
    provider.set_agent_id("release-bot");
    provider.add_groups("agents");
  });
  const absl::StatusOr<Caller> caller = Call(provider_->WorkloadToken(R"({"repository_id":"42"})"));
  ASSERT_TRUE(caller.ok()) << caller.status();
  EXPECT_TRUE(caller->IsAgent());
  EXPECT_EQ(caller->id(), "release-bot");
  EXPECT_THAT(caller->principal.roles(), IsEmpty());
  EXPECT_EQ(Refusal(provider_->WorkloadToken(R"({"repository_id":"43"})")), "TOKEN_CLAIMS");
  EXPECT_EQ(Refusal(provider_->WorkloadToken("{}")), "TOKEN_CLAIMS");
}

TEST_F(OidcTest, Step3_WhatTheProviderDidNotSayIsRefused) {
  RegisterPeople([](v1::IdentityProvider& provider) {
    provider.clear_algorithms();
    provider.add_algorithms("RS256");
    provider.clear_audiences();
    provider.add_audiences("postern-RS256");
  });
  const std::string token = provider_->IdToken("RS256", kZoe);
  EXPECT_EQ(Refusal(token), "");
  EXPECT_EQ(Refusal(provider_->IdToken("ES256", kZoe)), "TOKEN_ALGORITHM");
  EXPECT_EQ(Refusal(provider_->IdToken("RS256", R"({"sub":"zoe","email":"zoe@example.com","email_verified":false})")),
            "EMAIL_NOT_VERIFIED");
  EXPECT_EQ(Refusal(provider_->IdToken("RS256", R"({"sub":"zoe"})")), "TOKEN_CLAIMS");
  // An access token of the same provider is for another audience.
  EXPECT_EQ(Refusal(provider_->WorkloadToken(R"({"email":"zoe@example.com"})")), "TOKEN_WRONG_AUDIENCE");
  std::string altered = token;
  altered[altered.size() - 20] = altered[altered.size() - 20] == 'A' ? 'B' : 'A';
  EXPECT_EQ(Refusal(altered), "TOKEN_SIGNATURE");
  clock_.ShiftWall(absl::Hours(24));
  EXPECT_EQ(Refusal(token), "TOKEN_EXPIRED");
}

TEST_F(OidcTest, Step4_KeysRotateWhileServing) {
  RegisterPeople();
  const std::string before = provider_->IdToken("RS256", kZoe);
  EXPECT_EQ(Refusal(before), "");
  provider_->Rotate(/*keep_old=*/true);
  clock_.AdvanceMonotonic(IssuerKeys::kMinInterval);
  EXPECT_EQ(Refusal(provider_->IdToken("RS256", kZoe)), "");
  EXPECT_EQ(Refusal(before), "");
  EXPECT_EQ(provider_->JwksHits(), 2);
  // A key that was withdrawn is refused once the set is read again.
  provider_->Rotate(/*keep_old=*/false);
  clock_.AdvanceMonotonic(IssuerKeys::kFresh);
  EXPECT_EQ(Refusal(before), "TOKEN_UNKNOWN_KEY");
  EXPECT_EQ(Refusal(provider_->IdToken("ES256", kZoe)), "");
}

TEST_F(OidcTest, Step5_WrongAnswersOpenNothing) {
  RegisterPeople();
  const std::string token = provider_->IdToken("RS256", kZoe);
  for (const std::string_view fault : {"status", "html", "redirect", "huge", "issuer"}) {
    provider_->Fault(fault);
    clock_.AdvanceMonotonic(IssuerKeys::kMinInterval);
    EXPECT_EQ(Refusal(token), "ISSUER_UNAVAILABLE") << fault;
  }
  provider_->Fault("none");
  clock_.AdvanceMonotonic(IssuerKeys::kMinInterval);
  EXPECT_EQ(Refusal(token), "");
}

TEST_F(OidcTest, Step6_AnOutageIsBridgedForABoundedTime) {
  RegisterPeople();
  const std::string token = provider_->IdToken("RS256", kZoe);
  EXPECT_EQ(Refusal(token), "");
  provider_.reset();  // Gone: connections are refused.
  clock_.AdvanceMonotonic(IssuerKeys::kStale - absl::Minutes(1));
  EXPECT_EQ(Refusal(token), "");
  clock_.AdvanceMonotonic(absl::Minutes(1));
  EXPECT_EQ(Refusal(token), "ISSUER_UNAVAILABLE");
}

TEST_F(OidcTest, Step7_HttpsIsVerifiedAgainstTheProvidersCa) {
  const auto ca = *crypto::CertificateAuthority::CreateRoot("Test CA", clock_, Random::System());
  const auto other_ca = *crypto::CertificateAuthority::CreateRoot("Test CA", clock_, Random::System());
  const auto key = *crypto::EcPrivateKey::Generate();
  const auto certificate =
      *ca.IssueServer(key.public_key(), {"127.0.0.1", {}, {"127.0.0.1"}, absl::Hours(1)}, clock_, Random::System());
  const auto file = [this](std::string_view name, std::string_view text) {
    std::string path = fmt::format("{}/{}", database_.folder(), name);
    std::ofstream(path) << text;
    return path;
  };
  provider_ = std::make_unique<ProviderProcess>(
      file("cert.pem", certificate.pem), file("key.pem", key.ToPem().Expose()), file("ca.pem", ca.certificate_pem()));
  ASSERT_THAT(provider_->url(), HasSubstr("https://"));
  const std::string token = provider_->IdToken("RS256", kZoe);
  for (const std::string& wrong : {std::string(), other_ca.certificate_pem()}) {
    RegisterPeople([&](v1::IdentityProvider& provider) { provider.set_ca_pem(wrong); });
    const absl::Status status = Call(token).status();
    EXPECT_EQ(ReasonOf(status), "ISSUER_UNAVAILABLE");
    EXPECT_THAT(StdView(status.message()), HasSubstr("certificate"));
    ASSERT_TRUE(store_.DeleteProvider("corp").ok());
  }
  EXPECT_EQ(provider_->JwksHits(), 0);
  RegisterPeople([&](v1::IdentityProvider& provider) { provider.set_ca_pem(ca.certificate_pem()); });
  EXPECT_EQ(Refusal(token), "");
}

}  // namespace
}  // namespace postern::identity
