// What the server still owes: one entry for each message that was forwarded, in order.
//
// Our picture of statements, portals, settings and COPY moves only when an entry is answered, so it follows what the
// server did and not what the client wished (PostgreSQL documentation, 55.2.3: after an error the server skips to
// Sync).
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "sidecar/enforce/enforcer.h"
#include "sidecar/mask/mask.h"
#include "sidecar/wire/build.h"

namespace postern::session {

using MaskedOrigins = std::map<sql::ColumnId, v1::MaskStrategy>;

// One execution that was judged: an Execute, or a simple Query with all its statements. Counted and audited.
struct Execution {
  int64_t number = 0;  // within the session, from 1
  std::shared_ptr<const sidecar::Plan> plan;
  // The statement whose result is coming in: always 0 for Execute.
  size_t statement = 0;
  absl::Duration started;
  int64_t rows = 0;
  int64_t bytes = 0;
  std::string tag;
  std::string sqlstate;
  std::string error;
  std::string approval_id;
  // Set: what was forwarded is not what the client sent.
  std::shared_ptr<const sidecar::ChangedText> changed;
  // Set: undo the statement if it changed more rows.
  std::optional<int64_t> rows_max;
  bool over_limit = false;
  // It ran longer than its approval allows, and was cancelled for that.
  bool run_expired = false;
  bool finished = false;  // its outcome is recorded

  // Masks of the result coming in. `origins` empty or nullptr: nothing is masked for this agent on this target.
  std::shared_ptr<const MaskedOrigins> origins;
  bool masks_bound = false;
  std::vector<mask::ColumnMask> masks;
  std::unique_ptr<mask::CopyMasker> copy;
  // Of the result coming in: columns that are searched, with their names. And what was found in results so far.
  std::vector<std::pair<std::string, mask::ColumnMask>> searched;
  std::vector<std::string> found;

  const sql::Statement* current() const {
    if (plan == nullptr || plan->analysis == nullptr || statement >= plan->analysis->statements.size()) return nullptr;
    return &plan->analysis->statements[statement];
  }
  // Rows must be looked at: policy masks columns, or has text searched.
  bool NeedsMasks() const { return (origins != nullptr && !origins->empty()) || (plan != nullptr && plan->detects); }
};

struct Expected {
  enum class Kind { kParse, kBind, kClose, kDescribe, kExecute, kQuery, kFunctionCall, kSync };
  Kind kind = Kind::kSync;
  // Sent by us: its answers are swallowed.
  bool ours = false;
  // Errors and notices of this message may carry masked values.
  bool sensitive = false;
  // Withheld until the number of affected rows is known: CommandComplete and ReadyForQuery.
  bool withhold = false;
  // Takes effect when the server confirms. `target`: 'S' or 'P' of Describe and Close.
  char target = 'S';
  std::string name;
  std::shared_ptr<const sidecar::Prepared> prepared;
  std::shared_ptr<const sidecar::Portal> portal;
  std::shared_ptr<Execution> execution;
  // What was forwarded in place of the client's own text; nullptr: that itself.
  const sidecar::ChangedText* changed() const {
    if (execution != nullptr) return execution->changed.get();
    if (prepared != nullptr) return prepared->changed.get();
    return portal != nullptr && portal->prepared != nullptr ? portal->prepared->changed.get() : nullptr;
  }
  // Our marker, sure to fail: its ErrorResponse is replaced by this.
  std::shared_ptr<const wire::ErrorFields> denial;
};

// A refusal is kept from the judgement to the moment at which its turn to be answered comes.
inline std::shared_ptr<const wire::ErrorFields> Share(wire::ErrorFields fields) {
  return std::make_shared<const wire::ErrorFields>(std::move(fields));
}

class AnswerQueue {
 public:
  bool empty() const { return queue_.empty(); }
  size_t size() const { return queue_.size(); }
  void Push(Expected expected) { queue_.push_back(std::move(expected)); }
  Expected& front() { return queue_.front(); }
  void Pop() { queue_.pop_front(); }

  // An ErrorResponse answered the front. Inside the extended protocol the server skips to the next Sync: everything up
  // to it goes. Returns what was dropped; the failed one is first. Simple queries and Sync stay until ReadyForQuery.
  std::vector<Expected> Fail() {
    std::vector<Expected> dropped;
    if (queue_.empty() || !Skippable(queue_.front().kind)) return dropped;
    while (!queue_.empty() && queue_.front().kind != Expected::Kind::kSync) {
      dropped.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
    return dropped;
  }

  // True if anything owed may carry masked values in its messages.
  bool AnySensitive() const {
    for (const Expected& expected : queue_) {
      if (expected.sensitive) return true;
    }
    return false;
  }
  // True if a statement is under way that a CancelRequest may cancel.
  bool Executing() const {
    for (const Expected& expected : queue_) {
      if (expected.kind != Expected::Kind::kSync) return true;
    }
    return false;
  }

 private:
  static bool Skippable(Expected::Kind kind) {
    return kind != Expected::Kind::kSync && kind != Expected::Kind::kQuery && kind != Expected::Kind::kFunctionCall;
  }
  std::deque<Expected> queue_;
};

}  // namespace postern::session
