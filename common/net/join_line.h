// The line that an operator carries from `postern sidecar invite` to `postern-sidecar join`.
//
//   postern-join-1,HOST:PORT,sha256:PIN,SECRET
//
// PIN is the base64url SHA-256 of the SubjectPublicKeyInfo of the control plane's CA, SECRET base64url of random bytes.
// Without white space or anything that a shell reads, so that it needs no quotes.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace postern::net {

struct JoinLine {
  // host:port, an IPv6 address in brackets.
  std::string address;
  // "sha256:" and 43 characters.
  std::string ca_pin;
  // Secret.
  std::string secret;
};

std::string FormatJoinLine(const JoinLine& line);

// White space around the line is ignored. INVALID_ARGUMENT/JOIN_LINE_MALFORMED says which part is wrong, never what the
// secret was.
absl::StatusOr<JoinLine> ParseJoinLine(std::string_view text);

}  // namespace postern::net
