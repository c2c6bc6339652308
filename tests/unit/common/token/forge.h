// Makes tokens that the library itself would never make.
#pragma once

#include <string>
#include <string_view>

#include "common/crypto/ec_key.h"

namespace postern::token {

// base64url(header).base64url(payload).signature, rightly signed with ES256 whatever the header says.
std::string ForgeEs256(std::string_view header, std::string_view payload, const crypto::EcPrivateKey& key);

// The same with HMAC-SHA-256 under `secret`.
std::string ForgeHs256(std::string_view header, std::string_view payload, std::string_view secret);

// The same with `signature` as it is.
std::string ForgeSignature(std::string_view header, std::string_view payload, std::string_view signature);

}  // namespace postern::token
