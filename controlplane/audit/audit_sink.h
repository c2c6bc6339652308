// Where the control plane's own acts are recorded.
#pragma once

#include "absl/status/status.h"
#include "postern/v1/audit.pb.h"

namespace postern::audit {

// Thread-safe.
class AuditSink {
 public:
  virtual ~AuditSink() = default;

  // Appends `record` to the control plane's own chain and to the log. `time` is set if it is absent. Durable and part
  // of the Merkle tree once OK. An act whose record was not taken must not be done, or must be undone: the gate is
  // closed.
  //   UNAVAILABLE/STORE_UNAVAILABLE: the store did not take it; it may be tried again.
  virtual absl::Status Record(v1::AuditRecord record) = 0;
};

}  // namespace postern::audit
