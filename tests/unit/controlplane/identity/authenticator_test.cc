#include "controlplane/identity/authenticator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/errors.h"
#include "common/crypto/certificate.h"
#include "common/token/assertion.h"
#include "tests/unit/controlplane/identity/fixture.h"

namespace postern::identity {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::string_view kOrigin = "postern.example";

// Providers here have fixed keys: nothing may be fetched.
class NoFetcher final : public HttpFetcher {
 public:
  absl::StatusOr<std::string> Get(std::string_view, const FetchOptions&) const override {
    ADD_FAILURE() << "something was fetched";
    return absl::UnavailableError("no network");
  }
};

class AuthenticatorTest : public testing::Test {
 protected:
  AuthenticatorTest() {
    v1::Account bot = MakeAccount("support-bot", v1::AGENT, key_, clock_);
    bot.add_groups("agents");
    bot.add_groups("approvers");
    bot.set_owner("ann@example.com");
    bot.add_may_act_for("*@example.com");
    v1::Account ann = MakeAccount("ann", v1::PERSON, key_, clock_);
    ann.add_groups("approvers");
    ann.add_groups("admins");
    EXPECT_TRUE(store_.InsertAccount(bot).ok());
    EXPECT_TRUE(store_.InsertAccount(ann).ok());
    Bind("approvers", "approver");
    Bind("admins", "admin");
  }

  void Bind(std::string_view group, std::string_view role) {
    v1::RoleBinding binding;
    binding.set_group(std::string(group));
    binding.set_role(std::string(role));
    EXPECT_TRUE(store_.InsertRoleBinding(binding).ok());
  }

  void Change(std::string_view id, const std::function<void(v1::Account&)>& change) {
    v1::Account account = *store_.GetAccount(id);
    change(account);
    EXPECT_TRUE(store_.ReplaceAccount(account).ok());
  }

  std::string Assertion(std::string_view account) {
    return *token::MakeAssertion(account, key_, kOrigin, clock_, Random::System());
  }

  // Claims of issuer.example that are valid for five minutes; `more` follows a comma.
  std::string Claims(std::string_view more) const {
    const int64_t now = absl::ToUnixSeconds(clock_.Now());
    return fmt::format(R"({{"iss":"https://issuer.example","aud":"postern","iat":{},"exp":{},{}}})", now, now + 300,
                       more);
  }

  absl::StatusOr<Caller> Call(std::string_view token) {
    const std::string authorization = fmt::format("Bearer {}", token);
    return authenticator_.Authenticate({authorization, "", "127.0.0.1:1"});
  }
  std::string Refusal(std::string_view token) { return ReasonOf(Call(token).status()); }

