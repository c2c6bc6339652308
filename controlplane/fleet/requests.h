// What a sidecar asks for on behalf of its sessions. Each checks that the asking sidecar serves what it asks about, so
// that one that is taken over reaches no further than its own targets.
#pragma once

#include "absl/status/status.h"
#include "common/base/clock.h"
#include "controlplane/audit/audit_sink.h"
#include "controlplane/fleet/control_sources.h"
#include "controlplane/fleet/enrolment.h"
#include "postern/v1/approval.pb.h"
#include "postern/v1/sidecar.pb.h"

namespace postern::fleet {

struct RequestDeps {
  SidecarBackend& backend;
  audit::AuditSink& audit;
  const Clock& clock;
};

// Recorded (without the secret) before it is released.
//   PERMISSION_DENIED/TARGET_NOT_SERVED, FAILED_PRECONDITION/GRANT_NOT_ACTIVE.
absl::Status ReleaseCredential(const RequestDeps& deps, const SidecarCaller& caller,
                               const v1::ReleaseCredentialRequest& request, v1::ReleaseCredentialResponse* response);

// PERMISSION_DENIED/TARGET_NOT_SERVED, then what the approval room answers.
absl::Status RequestStatementApproval(const RequestDeps& deps, const SidecarCaller& caller,
                                      const v1::RequestStatementApprovalRequest& request, v1::Approval* response);

}  // namespace postern::fleet
