// Failures that this room names.
#pragma once

#include "absl/status/status.h"
#include "common/base/errors.h"

namespace postern::fleet::error {

inline absl::Status SidecarRevoked() {
  return Error(absl::StatusCode::kPermissionDenied, "SIDECAR_REVOKED", "this sidecar was revoked",
               "invite it again with `postern sidecar invite`");
}

// All failures of a join look like this one, so that nobody learns which secrets exist.
inline absl::Status JoinRefused() {
  return Error(absl::StatusCode::kUnauthenticated, "JOIN_REFUSED", "the join secret is wrong, was used, or has expired",
               "ask for a new join line with `postern sidecar invite`");
}

inline absl::Status CertificateUnknown() {
  return Error(absl::StatusCode::kUnauthenticated, "CERTIFICATE_UNKNOWN",
               "the client certificate is not one that this control plane has on record", "join again");
}

inline absl::Status CloneSuspected() {
  return Error(absl::StatusCode::kPermissionDenied, "SIDECAR_CLONED",
               "this sidecar's certificate was renewed elsewhere, so two hold its key; it is revoked now",
               "find out who copied its data directory, then invite it again");
}

inline absl::Status NotYourTarget() {
  return Error(absl::StatusCode::kPermissionDenied, "TARGET_NOT_SERVED", "this sidecar does not serve the target",
               "invite a sidecar for it with `postern sidecar invite`");
}

inline absl::Status GrantNotActive() {
  return Error(absl::StatusCode::kFailedPrecondition, "GRANT_NOT_ACTIVE",
               "the grant is not active, or is not for this target and database", "ask for a new token");
}

}  // namespace postern::fleet::error
