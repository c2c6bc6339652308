// One session's audit records: who and where are the same in all of them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "common/base/clock.h"
#include "postern/v1/approval.pb.h"
#include "postern/v1/audit.pb.h"
#include "sidecar/reactor/event_loop.h"
#include "sidecar/reactor/task.h"
#include "sidecar/session/answers.h"
#include "sidecar/session/session_info.h"
#include "sidecar/spool/spool.h"

namespace postern::session {

// What is recorded of an execution beside its plan.
struct IntentInput {
  std::string_view sql;
  const sidecar::Portal* portal = nullptr;  // bind values; nullptr: a simple query
  std::string_view decision;                // "allow", "hold", "deny"
  const wire::ErrorFields* denial = nullptr;
  std::string_view search_path;
};

// Belongs to one event loop. `info`, `spool` and `clock` are not owned and outlive it.
class AuditTrail {
 public:
  // `info` must not change any more.
  AuditTrail(const SessionInfo& info, spool::Spool& spool, const Clock& clock);

  // Gates: an error means that nothing may be forwarded. Durability is what `strict` of the plan asks for.
  absl::Status SessionStart();
  absl::Status Intent(const Execution& execution, const IntentInput& input);
  // Waits until all intents so far may be acted upon: written, or, if one of them is strict, on the disk.
  reactor::Task<absl::Status> Commit(reactor::EventLoop& loop);

  // Facts. `outcome`: "completed", "failed", "cancelled", "not forwarded", "lost".
  void Outcome(const Execution& execution, std::string_view outcome);
  void Hold(const Execution& execution, const v1::Approval& approval, std::string_view action);
  void Alarm(std::string_view action, std::string_view detail);
  void SessionEnd(std::string_view reason);
  // Facts written so far reach the kernel.
  void Flush();
  // The same if one of them is the outcome of a strict execution. Those of others go along with the next intent of any
  // session, or with the spool's next sync.
  void FlushUrgent();

  int64_t NextNumber() { return ++executions_; }

 private:
  // A record that says who and where: the thread's own, whose memory is used again and again. Good until the next call.
  v1::AuditRecord& Base(v1::AuditKind kind) const;
  void Fact(const v1::AuditRecord& record);
  // The same, as bytes: the fields up to `role`.
  std::string& Begin(v1::AuditKind kind) const;
  absl::Status Gate(v1::AuditKind kind, std::string_view record, bool strict);

  const SessionInfo& info_;
  spool::Spool& spool_;
  const Clock& clock_;
  const std::string who_and_where_;  // the fields `agent` to `role`, serialized
  int64_t executions_ = 0;
  std::optional<spool::Ticket> strict_;
  bool unflushed_ = false;
  bool urgent_ = false;
};

// A refused start-up has no session yet; what is known of it stands in `record`.
absl::Status RecordRefusal(spool::Spool& spool, v1::AuditRecord record);

}  // namespace postern::session