  FakeClock clock_;
  crypto::EcPrivateKey key_ = *crypto::EcPrivateKey::Generate();
  FakeIssuer issuer_;
  store::TempStore database_;
  store::SqlIdentityStore store_{*database_};
  NoFetcher fetcher_;
  absl::Status admitted_;
  Authenticator authenticator_{{std::string(kOrigin), [this](std::string_view, std::string_view) { return admitted_; }},
                               store_,
                               fetcher_,
                               clock_};
};

TEST_F(AuthenticatorTest, APersonHasTheRolesOfTheirGroups) {
  const absl::StatusOr<Caller> caller = Call(Assertion("ann"));
  ASSERT_TRUE(caller.ok()) << caller.status();
  EXPECT_TRUE(caller->IsPerson());
  EXPECT_EQ(caller->id(), "ann");
  EXPECT_EQ(caller->peer, "127.0.0.1:1");
  EXPECT_EQ(caller->principal.method(), "account-key");
  EXPECT_THAT(caller->principal.groups(), ElementsAre("admins", "approvers"));
  EXPECT_THAT(caller->principal.roles(), ElementsAre("admin", "approver"));
}

TEST_F(AuthenticatorTest, AnAgentHasNoRoleWhateverGroupsItIsIn) {
  const absl::StatusOr<Caller> caller = Call(Assertion("support-bot"));
  ASSERT_TRUE(caller.ok()) << caller.status();
  EXPECT_TRUE(caller->IsAgent());
  EXPECT_THAT(caller->principal.groups(), ElementsAre("agents", "approvers"));
  EXPECT_THAT(caller->principal.roles(), IsEmpty());
  EXPECT_THAT(caller->may_act_for, ElementsAre("*@example.com"));
  EXPECT_EQ(caller->owner, "ann@example.com");
}

TEST_F(AuthenticatorTest, AnAssertionIsGoodOnce) {
  const std::string assertion = Assertion("ann");
  EXPECT_EQ(Refusal(assertion), "");
  EXPECT_EQ(Refusal(assertion), "TOKEN_REPLAYED");
  EXPECT_EQ(Refusal(Assertion("ann")), "");
}

TEST_F(AuthenticatorTest, AnAssertionOfBeforeTheStartIsRefused) {
  const std::string assertion = Assertion("ann");
  clock_.Advance(absl::Seconds(2));
  Authenticator restarted({std::string(kOrigin), nullptr}, store_, fetcher_, clock_);
  EXPECT_EQ(ReasonOf(restarted.Authenticate({"Bearer " + assertion, "", ""}).status()), "TOKEN_REPLAYED");
}

TEST_F(AuthenticatorTest, UnknownAccountKeyAndSignatureLookAlike) {
  const crypto::EcPrivateKey other = *crypto::EcPrivateKey::Generate();
  const absl::Status unknown_account = Call(Assertion("nobody")).status();
  const absl::Status unknown_key =
      Call(*token::MakeAssertion("ann", other, kOrigin, clock_, Random::System())).status();
  std::string altered = Assertion("ann");
  altered[altered.size() - 10] = altered[altered.size() - 10] == 'A' ? 'B' : 'A';
  EXPECT_EQ(ReasonOf(unknown_account), "CREDENTIALS_INVALID");
  EXPECT_EQ(unknown_account, unknown_key);
  EXPECT_EQ(unknown_account, Call(altered).status());
}

TEST_F(AuthenticatorTest, AnExpiredKeyIsNoKey) {
  clock_.Advance(absl::Hours(24));
  EXPECT_EQ(Refusal(Assertion("ann")), "CREDENTIALS_INVALID");
}

TEST_F(AuthenticatorTest, ADisabledAccountIsRefused) {
  Change("ann", [](v1::Account& account) { account.set_disabled(true); });
  EXPECT_EQ(Refusal(Assertion("ann")), "ACCOUNT_DISABLED");
}

TEST_F(AuthenticatorTest, CallsWithoutOrWithTwoCredentialsAreRefused) {
  EXPECT_EQ(ReasonOf(authenticator_.Authenticate({"", "", ""}).status()), "CREDENTIALS_MISSING");
  EXPECT_EQ(ReasonOf(authenticator_.Authenticate({"Basic YTpi", "", ""}).status()), "CREDENTIALS_MISSING");
  EXPECT_EQ(ReasonOf(authenticator_.Authenticate({"Bearer x", "pem", ""}).status()), "CREDENTIALS_AMBIGUOUS");
  EXPECT_EQ(ReasonOf(authenticator_.Authenticate({"Bearer ", "", ""}).status()), "TOKEN_MALFORMED");
  EXPECT_TRUE(authenticator_.Authenticate({"bearer " + Assertion("ann"), "", ""}).ok());
}

TEST_F(AuthenticatorTest, AnOidcPersonIsTheirVerifiedAddress) {
  ASSERT_TRUE(store_.InsertProvider(MakeProvider("corp", v1::PERSON, issuer_)).ok());
  const absl::StatusOr<Caller> caller =
      Call(issuer_.Sign(Claims(R"("email":"Zoe@Example.com","email_verified":true,"groups":["approvers"])")));
  ASSERT_TRUE(caller.ok()) << caller.status();
  EXPECT_EQ(caller->id(), "zoe@example.com");
  EXPECT_EQ(caller->principal.method(), "oidc:corp");
  EXPECT_THAT(caller->principal.roles(), ElementsAre("approver"));
  EXPECT_EQ(Refusal(issuer_.Sign(Claims(R"("email":"zoe@example.com","email_verified":false)"))), "EMAIL_NOT_VERIFIED");
  EXPECT_EQ(Refusal(issuer_.Sign(Claims(R"("email":"zoe@example.com","email_verified":"no")"))), "EMAIL_NOT_VERIFIED");
  EXPECT_EQ(Refusal(issuer_.Sign(Claims(R"("sub":"zoe")"))), "TOKEN_CLAIMS");
  EXPECT_EQ(Refusal(issuer_.Sign(Claims(R"("email":"zoe @example.com")"))), "TOKEN_CLAIMS");
}

TEST_F(AuthenticatorTest, OidcTokensAreRefusedForEachFault) {
  ASSERT_TRUE(store_.InsertProvider(MakeProvider("ci", v1::AGENT, issuer_)).ok());
  const int64_t now = absl::ToUnixSeconds(clock_.Now());
  const auto claims = [](std::string_view iss, std::string_view aud, int64_t nbf, int64_t exp) {
    return fmt::format(R"({{"iss":"{}","aud":{},"sub":"job","nbf":{},"exp":{}}})", iss, aud, nbf, exp);
  };
  const std::string issuer = "https://issuer.example";
  const struct {
    std::string claims;
    std::string_view reason;
  } kCases[] = {
      {claims(issuer, R"("postern")", now, now + 60), ""},
      {claims(issuer, R"(["other","postern"])", now, now + 60), ""},
      {claims("https://issuer.example/", R"("postern")", now, now + 60), "ISSUER_UNKNOWN"},
      {claims(issuer, R"("Postern")", now, now + 60), "TOKEN_WRONG_AUDIENCE"},
      {claims(issuer, "[]", now, now + 60), "TOKEN_WRONG_AUDIENCE"},
      {claims(issuer, "7", now, now + 60), "TOKEN_MALFORMED"},
      {claims(issuer, R"(["postern",7])", now, now + 60), "TOKEN_MALFORMED"},
      {claims(issuer, R"("postern")", now, now - 59), ""},
      {claims(issuer, R"("postern")", now, now - 60), "TOKEN_EXPIRED"},
      {claims(issuer, R"("postern")", now + 60, now + 90), ""},
      {claims(issuer, R"("postern")", now + 61, now + 90), "TOKEN_NOT_YET_VALID"},
      {R"({"iss":"https://issuer.example","aud":"postern","sub":"job"})", "TOKEN_MALFORMED"},
      {fmt::format(R"({{"iss":"{}","aud":["a","postern"],"azp":"a","sub":"job","exp":{}}})", issuer, now + 60),
       "TOKEN_WRONG_AUDIENCE"},
  };
  for (const auto& each : kCases) EXPECT_EQ(Refusal(issuer_.Sign(each.claims)), each.reason) << each.claims;
  EXPECT_EQ(Refusal(FakeIssuer("k1").Sign(kCases[0].claims)), "TOKEN_SIGNATURE");
  EXPECT_EQ(Refusal(FakeIssuer("k2").Sign(kCases[0].claims)), "TOKEN_UNKNOWN_KEY");
}

TEST_F(AuthenticatorTest, TheAlgorithmMustBeAllowed) {
  v1::IdentityProvider provider = MakeProvider("ci", v1::AGENT, issuer_);
  provider.add_algorithms("RS256");
  ASSERT_TRUE(store_.InsertProvider(provider).ok());
  EXPECT_EQ(Refusal(issuer_.Sign(Claims(R"("sub":"job")"))), "TOKEN_ALGORITHM");
}

TEST_F(AuthenticatorTest, RequiredClaimsMatchExactly) {
  v1::IdentityProvider provider = MakeProvider("ci", v1::AGENT, issuer_);
  (*provider.mutable_required_claims())["repository_id"] = "42";
  (*provider.mutable_required_claims())["protected"] = "true";
  provider.set_agent_id("release-bot");
  provider.add_groups("ci");
  ASSERT_TRUE(store_.InsertProvider(provider).ok());
  const absl::StatusOr<Caller> caller =
      Call(issuer_.Sign(Claims(R"("sub":"repo:x","repository_id":"42","protected":true)")));
  ASSERT_TRUE(caller.ok()) << caller.status();
  EXPECT_EQ(caller->id(), "release-bot");
  EXPECT_THAT(caller->principal.groups(), ElementsAre("ci"));
  EXPECT_EQ(Refusal(issuer_.Sign(Claims(R"("sub":"x","repository_id":42,"protected":"true")"))), "");
  for (const std::string_view more :
       {R"("sub":"x","repository_id":"421","protected":true)", R"("sub":"x","protected":true)",
        R"("sub":"x","repository_id":["42"],"protected":true)", R"("sub":"x","repository_id":"42","protected":false)",
        R"("sub":"x","repository_id":42.0,"protected":true)"}) {
    EXPECT_EQ(Refusal(issuer_.Sign(Claims(more))), "TOKEN_CLAIMS") << more;
  }
}

TEST_F(AuthenticatorTest, ProvidersOfOneIssuerAreToldApartByTheirClaims) {
  for (const std::string_view repository : {"1", "2"}) {
    v1::IdentityProvider provider = MakeProvider(fmt::format("repo-{}", repository), v1::AGENT, issuer_);
    (*provider.mutable_required_claims())["repository_id"] = std::string(repository);
    provider.set_agent_id(fmt::format("bot-{}", repository));
    ASSERT_TRUE(store_.InsertProvider(provider).ok());
  }
  EXPECT_EQ(Call(issuer_.Sign(Claims(R"("sub":"x","repository_id":"2")")))->id(), "bot-2");
  EXPECT_EQ(Refusal(issuer_.Sign(Claims(R"("sub":"x","repository_id":"3")"))), "TOKEN_CLAIMS");
  ASSERT_TRUE(store_.InsertProvider(MakeProvider("any", v1::AGENT, issuer_)).ok());
  EXPECT_EQ(Refusal(issuer_.Sign(Claims(R"("sub":"x","repository_id":"2")"))), "PROVIDER_AMBIGUOUS");
}

TEST_F(AuthenticatorTest, AClaimDoesNotMakeAWorkloadAnAccount) {
  ASSERT_TRUE(store_.InsertProvider(MakeProvider("ci", v1::AGENT, issuer_)).ok());
  EXPECT_EQ(Refusal(issuer_.Sign(Claims(R"("sub":"support-bot")"))), "PRINCIPAL_CLASH");
  EXPECT_EQ(Refusal(issuer_.Sign(Claims(R"("sub":"ann")"))), "PRINCIPAL_CLASH");
  EXPECT_EQ(Refusal(issuer_.Sign(Claims(R"("sub":"other-bot")"))), "");
}

TEST_F(AuthenticatorTest, AnAssignedIdTakesWhatTheAccountHas) {
  v1::IdentityProvider provider = MakeProvider("ci", v1::AGENT, issuer_);
  provider.set_agent_id("support-bot");
  ASSERT_TRUE(store_.InsertProvider(provider).ok());
  const absl::StatusOr<Caller> caller = Call(issuer_.Sign(Claims(R"("sub":"x","groups":"ci")")));
  ASSERT_TRUE(caller.ok()) << caller.status();
  EXPECT_THAT(caller->principal.groups(), ElementsAre("agents", "approvers", "ci"));
  EXPECT_THAT(caller->principal.roles(), IsEmpty());
  EXPECT_EQ(caller->owner, "ann@example.com");
  Change("support-bot", [](v1::Account& account) { account.set_disabled(true); });
  EXPECT_EQ(Refusal(issuer_.Sign(Claims(R"("sub":"x")"))), "ACCOUNT_DISABLED");
}

TEST_F(AuthenticatorTest, GroupsMayBeOneTextButNothingElse) {
  v1::IdentityProvider provider = MakeProvider("corp", v1::PERSON, issuer_);
  provider.set_id_claim("sub");
  provider.set_groups_claim("roles");
  ASSERT_TRUE(store_.InsertProvider(provider).ok());
  EXPECT_THAT(Call(issuer_.Sign(Claims(R"("sub":"zoe","roles":"approvers")")))->principal.groups(),
              ElementsAre("approvers"));
  EXPECT_THAT(Call(issuer_.Sign(Claims(R"("sub":"zoe","groups":["admins"])")))->principal.groups(), IsEmpty());
  EXPECT_EQ(Refusal(issuer_.Sign(Claims(R"("sub":"zoe","roles":{"admins":true})"))), "TOKEN_CLAIMS");
}

TEST_F(AuthenticatorTest, ASidecarIsItsCertificate) {
  const auto ca = *crypto::CertificateAuthority::CreateRoot("ca", clock_, Random::System());
  const auto issue = [&](std::string_view uri) {
    return ca.IssueClient(key_.public_key(), "s", uri, absl::Hours(1), clock_, Random::System())->pem;
  };
  const std::string certificate = issue(crypto::SidecarUri(kOrigin, "sdc_1"));
  const absl::StatusOr<Caller> caller = authenticator_.Authenticate({"", certificate, ""});
  ASSERT_TRUE(caller.ok()) << caller.status();
  EXPECT_TRUE(caller->IsSidecar());
  EXPECT_EQ(caller->id(), "sdc_1");
  EXPECT_THAT(caller->principal.roles(), IsEmpty());
  const std::string foreign = issue(crypto::SidecarUri("other.example", "sdc_1"));
  EXPECT_EQ(ReasonOf(authenticator_.Authenticate({"", foreign, ""}).status()), "CREDENTIALS_INVALID");
  EXPECT_EQ(ReasonOf(authenticator_.Authenticate({"", ca.certificate_pem(), ""}).status()), "CREDENTIALS_INVALID");
  EXPECT_EQ(ReasonOf(authenticator_.Authenticate({"", "garbage", ""}).status()), "CREDENTIALS_INVALID");
  admitted_ = Error(absl::StatusCode::kPermissionDenied, "SIDECAR_REVOKED", "revoked");
  EXPECT_EQ(ReasonOf(authenticator_.Authenticate({"", certificate, ""}).status()), "SIDECAR_REVOKED");
}

TEST(ReplayCache, ForgetsWhatHasExpiredAndIsBounded) {
  const absl::Time start = absl::FromUnixSeconds(1'000'000);
  constexpr size_t kEntries = 100;
  ReplayCache cache(start, kEntries);
  token::Assertion assertion{"a", "k", "", start, start + absl::Seconds(10)};
  for (size_t i = 0; i < kEntries; ++i) {
    assertion.id = std::to_string(i);
    ASSERT_TRUE(cache.Use(assertion, start).ok());
  }
  assertion.id = "one more";
  EXPECT_EQ(ReasonOf(cache.Use(assertion, start)), "TOO_MANY_CALLS");
  assertion.expires_at = start + absl::Seconds(20);
  EXPECT_TRUE(cache.Use(assertion, start + absl::Seconds(10)).ok());
  EXPECT_EQ(ReasonOf(cache.Use(assertion, start + absl::Seconds(11))), "TOKEN_REPLAYED");
  assertion.account_id = "b";
  EXPECT_TRUE(cache.Use(assertion, start + absl::Seconds(11)).ok());
}

}  // namespace
}  // namespace postern::identity
