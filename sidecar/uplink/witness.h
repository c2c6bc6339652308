// Remembers the last checkpoint of the central audit log that was seen, across restarts. A log that only ever grows can
// show neither a smaller tree later nor another root for the same size; who rolls it back has to fool every sidecar
// too.
//
// Signatures are checked where the audit keys are known (`postern audit verify`); what is remembered here is compared,
// not trusted.
#pragma once

#include <string>

#include "postern/v1/audit.pb.h"
#include "sidecar/uplink/alarm.h"

namespace postern::sidecar {

inline constexpr char kCheckpointFile[] = "checkpoint.pb";

// Not thread-safe.
class Witness {
 public:
  // Reads what an earlier run saw. A file that is missing, empty or damaged counts as nothing seen; damage is alarmed.
  Witness(std::string data_dir, AlarmSink alarm);

  // Raises CHECKPOINT_ROLLED_BACK or CHECKPOINT_FORKED, once per offending checkpoint, and then keeps the old one.
  void See(const v1::Checkpoint& checkpoint);

  const v1::Checkpoint& last() const { return last_; }

 private:
  const std::string data_dir_;
  const AlarmSink alarm_;
  v1::Checkpoint last_;
  // Root and size of the last checkpoint that was alarmed.
  v1::Checkpoint offender_;
};

}  // namespace postern::sidecar
