#include "common/net/join_line.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include <fmt/format.h>

#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/errors.h"
#include "common/base/strings.h"

namespace postern::net {
namespace {

constexpr std::string_view kTag = "postern-join-1";
constexpr std::string_view kPinPrefix = "sha256:";
constexpr size_t kPinCharacters = 43;
constexpr size_t kMinSecretCharacters = 22;  // 128 bits

absl::Status Malformed(std::string_view what) {
  return Error(absl::StatusCode::kInvalidArgument, "JOIN_LINE_MALFORMED", fmt::format("the join line {}", what),
               "paste the whole line that `postern sidecar invite` printed");
}

bool IsBase64Url(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

bool IsAddress(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  const std::string_view port = text.substr(colon + 1);
  int number = 0;
  auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  return error == std::errc() && end == port.data() + port.size() && number > 0 && number < 65536;
}

}  // namespace

std::string FormatJoinLine(const JoinLine& line) {
  return fmt::format("{},{},{},{}", kTag, line.address, line.ca_pin, line.secret);
}

absl::StatusOr<JoinLine> ParseJoinLine(std::string_view text) {
  const std::vector<std::string> parts = absl::StrSplit(absl::StripAsciiWhitespace(AbslView(text)), ',');
  if (parts.size() != 4) return Malformed(fmt::format("has {} parts, not 4", parts.size()));
  if (parts[0] != kTag) return Malformed(fmt::format("does not begin with {}", kTag));
  if (!IsAddress(parts[1])) return Malformed("has no HOST:PORT as its second part");
  const std::string_view pin = parts[2];
  if (!pin.starts_with(kPinPrefix) || pin.size() != kPinPrefix.size() + kPinCharacters ||
      !IsBase64Url(pin.substr(kPinPrefix.size()))) {
    return Malformed("has no sha256: pin as its third part");
  }
  if (parts[3].size() < kMinSecretCharacters || !IsBase64Url(parts[3])) return Malformed("has no secret at its end");
  return JoinLine{.address = parts[1], .ca_pin = parts[2], .secret = parts[3]};
}

}  // namespace postern::net
