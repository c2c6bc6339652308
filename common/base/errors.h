// How errors carry a machine-readable reason, a hint and facts through absl::Status.
//
// A Postern error is an absl::Status with payloads. One function per kind of failure lives where the failure is decided
// (`error::ApprovalAlreadyDecided(id)` in the approval room); all of them build on Error() below. One function in
// controlplane/server turns them into grpc::Status, one in sidecar/session into ErrorResponse.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace postern {

struct ErrorDetails {
  // UPPER_SNAKE_CASE, stable for ever. Empty when the status carries none.
  std::string reason;
  // What a person should do next. One sentence; may be empty.
  std::string hint;
  // Facts the reason speaks of, e.g. {"approval": "apr_…"}. Never a secret or a masked value.
  std::map<std::string, std::string> metadata;
};

// Makes a status. `message` says what happened and why, in one line, without a trailing full stop.
absl::Status Error(absl::StatusCode code, std::string_view reason, std::string_view message, std::string_view hint = {},
                   const std::map<std::string, std::string>& metadata = {});

// The details of a status that Error() made; an empty reason otherwise.
ErrorDetails DetailsOf(const absl::Status& status);

// DetailsOf(status).reason.
std::string ReasonOf(const absl::Status& status);

}  // namespace postern
