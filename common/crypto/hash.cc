#include "common/crypto/hash.h"

#include <cstdint>
#include <cstdlib>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace postern::crypto {

std::string Sha256(std::string_view bytes) {
  std::string digest(kSha256Bytes, '\0');
  // Fails only if the library cannot give SHA-256 at all; nothing here is safe to go on without it.
  if (EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()), nullptr, EVP_sha256(),
                 nullptr) != 1) {
    std::abort();
  }
  return digest;
}

std::string HmacSha256(const Secret& key, std::string_view message) {
  std::string mac(kSha256Bytes, '\0');
  unsigned length = 0;
  const std::string_view raw = key.Expose();
  // HMAC() takes a null key to mean "the key of before"; an empty key must be a key of no bytes.
  const void* const key_bytes = raw.empty() ? "" : static_cast<const void*>(raw.data());
  if (HMAC(EVP_sha256(), key_bytes, static_cast<int>(raw.size()),
           reinterpret_cast<const unsigned char*>(message.data()), message.size(),
           reinterpret_cast<unsigned char*>(mac.data()), &length) == nullptr) {
    std::abort();
  }
  return mac;
}

bool ConstantTimeEqual(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string HexEncode(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  hex.reserve(bytes.size() * 2);
  for (const char byte : bytes) {
    hex.push_back(kDigits[static_cast<uint8_t>(byte) >> 4]);
    hex.push_back(kDigits[static_cast<uint8_t>(byte) & 15]);
  }
  return hex;
}

}  // namespace postern::crypto
