#include "common/base/errors.h"

#include "absl/strings/cord.h"
#include "common/base/strings.h"

namespace postern {
namespace {
constexpr std::string_view kReason = "postern/reason";
constexpr std::string_view kHint = "postern/hint";
constexpr std::string_view kMetadataPrefix = "postern/meta/";
}  // namespace

absl::Status Error(absl::StatusCode code, std::string_view reason, std::string_view message, std::string_view hint,
                   const std::map<std::string, std::string>& metadata) {
  absl::Status status(code, AbslView(message));
  status.SetPayload(AbslView(kReason), absl::Cord(AbslView(reason)));
  if (!hint.empty()) status.SetPayload(AbslView(kHint), absl::Cord(AbslView(hint)));
  for (const auto& [key, value] : metadata) status.SetPayload(std::string(kMetadataPrefix) + key, absl::Cord(value));
  return status;
}

ErrorDetails DetailsOf(const absl::Status& status) {
  ErrorDetails details;
  status.ForEachPayload([&details](absl::string_view absl_url, const absl::Cord& payload) {
    const std::string_view url = StdView(absl_url);
    if (url == kReason) {
      details.reason = std::string(payload);
    } else if (url == kHint) {
      details.hint = std::string(payload);
    } else if (url.starts_with(kMetadataPrefix)) {
      details.metadata[std::string(url.substr(kMetadataPrefix.size()))] = std::string(payload);
    }
  });
  return details;
}

std::string ReasonOf(const absl::Status& status) { return DetailsOf(status).reason; }

}  // namespace postern
