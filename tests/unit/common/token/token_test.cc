#include "common/token/token.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/errors.h"
#include "common/crypto/ec_key.h"
#include "tests/unit/common/token/forge.h"

namespace postern::token {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::string_view kIssuer = "postern.example";
constexpr std::string_view kKeyId = "key-1";
constexpr std::string_view kHeader = R"({"alg":"ES256","kid":"key-1","typ":"grant+jwt"})";

class TokenTest : public testing::Test {
 protected:
  TokenTest()
      : key_(*crypto::EcPrivateKey::Generate()),
        signer_(*TokenSigner::FromPem(std::string(kKeyId), key_.ToPem().Expose())),
        verifier_(*TokenVerifier::Create(std::string(kIssuer), {signer_->public_key()})) {}

  Claims GoodClaims() const {
    Claims claims;
    claims.issuer = kIssuer;
    claims.target = "demo";
    claims.agent = "support-bot";
    claims.on_behalf_of = "zoe@example.com";
    claims.groups = {"agents"};
    claims.grant_id = "grt_01jy0000000000000000000000";
    claims.database = "orders";
    claims.verbs = {"select", "update"};
    claims.objects = {"app.orders"};
    claims.issued_at = clock_.Now();
    claims.expires_at = clock_.Now() + absl::Minutes(5);
    return claims;
  }

  // A payload with every claim that is required; `extra` is spliced in front.
  std::string Payload(std::string_view extra = "") const {
    const int64_t now = absl::ToUnixSeconds(clock_.Now());
    return fmt::format(R"({{{}"iss":"postern.example","aud":"demo","sub":"support-bot","jti":"grt_1","db":"orders",)"
                       R"("do":["select"],"iat":{},"exp":{}}})",
                       extra, now, now + 300);
  }

  std::string Refusal(std::string_view token, std::string_view target = "demo") const {
    return ReasonOf(verifier_->Verify(token, target, clock_).status());
  }

