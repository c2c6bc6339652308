// Where the control plane writes down its own acts.
#pragma once

#include "absl/status/status.h"
#include "postern/v1/audit.pb.h"

namespace postern::audit {

// Thread-safe.
class AuditSink {
 public:
  virtual ~AuditSink() = default;

  // Appends `record` to the control plane's own chain. Durable once OK is returned. After an error the caller must not
  // go on with what the record is about. An unset `time` is filled in.
  virtual absl::Status Record(v1::AuditRecord record) = 0;
};

}  // namespace postern::audit
