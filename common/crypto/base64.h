// Base 64 (RFC 4648), strict: what decodes has exactly one spelling, so no two texts stand for the same bytes.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace postern::crypto {

// Section 4: the standard alphabet, padded.
std::string Base64Encode(std::string_view bytes);
// INVALID_ARGUMENT for foreign characters, white space, missing padding and non-zero trailing bits.
absl::StatusOr<std::string> Base64Decode(std::string_view text);

// Section 5: the URL-safe alphabet, without padding, as JOSE uses it.
std::string Base64UrlEncode(std::string_view bytes);
absl::StatusOr<std::string> Base64UrlDecode(std::string_view text);

}  // namespace postern::crypto
