// What was answered to a request_id, so that a repeated request is answered again and not done again.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace postern::server {

inline constexpr absl::Duration kRememberFor = absl::Hours(24);

// Thread-safe.
class RequestMemory {
 public:
  struct Key {
    std::string caller;
    std::string method;
    std::string request_id;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  struct Answer {
    // Of the request, without its secrets: the same request_id with other contents is a mistake.
    std::string request_digest;
    // Serialized response message.
    std::string response;
  };

  virtual ~RequestMemory() = default;
  // nullopt if there is none, or it is older than kRememberFor.
  virtual absl::StatusOr<std::optional<Answer>> Find(const Key& key, absl::Time now) const = 0;
  // Also forgets what is too old.
  virtual absl::Status Save(const Key& key, const Answer& answer, absl::Time now) = 0;
};

}  // namespace postern::server
