#include "common/token/assertion.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "common/base/errors.h"
#include "tests/unit/common/token/forge.h"

namespace postern::token {
namespace {

constexpr std::string_view kAudience = "postern.example";

class AssertionTest : public testing::Test {
 protected:
  AssertionTest() : key_(*crypto::EcPrivateKey::Generate()) {
    keys_ = {{key_.public_key().Thumbprint(), key_.public_key().ToPem()}};
  }

  std::string Make() { return *MakeAssertion("support-bot", key_, kAudience, clock_, Random::System()); }

  std::string Refusal(std::string_view token) const {
    return ReasonOf(VerifyAssertion(token, "support-bot", keys_, kAudience, clock_).status());
  }

  // A rightly signed assertion whose times are seconds from now.
  std::string Forge(std::string_view issuer, std::string_view subject, std::string_view audience, int64_t issued,
                    int64_t expires, std::string_view type = "account+jwt") const {
    const int64_t now = absl::ToUnixSeconds(clock_.Now());
    return ForgeEs256(fmt::format(R"({{"alg":"ES256","kid":"{}","typ":"{}"}})", keys_[0].id, type),
                      fmt::format(R"({{"iss":"{}","sub":"{}","aud":"{}","jti":"j","iat":{},"exp":{}}})", issuer,
                                  subject, audience, now + issued, now + expires),
                      key_);
  }

  FakeClock clock_;
  crypto::EcPrivateKey key_;
  std::vector<PublicKey> keys_;
};

TEST_F(AssertionTest, WhatWasMadeVerifies) {
  const std::string token = Make();
  EXPECT_EQ(*UnverifiedAccount(token), "support-bot");
  const absl::StatusOr<Assertion> assertion = VerifyAssertion(token, "support-bot", keys_, kAudience, clock_);
  ASSERT_TRUE(assertion.ok()) << assertion.status();
  EXPECT_EQ(assertion->account_id, "support-bot");
  EXPECT_EQ(assertion->key_id, keys_[0].id);
  EXPECT_EQ(assertion->expires_at, clock_.Now() + kAssertionLifetime);
}

TEST_F(AssertionTest, EachHasItsOwnId) {
  const absl::StatusOr<Assertion> a = VerifyAssertion(Make(), "support-bot", keys_, kAudience, clock_);
  const absl::StatusOr<Assertion> b = VerifyAssertion(Make(), "support-bot", keys_, kAudience, clock_);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_NE(a->id, b->id);
}

TEST_F(AssertionTest, ExpiresAtItsExpiryExactly) {
  const std::string token = Make();
  clock_.Advance(kAssertionLifetime - absl::Milliseconds(1));
  EXPECT_EQ(Refusal(token), "");
  clock_.Advance(absl::Milliseconds(1));
  EXPECT_EQ(Refusal(token), "TOKEN_EXPIRED");
}

TEST_F(AssertionTest, LivesForFiveMinutesAtMost) {
  EXPECT_EQ(Refusal(Forge("support-bot", "support-bot", kAudience, 0, 300)), "");
  EXPECT_EQ(Refusal(Forge("support-bot", "support-bot", kAudience, 0, 301)), "TOKEN_LIFETIME");
  // Not even for one whose clock is ahead.
  EXPECT_EQ(Refusal(Forge("support-bot", "support-bot", kAudience, 60, 360)), "");
  EXPECT_EQ(Refusal(Forge("support-bot", "support-bot", kAudience, 60, 361)), "TOKEN_LIFETIME");
  EXPECT_EQ(Refusal(Forge("support-bot", "support-bot", kAudience, 61, 300)), "TOKEN_NOT_YET_VALID");
}

TEST_F(AssertionTest, AnotherAudienceIsRefused) {
  EXPECT_EQ(Refusal(Forge("support-bot", "support-bot", "other", 0, 60)), "TOKEN_WRONG_AUDIENCE");
}

TEST_F(AssertionTest, IssuerAndSubjectMustBeTheAccount) {
  EXPECT_EQ(Refusal(Forge("support-bot", "admin", kAudience, 0, 60)), "TOKEN_MALFORMED");
  EXPECT_EQ(Refusal(Forge("admin", "admin", kAudience, 0, 60)), "TOKEN_WRONG_ISSUER");
}

TEST_F(AssertionTest, AnotherTypeIsRefused) {
  const std::string token = Forge("support-bot", "support-bot", kAudience, 0, 60, "grant+jwt");
  EXPECT_EQ(Refusal(token), "TOKEN_MALFORMED");
  EXPECT_EQ(ReasonOf(UnverifiedAccount(token).status()), "TOKEN_MALFORMED");
}

TEST_F(AssertionTest, AKeyThatTheAccountDoesNotHaveIsRefused) {
  const crypto::EcPrivateKey other = *crypto::EcPrivateKey::Generate();
  const std::string token = *MakeAssertion("support-bot", other, kAudience, clock_, Random::System());
  EXPECT_EQ(Refusal(token), "TOKEN_UNKNOWN_KEY");
  keys_[0].pem = other.public_key().ToPem();
  EXPECT_EQ(Refusal(Make()), "TOKEN_SIGNATURE");
}

TEST_F(AssertionTest, MissingClaimsAreRefused) {
  const std::string header = fmt::format(R"({{"alg":"ES256","kid":"{}","typ":"account+jwt"}})", keys_[0].id);
  const int64_t soon = absl::ToUnixSeconds(clock_.Now()) + 60;
  const std::string claims[] = {
      fmt::format(R"("sub":"support-bot","jti":"j","iat":{0},"exp":{0})", soon),
      fmt::format(R"("iss":"support-bot","jti":"j","iat":{0},"exp":{0})", soon),
      fmt::format(R"("iss":"support-bot","sub":"support-bot","iat":{0},"exp":{0})", soon),
      fmt::format(R"("iss":"support-bot","sub":"support-bot","jti":"","iat":{0},"exp":{0})", soon),
      fmt::format(R"("iss":"support-bot","sub":"support-bot","jti":"j","exp":{0})", soon),
      fmt::format(R"("iss":"support-bot","sub":"support-bot","jti":"j","iat":{0})", soon),
  };
  for (const std::string& each : claims) {
    EXPECT_EQ(Refusal(ForgeEs256(header, fmt::format(R"({{"aud":"{}",{}}})", kAudience, each), key_)),
              "TOKEN_MALFORMED")
        << each;
  }
}

}  // namespace
}  // namespace postern::token
