#include "sidecar/session/audit_trail.h"

#include "common/audit/chain.h"
#include "common/audit/record_writer.h"
#include "common/base/timestamps.h"
#include "fmt/format.h"
#include "sidecar/enforce/plan_record.h"

namespace postern::session {

v1::Session SessionInfo::ToProto(absl::Time start) const {
  v1::Session session;
  session.set_id(id);
  session.set_state(v1::SESSION_LIVE);
  session.set_agent(claims.agent);
  session.set_on_behalf_of(claims.on_behalf_of);
  session.set_grant_id(claims.grant_id);
  session.set_target(claims.target);
  session.set_database(database);
  session.set_role(role);
  session.set_client_address(client_address);
  session.set_application_name(application_name);
  *session.mutable_start_time() = ToTimestamp(start);
  return session;
}

namespace {

using Record = v1::AuditRecord;

v1::AuditRecord WhoAndWhere(const SessionInfo& info) {
  v1::AuditRecord record;
  record.set_agent(info.claims.agent);
  record.set_on_behalf_of(info.claims.on_behalf_of);
  record.set_grant_id(info.claims.grant_id);
  record.set_session_id(info.id);
  record.set_client_address(info.client_address);
  record.set_target(info.claims.target);
  record.set_database(info.database);
  record.set_role(info.role);
  return record;
}

void AppendValues(const sidecar::Portal& portal, audit::RecordWriter* record) {
  const std::vector<int16_t>& formats = portal.value_formats;
  thread_local std::string value;
  for (size_t i = 0; i < portal.values.size(); ++i) {
    value.clear();
    audit::RecordWriter writer(&value);
    const bool null = !portal.values[i].has_value();
    writer.Number(v1::AuditValue::kIsNullFieldNumber, null ? 1 : 0);
    if (!null) writer.Bytes(v1::AuditValue::kValueFieldNumber, *portal.values[i]);
    writer.Number(v1::AuditValue::kFormatFieldNumber, formats.empty()       ? 0
                                                      : formats.size() == 1 ? formats[0]
                                                                            : formats[i]);
    record->Message(Record::kValuesFieldNumber, value);
  }
}

void AppendJudgement(const Execution& execution, const IntentInput& input, audit::RecordWriter* record) {
  if (input.decision == "allow" && !execution.plan->allowed_record.empty()) {
    record->Written(execution.plan->allowed_record);
    return;
  }
  const std::string reason =
      input.denial == nullptr ? "" : fmt::format("{} {}", input.denial->message, input.denial->detail);
  sidecar::AppendJudgement(*execution.plan, input.decision, reason, execution.approval_id, record);
}

}  // namespace

AuditTrail::AuditTrail(const SessionInfo& info, spool::Spool& spool, const Clock& clock)
    : info_(info), spool_(spool), clock_(clock), who_and_where_(audit::SerializeRecord(WhoAndWhere(info))) {}

v1::AuditRecord& AuditTrail::Base(v1::AuditKind kind) const {
  thread_local v1::AuditRecord record;
  record = WhoAndWhere(info_);
  record.set_kind(kind);
  *record.mutable_time() = ToTimestamp(clock_.Now());
  return record;
}

std::string& AuditTrail::Begin(v1::AuditKind kind) const {
  thread_local std::string bytes;
  bytes.clear();
  audit::RecordWriter record(&bytes);
  record.Number(Record::kKindFieldNumber, kind);
  const google::protobuf::Timestamp now = ToTimestamp(clock_.Now());
  thread_local std::string time;
  time.clear();
  audit::RecordWriter writer(&time);
  writer.Number(google::protobuf::Timestamp::kSecondsFieldNumber, now.seconds());
  writer.Number(google::protobuf::Timestamp::kNanosFieldNumber, now.nanos());
  record.Message(Record::kTimeFieldNumber, time);
  record.Written(who_and_where_);
  return bytes;
}

absl::Status AuditTrail::Gate(v1::AuditKind kind, std::string_view record, bool strict) {
  const absl::StatusOr<spool::Ticket> ticket =
      spool_.AppendSerialized(kind, record, strict ? spool::Durability::kStrict : spool::Durability::kRelaxed);
  if (!ticket.ok()) return ticket.status();
  if (strict) strict_ = *ticket;
  unflushed_ = true;
  return absl::OkStatus();
}

absl::Status AuditTrail::SessionStart() {
  v1::AuditRecord& record = Base(v1::SESSION_START);
  (*record.mutable_detail())["application_name"] = info_.application_name;
  (*record.mutable_detail())["user"] = info_.client_user;
  const absl::StatusOr<spool::Ticket> ticket = spool_.Append(record, spool::Durability::kRelaxed);
  if (!ticket.ok()) return ticket.status();
  return spool_.Flush();
}

absl::Status AuditTrail::Intent(const Execution& execution, const IntentInput& input) {
  std::string& bytes = Begin(v1::STATEMENT_INTENT);
  audit::RecordWriter record(&bytes);
  record.Number(Record::kExecutionFieldNumber, execution.number);
  record.Bytes(Record::kSqlFieldNumber, input.sql);
  if (input.portal != nullptr) AppendValues(*input.portal, &record);
  AppendJudgement(execution, input, &record);
  const sidecar::ChangedText* changed = execution.changed.get();
  if (changed != nullptr) {
    for (const std::string& column : changed->columns) record.Message(Record::kMasksFieldNumber, column);
  }
  record.Bytes(Record::kSearchPathFieldNumber, input.search_path);
  if (changed != nullptr) record.Bytes(Record::kForwardedSqlFieldNumber, changed->forwarded);
  return Gate(v1::STATEMENT_INTENT, bytes, execution.plan->strict_audit && input.decision != "deny");
}

reactor::Task<absl::Status> AuditTrail::Commit(reactor::EventLoop& loop) {
  if (!strict_.has_value()) {
    if (!unflushed_) co_return absl::OkStatus();
    // The first of the sessions that meet here writes the records of all.
    co_await loop.EndOfRound();
    unflushed_ = false;
    co_return spool_.Flush();
  }
  // Shared with the spool's thread, which may outlast this wait by a moment.
  struct Answer {
    explicit Answer(reactor::EventLoop& loop) : done(loop) {}
    reactor::Event done;
    absl::Status status;
  };
  auto answer = std::make_shared<Answer>(loop);
  const spool::Ticket ticket = *strict_;
  strict_.reset();
  unflushed_ = false;
  spool_.WhenDurable(ticket, [answer, &loop](absl::Status status) {
    loop.Post([answer, status = std::move(status)] {
      answer->status = status;
      answer->done.Set();
    });
  });
  co_await answer->done.Wait();
  co_return answer->status;
}

void AuditTrail::Fact(const v1::AuditRecord& record) {
  // A fact is refused only when even the reserve is gone; gates have been refused long before that, so no statement can
  // begin. The record's absence shows in the log as an intent without outcome.
  [[maybe_unused]] const auto ticket = spool_.Append(record, spool::Durability::kRelaxed);
  unflushed_ = true;
}

void AuditTrail::Outcome(const Execution& execution, std::string_view outcome) {
  std::string& bytes = Begin(v1::STATEMENT_OUTCOME);
  audit::RecordWriter record(&bytes);
  record.Number(Record::kExecutionFieldNumber, execution.number);
  record.Bytes(Record::kFingerprintFieldNumber, execution.plan->fingerprint);
  record.Bytes(Record::kApprovalIdFieldNumber, execution.approval_id);
  for (const std::string& found : execution.found) record.Message(Record::kMasksFieldNumber, found);
  record.Bytes(Record::kCommandTagFieldNumber, execution.tag);
  record.Bytes(Record::kSqlstateFieldNumber, execution.sqlstate);
  record.Number(Record::kRowsFieldNumber, execution.rows);
  record.Number(Record::kBytesFieldNumber, execution.bytes);
  record.Number(Record::kDurationMicrosFieldNumber, absl::ToInt64Microseconds(clock_.Monotonic() - execution.started));
  record.Bytes(Record::kErrorFieldNumber, execution.error);
  record.Bytes(Record::kOutcomeFieldNumber, outcome);
  // As in Fact().
  [[maybe_unused]] const auto ticket =
      spool_.AppendSerialized(v1::STATEMENT_OUTCOME, bytes, spool::Durability::kRelaxed);
  unflushed_ = true;
  urgent_ = urgent_ || execution.plan->strict_audit;
}

void AuditTrail::Hold(const Execution& execution, const v1::Approval& approval, std::string_view action) {
  v1::AuditRecord& record = Base(v1::HOLD);
  record.set_execution(execution.number);
  record.set_sql(approval.binding().sql());
  record.set_approval_id(approval.id());
  record.set_action(std::string(action));
  record.set_policy_revision(execution.plan->policy_revision);
  for (const v1::Vote& vote : approval.votes()) {
    (*record.mutable_detail())[vote.principal()] =
        fmt::format("{}: {}", vote.approve() ? "approved" : "denied", vote.comment());
  }
  Fact(record);
  Flush();
}

void AuditTrail::Alarm(std::string_view action, std::string_view detail) {
  v1::AuditRecord& record = Base(v1::ALARM);
  record.set_action(std::string(action));
  (*record.mutable_detail())["what"] = std::string(detail);
  Fact(record);
  Flush();
}

void AuditTrail::SessionEnd(std::string_view reason) {
  v1::AuditRecord& record = Base(v1::SESSION_END);
  record.set_reason(std::string(reason));
  Fact(record);
  Flush();
}

void AuditTrail::FlushUrgent() {
  if (urgent_) Flush();
}

void AuditTrail::Flush() {
  urgent_ = false;
  if (!unflushed_) return;
  // Facts that cannot be written now stay in the spool's memory and follow when the disk works again.
  if (spool_.Flush().ok()) unflushed_ = false;
}

absl::Status RecordRefusal(spool::Spool& spool, v1::AuditRecord record) {
  record.set_kind(v1::SESSION_REFUSED);
  const absl::StatusOr<spool::Ticket> ticket = spool.Append(record, spool::Durability::kRelaxed);
  if (!ticket.ok()) return ticket.status();
  return spool.Flush();
}

}  // namespace postern::session
