// Compact JSON Web Signatures (RFC 7515) over cjose, read with suspicion (RFC 8725): the size is capped before anything
// is decoded, the algorithm belongs to the key and not to the token, and `crit` is refused.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/crypto/ec_key.h"
#include "common/token/json.h"

struct _cjose_jwk_int;

namespace postern::token {

// A key and the one algorithm that it is for. Immutable; copies share the key; thread-safe.
class JwsKey {
 public:
  // ES256, from a P-256 key.
  static absl::StatusOr<JwsKey> FromPublicKey(std::string id, const crypto::EcPublicKey& key);
  static absl::StatusOr<JwsKey> FromPrivateKey(std::string id, const crypto::EcPrivateKey& key);
  // A public key of a JWK Set, as `algorithm`: RS256, PS256 (RSA of 2048 to 8192 bits), ES256 (P-256) or ES384 (P-384).
  // INVALID_ARGUMENT/KEY_MALFORMED for anything else, private members and symmetric keys included.
  static absl::StatusOr<JwsKey> FromJwk(const json_t* jwk, std::string_view algorithm);

  const std::string& id() const { return id_; }
  const std::string& algorithm() const { return algorithm_; }
  _cjose_jwk_int* jwk() const { return jwk_.get(); }

 private:
  JwsKey(std::string id, std::string algorithm, std::shared_ptr<_cjose_jwk_int> jwk)
      : id_(std::move(id)), algorithm_(std::move(algorithm)), jwk_(std::move(jwk)) {}
  std::string id_;
  std::string algorithm_;
  std::shared_ptr<_cjose_jwk_int> jwk_;
};

// What an unverified token says of itself. For choosing a key, and for nothing else.
struct UnverifiedJws {
  std::string algorithm;  // alg
  std::string key_id;     // kid; may be empty
  std::string type;       // typ; may be empty
  JsonPtr claims;         // the payload
};

// Splits and decodes. UNAUTHENTICATED/TOKEN_MALFORMED if `token` is longer than `max_bytes`, is not three strict
// base64url parts, if header or payload is not a JSON object without duplicate members, or if the header has `crit` or
// no `alg`.
absl::StatusOr<UnverifiedJws> DecodeJws(std::string_view token, size_t max_bytes);

// Checks the signature of a token that DecodeJws() has read. UNAUTHENTICATED/TOKEN_SIGNATURE if the token's algorithm
// is not the key's or the signature does not match.
absl::Status VerifyJws(std::string_view token, const UnverifiedJws& decoded, const JwsKey& key);

// Signs `claims` with header {"alg", "kid", "typ"}. INTERNAL if the library fails.
absl::StatusOr<std::string> SignJws(const json_t* claims, std::string_view type, const JwsKey& key);

}  // namespace postern::token
