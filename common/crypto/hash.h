// Digests, keyed digests and comparison without a timing tell.
#pragma once

#include <string>
#include <string_view>

#include "common/crypto/secret.h"

namespace postern::crypto {

inline constexpr size_t kSha256Bytes = 32;

// SHA-256 (FIPS 180-4): 32 raw bytes.
std::string Sha256(std::string_view bytes);

// HMAC-SHA-256 (RFC 2104): 32 raw bytes.
std::string HmacSha256(const Secret& key, std::string_view message);

// Whether both are equal, in time that depends on their lengths only.
bool ConstantTimeEqual(std::string_view a, std::string_view b);

// Lower-case hexadecimal.
std::string HexEncode(std::string_view bytes);

}  // namespace postern::crypto
