// Becoming a sidecar of a control plane: once per installation, by the line that `postern sidecar invite` printed.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace postern::sidecar {

struct JoinOptions {
  // For each of the steps that wait for the network.
  absl::Duration timeout = absl::Seconds(15);
  // Replace an identity that is there already.
  bool replace = false;
};

// Makes a key that never leaves this machine, trades the secret for a certificate over TLS that the line's pin proves,
// and writes data_dir/identity.json. Blocks.
//   INVALID_ARGUMENT/JOIN_LINE_MALFORMED, FAILED_PRECONDITION/ALREADY_JOINED,
//   UNAVAILABLE/CONTROL_PLANE_UNREACHABLE, UNAUTHENTICATED/CA_PIN_MISMATCH,
//   UNAUTHENTICATED/JOIN_REFUSED (the secret is wrong, used or expired), UNAVAILABLE/FILE_NOT_WRITTEN (the invitation
//   is used up then).
absl::Status Join(std::string_view line, const std::string& data_dir, const JoinOptions& options = {});

}  // namespace postern::sidecar
