#include "sidecar/uplink/witness.h"

#include <fstream>
#include <sstream>
#include <utility>

#include <fmt/format.h>

#include "sidecar/uplink/identity_file.h"

namespace postern::sidecar {

Witness::Witness(std::string data_dir, AlarmSink alarm) : data_dir_(std::move(data_dir)), alarm_(std::move(alarm)) {
  std::ifstream file(fmt::format("{}/{}", data_dir_, kCheckpointFile), std::ios::binary);
  std::stringstream bytes;
  bytes << file.rdbuf();
  if (!last_.ParseFromString(bytes.str())) {
    last_.Clear();
    alarm_("CHECKPOINT_DAMAGED", "the remembered checkpoint of the audit log does not parse; starting without it");
  }
}

void Witness::See(const v1::Checkpoint& checkpoint) {
  if (checkpoint.tree_size() == last_.tree_size() && checkpoint.root_hash() == last_.root_hash()) return;
  const bool first = last_.root_hash().empty();
  const bool smaller = checkpoint.tree_size() < last_.tree_size();
  if (!first && (smaller || checkpoint.tree_size() == last_.tree_size())) {
    if (offender_.tree_size() == checkpoint.tree_size() && offender_.root_hash() == checkpoint.root_hash()) return;
    offender_ = checkpoint;
    if (smaller) {
      alarm_("CHECKPOINT_ROLLED_BACK", fmt::format("the central audit log has {} records now and had {} before",
                                                   checkpoint.tree_size(), last_.tree_size()));
    } else {
      alarm_("CHECKPOINT_FORKED",
             fmt::format("the central audit log shows two different trees of {} records", checkpoint.tree_size()));
    }
    return;
  }
  last_ = checkpoint;
  // If it cannot be written, the witness is only as old as what is on the disk; the next one tries again.
  ReplaceFile(data_dir_, kCheckpointFile, last_.SerializeAsString()).IgnoreError();
}

}  // namespace postern::sidecar
