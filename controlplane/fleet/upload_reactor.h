// One UploadAudit call: a batch in, an acknowledgement out after the commit, one at a time.
#pragma once

#include <functional>
#include <set>

#include <grpcpp/support/server_callback.h>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "controlplane/fleet/call_gate.h"
#include "controlplane/fleet/control_sources.h"
#include "controlplane/fleet/enrolment.h"
#include "controlplane/fleet/worker_pool.h"
#include "postern/v1/sidecar.pb.h"

namespace postern::fleet {

// The uploads that are open. They have no natural end, so a server that stops has to end them. Thread-safe.
class OpenUploads {
 public:
  // False: CancelAll() was called; the upload must not begin.
  bool Add(grpc::CallbackServerContext* context);
  void Remove(grpc::CallbackServerContext* context);
  // From here on there are none.
  void CancelAll();

 private:
  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::set<grpc::CallbackServerContext*> contexts_ ABSL_GUARDED_BY(mu_);
};

struct UploadDeps {
  SidecarBackend& backend;
  CallGate& gate;
  WorkerPool& workers;
  OpenUploads& open;
};

// Takes the call over; what it returns deletes itself when the call is done. `admit` is called on a worker for every
// batch, so that a sidecar that was revoked adds nothing more to the log.
grpc::ServerBidiReactor<v1::UploadAuditRequest, v1::UploadAuditResponse>* StartUpload(
    const UploadDeps& deps, grpc::CallbackServerContext* context, std::function<absl::StatusOr<SidecarCaller>()> admit);

}  // namespace postern::fleet
