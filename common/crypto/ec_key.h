// P-256 keys: the only kind that Postern makes, for tokens, assertions, checkpoints and certificates.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/crypto/secret.h"

struct evp_pkey_st;

namespace postern::crypto {

// A point on P-256. Immutable, cheap to copy, thread-safe.
class EcPublicKey {
 public:
  // From a SubjectPublicKeyInfo PEM. INVALID_ARGUMENT/KEY_MALFORMED if it does not parse, is not P-256, spells its
  // curve out as explicit parameters, or is followed by anything but white space.
  static absl::StatusOr<EcPublicKey> FromPem(std::string_view pem);
  // The same from DER.
  static absl::StatusOr<EcPublicKey> FromDer(std::string_view spki_der);
  // Shares `key` (a reference is taken). Same errors.
  static absl::StatusOr<EcPublicKey> FromEvp(evp_pkey_st* key);

  std::string ToPem() const;
  std::string ToDer() const;

  // Affine coordinates, 32 bytes each, big-endian.
  std::string x() const;
  std::string y() const;

  // JWK (RFC 7517) with the required members only, in the order of RFC 7638: {"crv":…,"kty":…,"x":…,"y":…}.
  std::string ToJwk() const;
  // RFC 7638: base64url of SHA-256 over ToJwk(). Serves as key id everywhere.
  std::string Thumbprint() const;

  // Checks a DER signature (ECDSA with SHA-256, RFC 3279 section 2.2.3). UNAUTHENTICATED/SIGNATURE_INVALID.
  absl::Status Verify(std::string_view message, std::string_view signature_der) const;

  evp_pkey_st* evp() const { return key_.get(); }

 private:
  explicit EcPublicKey(std::shared_ptr<evp_pkey_st> key) : key_(std::move(key)) {}
  std::shared_ptr<evp_pkey_st> key_;
};

// Immutable, cheap to copy, thread-safe. OpenSSL wipes the scalar when the last copy goes.
class EcPrivateKey {
 public:
  // A new key from OpenSSL's generator.
  static absl::StatusOr<EcPrivateKey> Generate();
  // From an unencrypted PKCS#8 (or SEC 1) PEM. INVALID_ARGUMENT/KEY_MALFORMED as for public keys.
  static absl::StatusOr<EcPrivateKey> FromPem(std::string_view pem);

  // PKCS#8, unencrypted.
  Secret ToPem() const;
  // The private scalar, 32 bytes, big-endian.
  Secret d() const;
  EcPublicKey public_key() const;

  // ECDSA with SHA-256, DER. INTERNAL if OpenSSL fails.
  absl::StatusOr<std::string> Sign(std::string_view message) const;

  evp_pkey_st* evp() const { return key_.get(); }

 private:
  explicit EcPrivateKey(std::shared_ptr<evp_pkey_st> key) : key_(std::move(key)) {}
  std::shared_ptr<evp_pkey_st> key_;
};

}  // namespace postern::crypto