  FakeClock clock_;
  crypto::EcPrivateKey key_;
  std::unique_ptr<TokenSigner> signer_;
  std::shared_ptr<const TokenVerifier> verifier_;
};

TEST_F(TokenTest, WhatWasSignedIsWhatIsRead) {
  const std::string token = *signer_->Sign(GoodClaims());
  const absl::StatusOr<VerifiedGrant> grant = verifier_->Verify(token, "demo", clock_);
  ASSERT_TRUE(grant.ok()) << grant.status();
  const Claims& claims = grant->claims();
  EXPECT_EQ(claims.issuer, kIssuer);
  EXPECT_EQ(claims.target, "demo");
  EXPECT_EQ(claims.agent, "support-bot");
  EXPECT_EQ(claims.on_behalf_of, "zoe@example.com");
  EXPECT_THAT(claims.groups, ElementsAre("agents"));
  EXPECT_EQ(claims.grant_id, "grt_01jy0000000000000000000000");
  EXPECT_EQ(claims.database, "orders");
  EXPECT_THAT(claims.verbs, ElementsAre("select", "update"));
  EXPECT_THAT(claims.objects, ElementsAre("app.orders"));
  EXPECT_EQ(claims.issued_at, clock_.Now());
  EXPECT_EQ(claims.expires_at, clock_.Now() + absl::Minutes(5));
}

TEST_F(TokenTest, AbsentOptionalClaimsReadAsEmpty) {
  Claims claims = GoodClaims();
  claims.on_behalf_of.clear();
  claims.objects.clear();
  const absl::StatusOr<VerifiedGrant> grant = verifier_->Verify(*signer_->Sign(claims), "demo", clock_);
  ASSERT_TRUE(grant.ok()) << grant.status();
  EXPECT_THAT(grant->claims().on_behalf_of, IsEmpty());
  EXPECT_THAT(grant->claims().objects, IsEmpty());
}

TEST_F(TokenTest, AHandMadeTokenOfTheRightFormIsAccepted) {
  // The forger of the tests below makes valid tokens unless told otherwise; what they refuse they refuse for its
  // reason.
  EXPECT_EQ(Refusal(ForgeEs256(kHeader, Payload(), key_)), "");
}

TEST_F(TokenTest, EmptyTargetAcceptsAnyAudience) {
  EXPECT_TRUE(verifier_->Verify(*signer_->Sign(GoodClaims()), "", clock_).ok());
}

TEST_F(TokenTest, AnotherTargetIsRefused) {
  EXPECT_EQ(Refusal(*signer_->Sign(GoodClaims()), "prod"), "TOKEN_WRONG_TARGET");
}

TEST_F(TokenTest, AnotherIssuerIsRefused) {
  Claims claims = GoodClaims();
  claims.issuer = "postern.example.evil";
  EXPECT_EQ(Refusal(*signer_->Sign(claims)), "TOKEN_WRONG_ISSUER");
}

TEST_F(TokenTest, TokenExpiringNowIsExpired) {
  const std::string token = *signer_->Sign(GoodClaims());
  clock_.Advance(absl::Minutes(5) - absl::Milliseconds(1));
  EXPECT_EQ(Refusal(token), "");
  clock_.Advance(absl::Milliseconds(1));
  EXPECT_EQ(Refusal(token), "TOKEN_EXPIRED");
}

TEST_F(TokenTest, IssuedAheadIsAcceptedUpToTheSkew) {
  Claims claims = GoodClaims();
  claims.issued_at = clock_.Now() + kClockSkew;
  EXPECT_EQ(Refusal(*signer_->Sign(claims)), "");
  claims.issued_at = clock_.Now() + kClockSkew + absl::Seconds(1);
  EXPECT_EQ(Refusal(*signer_->Sign(claims)), "TOKEN_NOT_YET_VALID");
}

TEST_F(TokenTest, AlgorithmNoneIsRefused) {
  for (const std::string_view alg : {"none", "None", "NONE", "nOnE"}) {
    const std::string header = fmt::format(R"({{"alg":"{}","kid":"key-1","typ":"grant+jwt"}})", alg);
    EXPECT_EQ(Refusal(ForgeEs256(header, Payload(), key_)), "TOKEN_SIGNATURE") << alg;
    EXPECT_EQ(Refusal(ForgeSignature(header, Payload(), "")), "TOKEN_MALFORMED") << alg;
  }
}

TEST_F(TokenTest, PublicKeyAsHmacSecretIsRefused) {
  constexpr std::string_view kHmacHeader = R"({"alg":"HS256","kid":"key-1","typ":"grant+jwt"})";
  const std::string pem = signer_->public_key().pem;
  EXPECT_EQ(Refusal(ForgeHs256(kHmacHeader, Payload(), pem)), "TOKEN_SIGNATURE");
  EXPECT_EQ(Refusal(ForgeHs256(kHmacHeader, Payload(), key_.public_key().ToDer())), "TOKEN_SIGNATURE");
  EXPECT_EQ(Refusal(ForgeHs256(kHeader, Payload(), pem)), "TOKEN_SIGNATURE");
}

TEST_F(TokenTest, KeyInTheHeaderIsNotUsed) {
  const crypto::EcPrivateKey other = *crypto::EcPrivateKey::Generate();
  const std::string header =
      fmt::format(R"({{"alg":"ES256","kid":"key-1","typ":"grant+jwt","jwk":{}}})", other.public_key().ToJwk());
  EXPECT_EQ(Refusal(ForgeEs256(header, Payload(), other)), "TOKEN_SIGNATURE");
}

TEST_F(TokenTest, UnknownAndAbsentKeyIdsAreRefused) {
  const auto other = *TokenSigner::FromPem("key-2", key_.ToPem().Expose());
  EXPECT_EQ(Refusal(*other->Sign(GoodClaims())), "TOKEN_UNKNOWN_KEY");
  EXPECT_EQ(Refusal(ForgeEs256(R"({"alg":"ES256","typ":"grant+jwt"})", Payload(), key_)), "TOKEN_UNKNOWN_KEY");
}

TEST_F(TokenTest, AnotherKeyUnderTheSameIdIsRefused) {
  const crypto::EcPrivateKey other = *crypto::EcPrivateKey::Generate();
  EXPECT_EQ(Refusal(ForgeEs256(kHeader, Payload(), other)), "TOKEN_SIGNATURE");
}

TEST_F(TokenTest, EachChangedCharacterIsRefused) {
  const std::string token = *signer_->Sign(GoodClaims());
  for (size_t i = 0; i < token.size(); ++i) {
    std::string changed = token;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    if (changed == token) continue;
    EXPECT_FALSE(verifier_->Verify(changed, "demo", clock_).ok()) << "character " << i;
  }
}

TEST_F(TokenTest, EachTruncationIsRefused) {
  const std::string token = *signer_->Sign(GoodClaims());
  for (size_t size = 0; size < token.size(); ++size) {
    EXPECT_FALSE(verifier_->Verify(std::string_view(token).substr(0, size), "demo", clock_).ok()) << size;
  }
}

TEST_F(TokenTest, CriticalExtensionsAreRefused) {
  constexpr std::string_view kCrit = R"({"alg":"ES256","kid":"key-1","typ":"grant+jwt","crit":["b64"],"b64":false})";
  EXPECT_EQ(Refusal(ForgeEs256(kCrit, Payload(), key_)), "TOKEN_MALFORMED");
}

TEST_F(TokenTest, AnotherTypeIsRefused) {
  EXPECT_EQ(Refusal(ForgeEs256(R"({"alg":"ES256","kid":"key-1","typ":"JWT"})", Payload(), key_)), "TOKEN_MALFORMED");
  EXPECT_EQ(Refusal(ForgeEs256(R"({"alg":"ES256","kid":"key-1"})", Payload(), key_)), "TOKEN_MALFORMED");
}

TEST_F(TokenTest, DuplicateMembersAreRefused) {
  EXPECT_EQ(Refusal(ForgeEs256(kHeader, Payload(R"("aud":"prod",)"), key_)), "TOKEN_MALFORMED");
  EXPECT_EQ(Refusal(ForgeEs256(kHeader, Payload(R"("\u0061ud":"prod",)"), key_)), "TOKEN_MALFORMED");
  constexpr std::string_view kTwice = R"({"alg":"none","alg":"ES256","kid":"key-1","typ":"grant+jwt"})";
  EXPECT_EQ(Refusal(ForgeEs256(kTwice, Payload(), key_)), "TOKEN_MALFORMED");
}

TEST_F(TokenTest, MissingAndMistypedClaimsAreRefused) {
  const int64_t now = absl::ToUnixSeconds(clock_.Now());
  const std::vector<std::string> payloads = {
      "{}",
      "[]",
      "null",
      "\"text\"",
      fmt::format(
          R"({{"iss":"postern.example","aud":["demo"],"sub":"b","jti":"g","db":"d","do":[],"iat":{0},"exp":{0}}})",
          now + 9),
      fmt::format(
          R"({{"iss":"postern.example","aud":"demo","sub":"b","jti":"g","db":"d","do":"all","iat":{0},"exp":{0}}})",
          now + 9),
      fmt::format(
          R"({{"iss":"postern.example","aud":"demo","sub":"b","jti":"g","db":"d","do":[1],"iat":{0},"exp":{0}}})",
          now + 9),
      fmt::format(R"({{"iss":"postern.example","aud":"demo","sub":"b","jti":"g","db":"d","do":[],"iat":{0}}})", now),
      fmt::format(R"({{"iss":"postern.example","aud":"demo","sub":"b","jti":"g","db":"d","do":[],"exp":{0}}})",
                  now + 9),
      fmt::format(
          R"({{"iss":"postern.example","aud":"demo","sub":"b","jti":"g","db":"d","do":[],"iat":{0},"exp":"{0}"}})",
          now + 9),
      fmt::format(
          R"({{"iss":"postern.example","aud":"demo","sub":"b","jti":"g","db":"d","do":[],"iat":{0},"exp":1e999}})",
          now),
      fmt::format(
          R"({{"iss":"postern.example","aud":"demo","sub":"b","jti":"g","db":"d","do":[],"iat":{0},"exp":1e300}})",
          now),
  };
  for (const std::string& payload : payloads) {
    EXPECT_EQ(Refusal(ForgeEs256(kHeader, payload, key_)), "TOKEN_MALFORMED") << payload;
  }
}

TEST_F(TokenTest, OversizedIsRefusedBeforeItIsDecoded) {
  const std::string padding = fmt::format(R"("pad":"{}",)", std::string(700, 'x'));
  const std::string token = ForgeEs256(kHeader, Payload(padding), key_);
  ASSERT_GT(token.size(), kMaxTokenBytes);
  EXPECT_EQ(Refusal(token), "TOKEN_MALFORMED");
  EXPECT_EQ(Refusal(std::string(100'000'000, 'A')), "TOKEN_MALFORMED");
}

TEST_F(TokenTest, GarbageIsRefused) {
  for (const std::string_view garbage : {"", ".", "..", "...", "a.b.c", "a..c", "hunter2", "eyJ9.eyJ9.eyJ9", "{}.{}.{}",
                                         " e30.e30.AA", "e30.e30.AA\n", "e30=.e30=.AA==", "e30.e30.AA.AA"}) {
    EXPECT_EQ(Refusal(garbage), "TOKEN_MALFORMED") << garbage;
  }
  EXPECT_EQ(Refusal(std::string_view("e30.e30.\0AA", 11)), "TOKEN_MALFORMED");
}

TEST_F(TokenTest, ErrorsNeverQuoteTheToken) {
  const std::string token = *signer_->Sign(GoodClaims());
  const absl::Status status = verifier_->Verify(token, "prod", clock_).status();
  EXPECT_EQ(status.ToString().find(token.substr(token.size() - 20)), std::string::npos);
}

TEST_F(TokenTest, ClaimsThatDoNotFitAreNotSigned) {
  Claims claims = GoodClaims();
  for (int i = 0; i < 60; ++i) claims.objects.push_back(fmt::format("some_schema.some_table_{}", i));
  const absl::StatusOr<std::string> token = signer_->Sign(claims);
  EXPECT_EQ(token.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(token.status()), "TOKEN_TOO_LARGE");
}

TEST_F(TokenTest, ClaimsThatAreNotTextAreNotSigned) {
  Claims claims = GoodClaims();
  claims.groups = {"\xff\xfe"};
  EXPECT_EQ(ReasonOf(signer_->Sign(claims).status()), "TOKEN_CLAIMS_INVALID");
  claims = GoodClaims();
  claims.agent = "\xff";
  EXPECT_EQ(ReasonOf(signer_->Sign(claims).status()), "TOKEN_CLAIMS_INVALID");
}

TEST_F(TokenTest, OldAndNewKeyVerifySideBySide) {
  const crypto::EcPrivateKey next = *crypto::EcPrivateKey::Generate();
  const auto next_signer = *TokenSigner::FromPem("key-2", next.ToPem().Expose());
  verifier_ = *TokenVerifier::Create(std::string(kIssuer), {signer_->public_key(), next_signer->public_key()});
  EXPECT_EQ(Refusal(*signer_->Sign(GoodClaims())), "");
  EXPECT_EQ(Refusal(*next_signer->Sign(GoodClaims())), "");
}

TEST_F(TokenTest, KeysThatAreNotP256AreNotTaken) {
  EXPECT_EQ(ReasonOf(TokenVerifier::Create("i", {{"k", "not a key"}}).status()), "KEY_MALFORMED");
  EXPECT_EQ(ReasonOf(TokenVerifier::Create("i", {signer_->public_key(), signer_->public_key()}).status()),
            "KEY_DUPLICATE");
  EXPECT_EQ(ReasonOf(TokenSigner::FromPem("k", signer_->public_key().pem).status()), "KEY_MALFORMED");
}

}  // namespace
}  // namespace postern::token
