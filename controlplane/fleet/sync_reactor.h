// One sidecar's Sync call: reads what the sidecar says, writes what waits in its outbox.
#pragma once

#include <functional>

#include <grpcpp/support/server_callback.h>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "controlplane/fleet/call_gate.h"
#include "controlplane/fleet/catalogs.h"
#include "controlplane/fleet/control_sources.h"
#include "controlplane/fleet/enrolment.h"
#include "controlplane/fleet/hub.h"
#include "controlplane/fleet/worker_pool.h"
#include "postern/v1/sidecar.pb.h"

namespace postern::fleet {

struct SyncDeps {
  struct Options {
    absl::Duration hello_deadline;
  };
  Options options;
  Hub& hub;
  FleetStore& store;
  SidecarBackend& backend;
  Catalogs& catalogs;
  const Clock& clock;
  CallGate& gate;
  WorkerPool& workers;
};

// Takes the call over; what it returns deletes itself when the call is done. `admit` is called once, on a worker.
grpc::ServerBidiReactor<v1::SyncRequest, v1::SyncResponse>* StartSync(
    const SyncDeps& deps, grpc::CallbackServerContext* context, std::function<absl::StatusOr<SidecarCaller>()> admit);

}  // namespace postern::fleet
