#include "sidecar/mask/text_masks.h"

#include <algorithm>
#include <cctype>

#include "common/policy/detectors.h"

namespace postern::mask {
namespace {

constexpr size_t kLast4Shown = 4;
constexpr int kLast4Least = 8;
constexpr int kPartialLeast = 4;
constexpr size_t kLongestHost = 253;

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// Length of the UTF-8 sequence at the start of `text`, 0 if it is malformed (overlong, surrogate, beyond U+10FFFF).
size_t SequenceLength(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  size_t length = 0;
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) length = 2;
  if (lead >= 0xe0 && lead <= 0xef) length = 3;
  if (lead >= 0xf0 && lead <= 0xf4) length = 4;
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if (!IsContinuation(text[i])) return 0;
  }
  const auto second = static_cast<unsigned char>(text[1]);
  if (lead == 0xe0 && second < 0xa0) return 0;
  if (lead == 0xed && second > 0x9f) return 0;
  if (lead == 0xf0 && second < 0x90) return 0;
  if (lead == 0xf4 && second > 0x8f) return 0;
  return length;
}

// The last `count` characters of valid UTF-8 that has at least as many.
std::string_view LastCharacters(std::string_view text, size_t count) {
  size_t at = text.size();
  while (count > 0 && at > 0) {
    --at;
    if (!IsContinuation(text[at])) --count;
  }
  return text.substr(at);
}

bool IsHostName(std::string_view host) {
  if (host.empty() || host.size() > kLongestHost) return false;
  return std::all_of(host.begin(), host.end(), [](char c) {
    const auto u = static_cast<unsigned char>(c);
    return (u < 0x80 && std::isalnum(u) != 0) || c == '.' || c == '-';
  });
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.remove_suffix(1);
  return text;
}

bool IsLowerHex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsHashText(std::string_view text) {
  return text.size() == 2 + kHashCharacters && text.starts_with("h_") && IsLowerHex(text.substr(2));
}

bool IsMaskUuid(std::string_view text) {
  if (text.size() == kRedactedUuidBinary.size()) {
    return text.starts_with("mask") && (text[6] & 0xf0) == (0x80 & 0xf0) && IsContinuation(text[8]);
  }
  if (text.size() != kRedactedUuid.size()) return false;
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower.starts_with("6d61736b-") && lower[14] == '8';
}

}  // namespace

int CountCharacters(std::string_view text) {
  int count = 0;
  while (!text.empty()) {
    const size_t length = SequenceLength(text);
    if (length == 0) return -1;
    text.remove_prefix(length);
    ++count;
  }
  return count;
}

void AppendTextMask(v1::MaskStrategy strategy, std::string_view value, std::string* out) {
  const int count = CountCharacters(value);
  if (strategy == v1::MASK_STRATEGY_LAST4) {
    out->append("****");
    if (count >= kLast4Least) out->append(LastCharacters(value, kLast4Shown));
    return;
  }
  if (strategy == v1::MASK_STRATEGY_PARTIAL) {
    const bool shown = count >= kPartialLeast;
    if (shown) out->append(value.substr(0, SequenceLength(value)));
    out->append("***");
    if (shown) out->append(LastCharacters(value, 1));
    return;
  }
  if (strategy == v1::MASK_STRATEGY_EMAIL_DOMAIN) {
    const size_t at = value.rfind('@');
    if (at != std::string_view::npos && at > 0 && IsHostName(value.substr(at + 1))) {
      out->append("***@").append(value.substr(at + 1));
      return;
    }
  }
  out->append(kRedacted);
}

constexpr std::string_view kDetectedEnd = " redacted]";

void AppendDetected(std::string_view detector, std::string* out) {
  out->append("[").append(detector).append(kDetectedEnd);
}

// In free text, so that it is looked for anywhere.
static bool HoldsDetected(std::string_view value) {
  for (size_t at = value.find(kDetectedEnd); at != std::string_view::npos; at = value.find(kDetectedEnd, at + 1)) {
    const size_t open = value.rfind('[', at);
    if (open != std::string_view::npos && policy::DetectorFromName(value.substr(open + 1, at - open - 1))) return true;
  }
  return false;
}

bool IsMaskText(std::string_view value) {
  if (HoldsDetected(value)) return true;
  if (IsMaskUuid(value)) return true;
  const std::string_view text = Trim(value);
  if (text == kRedacted || text == kRedactedBytea || text == kRedactedJson || text == kRedactedJsonb ||
      text == kRedactedXml || text.starts_with("***@") || IsHashText(text)) {
    return true;
  }
  // Stars of LAST4 and PARTIAL, alone or with exactly what these leave.
  if (text == "***" || text == "****") return true;
  if (text.starts_with("****")) return CountCharacters(text.substr(4)) == static_cast<int>(kLast4Shown);
  const size_t stars = text.find("***");
  if (stars == std::string_view::npos || stars == 0) return false;
  return CountCharacters(text.substr(0, stars)) == 1 && CountCharacters(text.substr(stars + 3)) == 1;
}

}  // namespace postern::mask
