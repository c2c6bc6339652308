// Account assertions: a JWT with which an account proves itself by its own key (private_key_jwt, RFC 7523 section 3).
// iss = sub = the account's id, aud = the control plane's origin, a jti that is used once, and minutes to live.
//
// The CLI makes one for each RPC; the control plane finds the account by UnverifiedAccount(), verifies, and remembers
// the jti until the assertion expires.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/crypto/ec_key.h"
#include "common/token/token.h"

namespace postern::token {

inline constexpr size_t kMaxAssertionBytes = 1024;
// Their `typ`, by which they are told from other bearer tokens.
inline constexpr std::string_view kAssertionType = "account+jwt";
// The furthest that an assertion's exp may be away.
inline constexpr absl::Duration kMaxAssertionLifetime = absl::Minutes(5);
// What MakeAssertion() gives: enough for one call and a slow clock.
inline constexpr absl::Duration kAssertionLifetime = absl::Minutes(2);

struct Assertion {
  std::string account_id;  // iss and sub
  std::string key_id;      // kid: the RFC 7638 thumbprint of the key
  std::string id;          // jti
  absl::Time issued_at;    // iat
  absl::Time expires_at;   // exp
};

// An assertion of `account_id` for `audience`, issued now.
absl::StatusOr<std::string> MakeAssertion(std::string_view account_id, const crypto::EcPrivateKey& key,
                                          std::string_view audience, const Clock& clock, Random& random);

// The account that `token` says it is of: for looking up its keys, and for nothing else.
// UNAUTHENTICATED/TOKEN_MALFORMED, also if the token is not an assertion by its `typ`.
absl::StatusOr<std::string> UnverifiedAccount(std::string_view token);

// Verifies `token` as one of `account_id` by one of `keys` (those that the account has and that have not expired).
//   UNAUTHENTICATED with TOKEN_MALFORMED, TOKEN_UNKNOWN_KEY, TOKEN_SIGNATURE, TOKEN_WRONG_ISSUER, TOKEN_WRONG_AUDIENCE,
//   TOKEN_EXPIRED (at exp exactly), TOKEN_NOT_YET_VALID (iat more than kClockSkew ahead), TOKEN_LIFETIME (exp more than
//   kMaxAssertionLifetime and kClockSkew ahead, or that far after iat). A jti seen before is the caller's to refuse.
absl::StatusOr<Assertion> VerifyAssertion(std::string_view token, std::string_view account_id,
                                          const std::vector<PublicKey>& keys, std::string_view audience,
                                          const Clock& clock);

}  // namespace postern::token
