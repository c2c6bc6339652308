#include "common/crypto/base64.h"

#include <array>
#include <cstdint>

#include "common/base/errors.h"

namespace postern::crypto {
namespace {

constexpr std::string_view kStandard = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kUrlSafe = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

using Table = std::array<int8_t, 256>;

constexpr Table Invert(std::string_view alphabet) {
  Table table{};
  for (int8_t& entry : table) entry = -1;
  for (size_t i = 0; i < alphabet.size(); ++i) table[static_cast<uint8_t>(alphabet[i])] = static_cast<int8_t>(i);
  return table;
}

constexpr Table kStandardValues = Invert(kStandard);
constexpr Table kUrlSafeValues = Invert(kUrlSafe);

std::string Encode(std::string_view bytes, std::string_view alphabet) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  uint32_t window = 0;
  int bits = 0;
  for (const char byte : bytes) {
    window = (window << 8) | static_cast<uint8_t>(byte);
    for (bits += 8; bits >= 6;) {
      bits -= 6;
      text.push_back(alphabet[(window >> bits) & 63]);
    }
  }
  if (bits > 0) text.push_back(alphabet[(window << (6 - bits)) & 63]);
  return text;
}

absl::Status Malformed() {
  return Error(absl::StatusCode::kInvalidArgument, "BASE64_MALFORMED", "text is not base 64");
}

absl::StatusOr<std::string> Decode(std::string_view text, const Table& values) {
  if (text.size() % 4 == 1) return Malformed();
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3 + 2);
  uint32_t window = 0;
  int bits = 0;
  for (const char character : text) {
    const int value = values[static_cast<uint8_t>(character)];
    if (value < 0) return Malformed();
    window = (window << 6) | static_cast<uint32_t>(value);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes.push_back(static_cast<char>((window >> bits) & 0xff));
    }
  }
  // Bits that make no whole byte must be zero, or two spellings would decode alike.
  if ((window & ((1u << bits) - 1)) != 0) return Malformed();
  return bytes;
}

}  // namespace

std::string Base64Encode(std::string_view bytes) {
  std::string text = Encode(bytes, kStandard);
  text.append((4 - text.size() % 4) % 4, '=');
  return text;
}

absl::StatusOr<std::string> Base64Decode(std::string_view text) {
  if (text.size() % 4 != 0) return Malformed();
  for (int padding = 0; padding < 2 && text.ends_with('='); ++padding) text.remove_suffix(1);
  return Decode(text, kStandardValues);
}

std::string Base64UrlEncode(std::string_view bytes) { return Encode(bytes, kUrlSafe); }

absl::StatusOr<std::string> Base64UrlDecode(std::string_view text) { return Decode(text, kUrlSafeValues); }

}  // namespace postern::crypto
