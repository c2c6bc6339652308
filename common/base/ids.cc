#include "common/base/ids.h"

#include <array>
#include <cctype>
#include <cstdint>

#include "absl/strings/str_format.h"

namespace postern {
namespace {
constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr size_t kUlidLength = 26;
}  // namespace

std::string NewId(std::string_view prefix, absl::Time now, Random& random) {
  std::array<uint8_t, 16> bytes{};
  random.Fill(std::span(bytes).subspan(6));
  uint64_t millis = static_cast<uint64_t>(absl::ToUnixMillis(now));
  for (int i = 5; i >= 0; --i, millis >>= 8) bytes[static_cast<size_t>(i)] = static_cast<uint8_t>(millis & 0xff);

  std::string id(prefix);
  id.resize(prefix.size() + kUlidLength);
  // 128 bits as 26 digits of 5 bits, most significant first; the first digit holds the top 3 bits.
  for (size_t digit = 0; digit < kUlidLength; ++digit) {
    unsigned value = 0;
    for (size_t bit = 0; bit < 5; ++bit) {
      const int position = static_cast<int>(digit * 5 + bit) - 2;
      unsigned b = 0;
      if (position >= 0) {
        const size_t p = static_cast<size_t>(position);
        b = (bytes[p / 8] >> (7 - p % 8)) & 1u;
      }
      value = (value << 1) | b;
    }
    id[prefix.size() + digit] = kAlphabet[value];
  }
  return id;
}

bool IsId(std::string_view id, std::string_view prefix) {
  if (!id.starts_with(prefix) || id.size() != prefix.size() + kUlidLength) return false;
  return id.substr(prefix.size()).find_first_not_of(kAlphabet) == std::string_view::npos;
}

std::string NewUuid(Random& random) {
  std::array<uint8_t, 16> b{};
  random.Fill(b);
  b[6] = static_cast<uint8_t>((b[6] & 0x0f) | 0x40);
  b[8] = static_cast<uint8_t>((b[8] & 0x3f) | 0x80);
  return absl::StrFormat("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
                         b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

bool IsUuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : !std::isxdigit(static_cast<unsigned char>(text[i]))) return false;
  }
  return true;
}

}  // namespace postern
