// What Relay::Hold() takes and gives. Internal to the relay.
#pragma once

#include <memory>
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
  v1::Approval approval = {};
  bool claimed = false;
};

struct Relay::HoldResult {
  enum class Outcome {
    kReleased,    // claimed: forward now
    kDenied,      // answer with `denial`
    kJudgeAgain,  // what was asked about is no longer what would run: policy or schema changed meanwhile
  };
  Outcome outcome = Outcome::kDenied;
  std::shared_ptr<const wire::ErrorFields> denial = nullptr;
  std::vector<std::string> approval_ids = {};
};

}  // namespace postern::session
