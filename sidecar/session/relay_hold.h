// What Relay::Hold() takes and gives. Internal to the relay.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "postern/v1/approval.pb.h"
#include "sidecar/session/relay.h"

namespace postern::session {

// One statement that waits, with everything that its approval binds.
struct Relay::Held {
  std::shared_ptr<Execution> execution;
  std::string sql;
  std::shared_ptr<const sidecar::Portal> portal = nullptr;  // nullptr: simple query
  // Index of the batch item, for the extended protocol.
  size_t item = 0;
  // Nothing runs in the same breath, so a limit of affected rows can be kept.
  bool alone = false;
  v1::Approval approval = {};
  bool claimed = false;

  // The rule's terms. Only for what is held.
  const v1::HoldSettings& terms() const;
  // It is answered at once, and finds its approval when it is sent again.
  bool returns() const { return terms().mode() == "return"; }
};

struct Relay::HoldResult {
  enum class Outcome {
    kReleased,    // claimed: forward now
    kAsked,       // of a rule whose statements return: nobody has decided yet
    kDenied,      // answer with `denial`
    kJudgeAgain,  // what was asked about is no longer what would run: policy or schema changed meanwhile
  };
  Outcome outcome = Outcome::kDenied;
  std::shared_ptr<const wire::ErrorFields> denial = nullptr;
  std::vector<std::string> approval_ids = {};
  // What the approvals add to policy's limits.
  std::optional<int64_t> rows_max = std::nullopt;
  absl::Duration run_within = absl::InfiniteDuration();

  // Puts the limits on what is about to run.
  void Limit(Execution* execution) const {
    if (rows_max.has_value()) execution->rows_max = std::min(*rows_max, execution->rows_max.value_or(*rows_max));
  }
};

}  // namespace postern::session
