// Grant tokens: ES256 JWTs (RFC 7519, RFC 7518) that a Postgres client sends as its password. At most 1,024 bytes.
//
// The control plane signs, sidecars verify offline with public keys that the sync stream brought.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"

namespace postern::token {

inline constexpr size_t kMaxTokenBytes = 1024;
inline constexpr absl::Duration kClockSkew = absl::Seconds(60);

// What a token says. JWT claim names stand behind each.
struct Claims {
  std::string issuer;                // iss: the control plane's origin
  std::string target;                // aud
  std::string agent;                 // sub
  std::string on_behalf_of;          // obo, absent when empty
  std::vector<std::string> groups;   // grp
  std::string grant_id;              // jti
  std::string database;              // db
  std::vector<std::string> verbs;    // do
  std::vector<std::string> objects;  // obj, absent when empty
  absl::Time issued_at;              // iat
  absl::Time expires_at;             // exp
};

class TokenVerifier;

// A grant whose token was verified: signature, algorithm, issuer, audience, expiry, size. Only TokenVerifier makes one,
// so holding it is the evidence.
class VerifiedGrant {
 public:
  const Claims& claims() const { return claims_; }

 private:
  friend class TokenVerifier;
  explicit VerifiedGrant(Claims claims) : claims_(std::move(claims)) {}
  Claims claims_;
};

struct PublicKey {
  std::string id;   // kid
  std::string pem;  // SubjectPublicKeyInfo, P-256
};

// Immutable; shared between threads. A change of keys makes a new one.
class TokenVerifier {
 public:
  // INVALID_ARGUMENT if a key does not parse or is not P-256.
  static absl::StatusOr<std::shared_ptr<const TokenVerifier>> Create(std::string issuer,
                                                                     const std::vector<PublicKey>& keys);
  ~TokenVerifier();

  // Verifies `token` for `target`, at `clock`'s time. A token is expired at its exp exactly; iat may be kClockSkew
  // ahead.
  //   UNAUTHENTICATED with reason TOKEN_MALFORMED, TOKEN_SIGNATURE, TOKEN_WRONG_ISSUER, TOKEN_WRONG_TARGET,
  //   TOKEN_EXPIRED, TOKEN_NOT_YET_VALID, TOKEN_UNKNOWN_KEY. Revocation is the caller's to check.
  // `target` empty: any audience; the caller must then use claims().target.
  absl::StatusOr<VerifiedGrant> Verify(std::string_view token, std::string_view target, const Clock& clock) const;

 private:
  struct Impl;
  explicit TokenVerifier(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A private P-256 signing key. Thread-safe.
class TokenSigner {
 public:
  virtual ~TokenSigner() = default;
  // RESOURCE_EXHAUSTED/TOKEN_TOO_LARGE if the claims do not fit kMaxTokenBytes.
  virtual absl::StatusOr<std::string> Sign(const Claims& claims) const = 0;
  virtual PublicKey public_key() const = 0;

  // From a PKCS#8 PEM private key. `key_id` becomes kid.
  static absl::StatusOr<std::unique_ptr<TokenSigner>> FromPem(std::string key_id, std::string_view private_key_pem);
};

}  // namespace postern::token
