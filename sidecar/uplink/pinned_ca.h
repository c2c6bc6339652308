// Finds the control plane's CA by its pin, before anything else is known of it.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace postern::sidecar {

// Asks the server at `address` (host:port) for its certificate chain and returns the PEM of the certificate whose pin
// (crypto::CertificatePin) is `pin`. Nothing is verified but that: whoever uses the PEM as its only root then verifies
// the server in earnest. Blocks, at most about `timeout`.
//   UNAVAILABLE/CONTROL_PLANE_UNREACHABLE; UNAUTHENTICATED/CA_PIN_MISMATCH: another control plane, or a man in the
//   middle.
absl::StatusOr<std::string> FetchPinnedCa(const std::string& address, const std::string& pin, absl::Duration timeout);

}  // namespace postern::sidecar
