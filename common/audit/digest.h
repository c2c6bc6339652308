// SHA-256 for the audit log, where it is paid for once or twice per statement: a fixed-size result, several pieces
// hashed without joining them, and no context made per call. Elsewhere common/crypto/hash.h is the function to use.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace postern::audit {

inline constexpr size_t kDigestBytes = 32;
using Digest = std::array<uint8_t, kDigestBytes>;

// SHA-256 of the pieces one after the other. Ends the process if OpenSSL has no SHA-256 to give.
Digest Sha256(std::initializer_list<std::string_view> pieces);

inline std::string_view View(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

// nullopt unless `bytes` are 32.
std::optional<Digest> ToDigest(std::string_view bytes);

// Big-endian, as every integer in the audit formats.
void AppendBe16(std::string& out, uint16_t value);
void AppendBe32(std::string& out, uint32_t value);
void AppendBe64(std::string& out, uint64_t value);
// `bytes` has at least the width read.
uint16_t ReadBe16(const char* bytes);
uint32_t ReadBe32(const char* bytes);
uint64_t ReadBe64(const char* bytes);

}  // namespace postern::audit
