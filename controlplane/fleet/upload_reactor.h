// One UploadAudit call: a batch in, an acknowledgement out after the commit, one at a time.
#pragma once

#include <functional>

#include <grpcpp/support/server_callback.h>

#include "absl/status/statusor.h"
#include "controlplane/fleet/call_gate.h"
#include "controlplane/fleet/control_sources.h"
#include "controlplane/fleet/enrolment.h"
#include "controlplane/fleet/worker_pool.h"
#include "postern/v1/sidecar.pb.h"

namespace postern::fleet {

struct UploadDeps {
  SidecarBackend& backend;
  CallGate& gate;
  WorkerPool& workers;
};

// Takes the call over; what it returns deletes itself when the call is done. `admit` is called on a worker for every
// batch, so that a sidecar that was revoked adds nothing more to the log.
grpc::ServerBidiReactor<v1::UploadAuditRequest, v1::UploadAuditResponse>* StartUpload(
    const UploadDeps& deps, grpc::CallbackServerContext* context, std::function<absl::StatusOr<SidecarCaller>()> admit);

}  // namespace postern::fleet
