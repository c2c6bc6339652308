#include "sidecar/session/audit_trail.h"

#include "common/base/timestamps.h"
#include "fmt/format.h"

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

v1::AuditRecord& AuditTrail::Base(v1::AuditKind kind) const {
  thread_local v1::AuditRecord record;
  record.Clear();  // keeps the memory of its strings
  record.set_kind(kind);
  *record.mutable_time() = ToTimestamp(clock_.Now());
  record.set_agent(info_.claims.agent);
  record.set_on_behalf_of(info_.claims.on_behalf_of);
  record.set_grant_id(info_.claims.grant_id);
  record.set_session_id(info_.id);
  record.set_client_address(info_.client_address);
  record.set_target(info_.claims.target);
  record.set_database(info_.database);
  record.set_role(info_.role);
  return record;
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
  const sidecar::Plan& plan = *execution.plan;
  v1::AuditRecord& record = Base(v1::STATEMENT_INTENT);
  record.set_execution(execution.number);
  record.set_sql(std::string(input.sql));
  if (input.portal != nullptr) {
    const std::vector<int16_t>& formats = input.portal->value_formats;
    for (size_t i = 0; i < input.portal->values.size(); ++i) {
      v1::AuditValue* value = record.add_values();
      if (input.portal->values[i].has_value()) {
        value->set_value(*input.portal->values[i]);
      } else {
        value->set_is_null(true);
      }
      value->set_format(formats.empty() ? 0 : formats.size() == 1 ? formats[0] : formats[i]);
    }
  }
  record.set_fingerprint(plan.fingerprint);
  for (const std::string& effect : plan.effects) record.add_effects(effect);
  for (const std::string& mask : plan.masks) record.add_masks(mask);
  record.set_decision(std::string(input.decision));
  if (plan.decisive < plan.decisions.size()) {
    const policy::Decision& decision = plan.decisions[plan.decisive];
    record.set_rule(decision.rule.ToString());
    record.set_reason_code(decision.reason_code);
    record.set_reason(decision.reason);
  }
  if (input.denial != nullptr) record.set_reason(fmt::format("{} {}", input.denial->message, input.denial->detail));
  record.set_policy_revision(plan.policy_revision);
  record.set_approval_id(execution.approval_id);
  record.set_search_path(input.search_path);

  const bool strict = plan.strict_audit && input.decision != "deny";
  const absl::StatusOr<spool::Ticket> ticket =
      spool_.Append(record, strict ? spool::Durability::kStrict : spool::Durability::kRelaxed);
  if (!ticket.ok()) return ticket.status();
  if (strict) strict_ = *ticket;
  unflushed_ = true;
  return absl::OkStatus();
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
  v1::AuditRecord& record = Base(v1::STATEMENT_OUTCOME);
  record.set_execution(execution.number);
  record.set_fingerprint(execution.plan->fingerprint);
  record.set_command_tag(execution.tag);
  record.set_sqlstate(execution.sqlstate);
  record.set_error(execution.error);
  record.set_rows(execution.rows);
  record.set_bytes(execution.bytes);
  record.set_duration_micros(absl::ToInt64Microseconds(clock_.Monotonic() - execution.started));
  record.set_approval_id(execution.approval_id);
  record.set_outcome(std::string(outcome));
  Fact(record);
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
