#include "tests/unit/common/token/forge.h"

#include <openssl/ecdsa.h>

#include "common/crypto/base64.h"
#include "common/crypto/hash.h"
#include "common/crypto/openssl_ptr.h"

namespace postern::token {
namespace {

using EcdsaSigPtr = crypto::OpenSslPtr<ECDSA_SIG, ECDSA_SIG_free>;

std::string SigningInput(std::string_view header, std::string_view payload) {
  return crypto::Base64UrlEncode(header) + "." + crypto::Base64UrlEncode(payload);
}

// JOSE wants r and s as 32 bytes each (RFC 7518 section 3.4), OpenSSL speaks DER.
std::string RawSignature(std::string_view der) {
  const auto* cursor = reinterpret_cast<const unsigned char*>(der.data());
  const EcdsaSigPtr signature(d2i_ECDSA_SIG(nullptr, &cursor, static_cast<long>(der.size())));
  std::string raw(64, '\0');
  auto* out = reinterpret_cast<unsigned char*>(raw.data());
  BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), out, 32);
  BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), out + 32, 32);
  return raw;
}

}  // namespace

std::string ForgeEs256(std::string_view header, std::string_view payload, const crypto::EcPrivateKey& key) {
  const std::string input = SigningInput(header, payload);
  return input + "." + crypto::Base64UrlEncode(RawSignature(*key.Sign(input)));
}

std::string ForgeHs256(std::string_view header, std::string_view payload, std::string_view secret) {
  const std::string input = SigningInput(header, payload);
  return input + "." + crypto::Base64UrlEncode(crypto::HmacSha256(crypto::Secret(secret), input));
}

std::string ForgeSignature(std::string_view header, std::string_view payload, std::string_view signature) {
  return SigningInput(header, payload) + "." + crypto::Base64UrlEncode(signature);
}

}  // namespace postern::token
