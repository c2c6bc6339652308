// Workload tokens: plain signed JWTs (RFC 7519) of an issuer of one's own, for CI systems and schedulers without an
// OIDC provider. The control plane trusts the issuer through an identity provider with a fixed key set (static_jwks).
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/crypto/ec_key.h"

namespace postern::token {

// An ES256 token with iss, sub, aud, iat, exp = iat + `lifetime` and a random jti.
absl::StatusOr<std::string> MakeWorkloadToken(const crypto::EcPrivateKey& key, std::string_view issuer,
                                              std::string_view subject, std::string_view audience,
                                              absl::Duration lifetime, const Clock& clock, Random& random);

// The JWK Set (RFC 7517) of one key, with kid, alg and use.
std::string WorkloadJwks(const crypto::EcPublicKey& key);

}  // namespace postern::token
