// Tokens of identity providers: ID tokens (OpenID Connect Core 1.0 section 3.1.3.7) and workload tokens.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/token/jws.h"
#include "controlplane/identity/issuer_keys.h"
#include "postern/v1/identity.pb.h"

namespace postern::identity {

inline constexpr size_t kMaxBearerBytes = 16 * 1024;

// What a provider's token proves.
struct OidcIdentity {
  std::string id;
  // The provider names the workload itself (agent_id), rather than a claim.
  bool id_is_assigned = false;
  std::vector<std::string> groups;
};

// Whether `provider` is complete and sound. INVALID_ARGUMENT/PROVIDER_INVALID (or ISSUER_URL, JWKS_MALFORMED).
absl::Status CheckProvider(const v1::IdentityProvider& provider);

// Algorithms that tokens of `provider` may have.
std::vector<std::string> AlgorithmsOf(const v1::IdentityProvider& provider);

// Verifies signature, issuer, audience and times of `token`, with 60 s of skew.
//   UNAUTHENTICATED with TOKEN_ALGORITHM, TOKEN_UNKNOWN_KEY, TOKEN_SIGNATURE, TOKEN_WRONG_ISSUER, TOKEN_WRONG_AUDIENCE,
//   TOKEN_EXPIRED, TOKEN_NOT_YET_VALID, TOKEN_MALFORMED; UNAVAILABLE/ISSUER_UNAVAILABLE.
absl::Status VerifyOidcToken(std::string_view token, const token::UnverifiedJws& decoded,
                             const v1::IdentityProvider& provider, IssuerKeys& keys, absl::Time now);

// Whose the verified claims are, by the provider's mapping.
//   UNAUTHENTICATED with TOKEN_CLAIMS (a required claim is missing or differs, or the id claim is), EMAIL_NOT_VERIFIED.
absl::StatusOr<OidcIdentity> MapClaims(const json_t* claims, const v1::IdentityProvider& provider);

}  // namespace postern::identity
