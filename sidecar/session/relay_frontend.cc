// The client's side of the relay.
#include "common/base/errors.h"
#include "fmt/format.h"
#include "sidecar/session/relay.h"
#include "sidecar/session/relay_hold.h"
#include "sidecar/wire/build.h"
#include "sidecar/wire/frontend.h"

namespace postern::session {

using reactor::Task;

namespace {

bool EndsBatch(char type) { return type == 'S' || type == 'H'; }
bool IsExtended(char type) {
  return type == 'P' || type == 'B' || type == 'D' || type == 'E' || type == 'C' || EndsBatch(type);
}
bool IsCopy(char type) { return type == 'd' || type == 'c' || type == 'f'; }

}  // namespace

Task<void> Relay::RunFrontend() {
  size_t batch = 0;  // bytes of extended messages gathered at the front of Unread()
  while (!ended_) {
    if (pass_to_server_ > 0 || drop_from_client_ > 0) {
      size_t& left = pass_to_server_ > 0 ? pass_to_server_ : drop_from_client_;
      const std::string_view bytes = Unread().substr(0, left);
      if (&left == &pass_to_server_) upstream_.stream->out().append(bytes);
      left -= bytes.size();
      Consume(bytes.size());
      if (left > 0) {
        upstream_.stream->Flush();
        if (!co_await ReadClient()) co_return;
      }
      continue;
    }
    wire::Header header;
    wire::Message message;
    const std::string_view rest = Unread().substr(batch);
    const wire::Read framed = wire::ReadFrontendHeader(rest, &header);
    if (framed == wire::Read::kMalformed) {
      Fatal("08P01", "malformed message", "", "protocol");
      co_return;
    }
    if (framed == wire::Read::kMessage && header.size > services_.limits.max_message_bytes && header.type != 'd') {
      Fatal("54000", "message too large",
            fmt::format("A message may have {} bytes.", services_.limits.max_message_bytes), "protocol");
      co_return;
    }
    if (framed == wire::Read::kMessage && batch == 0 && (copy_in_ || IsCopy(header.type))) {
      if (!copy_in_) co_await WaitQuiet();
      if (ended_) co_return;
      if (HandleCopyMessage(header)) continue;
      co_await ReadClient();
      continue;
    }
    if (framed == wire::Read::kNeedMore || wire::ReadFrontend(rest, &message) == wire::Read::kNeedMore) {
      upstream_.stream->Flush();
      if (!co_await ReadClient()) co_return;
      continue;
    }
    const bool extended = IsExtended(message.type);
    if (extended) batch += message.whole.size();
    if (batch > 0 && (!extended || EndsBatch(message.type) || batch > services_.limits.max_batch_bytes)) {
      // May consume less: it stops where the next message can only be judged after the server's answer.
      const size_t size = batch;
      batch = 0;
      if (!co_await HandleBatch(size)) co_return;
      continue;
    }
    if (extended) continue;
    const size_t size = message.whole.size();
    if (!co_await HandleSimple(message)) co_return;
    Consume(size);
  }
}

// Everything that is neither of the extended protocol nor COPY.
Task<bool> Relay::HandleSimple(wire::Message message) {
  if (message.type == 'Q') co_return co_await HandleQuery(message);
  if (message.type == 'F') co_return co_await HandleFunctionCall(message);
  if (message.type != 'X') {
    Fatal("08P01", fmt::format("unexpected message type {:#04x}", static_cast<unsigned char>(message.type)), "",
          "protocol");
    co_return false;
  }
  // What was asked for before is still to be done.
  co_await WaitQuiet();
  End({.reason = "client"});
  co_return false;
}

bool Relay::HandleCopyMessage(const wire::Header& header) {
  if (!copy_in_) {
    // Stray COPY messages are ignored, as by the server.
    drop_from_client_ = header.size;
    return true;
  }
  if (header.type == 'd') {
    pass_to_server_ = header.size;
    return true;
  }
  wire::Message message;
  if (wire::ReadFrontend(Unread(), &message) == wire::Read::kNeedMore) return false;
  switch (message.type) {
    case 'c':
    case 'f':
      copy_in_ = false;
      upstream_.stream->out().append(message.whole);
      // In the extended protocol the server keeps CommandComplete until Sync, which we only pass on after it.
      if (!answers_.empty() && answers_.front().kind == Expected::Kind::kExecute) {
        wire::AppendFlush(&upstream_.stream->out());
      }
      upstream_.stream->Flush();
      break;
    case 'S':
    case 'H':
      break;  // ignored inside COPY, as by the server
    case 'X':
      End({.reason = "client"});
      return false;
    default:
      copy_in_ = false;
      wire::AppendCopyFail(fmt::format("unexpected message type {:#04x} during COPY from stdin",
                                       static_cast<unsigned char>(message.type)),
                           &upstream_.stream->out());
      upstream_.stream->Flush();
      break;
  }
  Consume(message.whole.size());
  return true;
}

// A message that the server must answer with an error of its own, so that it aborts what it has begun.
void Relay::SendMarkerQuery(std::shared_ptr<const wire::ErrorFields> denial) {
  wire::AppendQuery(fmt::format("ROLLBACK TO SAVEPOINT {}", marker_), &upstream_.stream->out());
  Expected expected;
  expected.kind = Expected::Kind::kQuery;
  expected.denial = std::move(denial);
  answers_.Push(std::move(expected));
  upstream_.stream->Flush();
}

Task<bool> Relay::DenySimple(std::shared_ptr<const wire::ErrorFields> denial) {
  if (SessionInTransaction()) {
    SendMarkerQuery(std::move(denial));
    co_return true;
  }
  wire::AppendError(*denial, &client_.out());
  wire::AppendReady('I', &client_.out());
  client_.Flush();
  co_return true;
}

Task<bool> Relay::HandleQuery(wire::Message message) {
  if (!co_await WaitQuiet()) co_return false;
  if (skip_to_sync_) co_return true;  // the server would skip it
  const auto text = wire::ParseQuery(message.body);
  if (!text) {
    Fatal("08P01", "malformed Query message", "", "protocol");
    co_return false;
  }
  bool asked_again = false;
  for (;;) {
    std::shared_ptr<const wire::ErrorFields> denial = co_await Settle();
    if (ended_) co_return false;
    const std::shared_ptr<Execution> execution = NewExecution(JudgeText(*text));
    absl::Duration run_within = absl::InfiniteDuration();
    RefuseIfSpent(nullptr, execution.get());
    const sidecar::Plan& plan = *execution->plan;
    if (plan.changed != nullptr && plan.verdict != policy::Verdict::kDeny) {
      execution->changed = sidecar::ChangeFor(plan, *text);
      if (execution->changed == nullptr && denial == nullptr) {
        denial = Share(PosternError("42501", "placeholders cannot be put into the statement",
                                    "Its text is not what was judged.", "Send it again."));
      }
    }
    if (denial == nullptr && !std::exchange(asked_again, true) && AskForNewerCatalog(plan)) continue;
    if (denial == nullptr && (plan.refusal.has_value() || plan.verdict == policy::Verdict::kDeny)) {
      denial = Share(ToErrorFields(plan.DenyFields()));
    }
    if (denial == nullptr && plan.verdict == policy::Verdict::kHold) {
      std::vector<Held> held(1);
      held[0].execution = execution;
      // What people approve is what runs.
      held[0].sql = execution->changed != nullptr ? execution->changed->forwarded : std::string(*text);
      held[0].alone = plan.decisions.size() == 1 && !unsynced_;
      HoldResult result = co_await Hold(std::move(held));
      if (ended_) co_return false;
      if (result.outcome == HoldResult::Outcome::kJudgeAgain) continue;
      if (result.outcome == HoldResult::Outcome::kReleased) {
        execution->approval_id = result.approval_ids.front();
        result.Limit(execution.get());
        run_within = result.run_within;
      } else {
        denial = result.denial;
      }
    }
    if (denial == nullptr && !SpendProbes(nullptr, execution.get())) {
      denial = Share(ToErrorFields(execution->plan->DenyFields()));
    }
    if (denial != nullptr) {
      RecordDenied(*execution, *text, nullptr, *denial);
      co_return co_await DenySimple(denial);
    }
    IntentInput intent;
    intent.sql = *text;
    intent.decision = execution->approval_id.empty() ? "allow" : "hold";
    intent.search_path = SearchPathText();
    absl::Status recorded = audit_.Intent(*execution, intent);
    if (recorded.ok()) recorded = co_await audit_.Commit(loop_);
    if (ended_ || !recorded.ok()) audit_.Outcome(*execution, "not forwarded");
    if (ended_) co_return false;
    if (!recorded.ok()) co_return co_await DenySimple(Share(AuditUnavailable(recorded)));
    StartRunClock(run_within, execution);
    if (execution->changed == nullptr) co_return co_await ForwardQuery(message.whole, execution);
    SayPlaceholders(*execution->changed);
    std::string whole;
    wire::AppendQuery(execution->changed->forwarded, &whole);
    co_return co_await ForwardQuery(whole, execution);
  }
}

Task<bool> Relay::ForwardQuery(std::string_view whole, std::shared_ptr<Execution> execution) {
  for (const policy::Decision& decision : execution->plan->decisions) {
    const std::optional<int64_t>& most = decision.affected_rows_max;
    // An approval may have set a limit already.
    if (most.has_value()) execution->rows_max = std::min(*most, execution->rows_max.value_or(*most));
  }
  if (execution->rows_max.has_value()) co_return co_await ForwardLimitedQuery(whole, std::move(execution));
  upstream_.stream->out().append(whole);
  Expected expected;
  expected.kind = Expected::Kind::kQuery;
  expected.sensitive = execution->plan->sensitive;
  expected.execution = std::move(execution);
  answers_.Push(std::move(expected));
  state_.OnQueryStart();
  upstream_.stream->Flush();
  co_return true;
}

// A statement that may change only so many rows. It runs inside a transaction, ours or the client's, and its success is
// told only after it is known to be within the limit and, if the transaction is ours, committed.
Task<bool> Relay::ForwardLimitedQuery(std::string_view whole, std::shared_ptr<Execution> execution) {
  if (execution->plan->decisions.size() != 1 || unsynced_) {
    audit_.Outcome(*execution, "not forwarded");
    co_return co_await DenySimple(
        Share(PosternError("42501", "a statement with a limit of affected rows must stand alone in its message",
                           "The limit is checked before the statement takes effect, which needs a message of its own.",
                           "Send each statement separately.")));
  }
  const bool own_transaction = state_.transaction_status() == 'I';
  if (own_transaction) {
    const OurResult begun = co_await OurQuery("BEGIN");
    if (ended_) co_return false;
    if (!begun.ok) {
      Fatal("08006", "the server refused to begin a transaction", begun.message, "upstream");
      co_return false;
    }
  }
  upstream_.stream->out().append(whole);
  Expected expected;
  expected.kind = Expected::Kind::kQuery;
  expected.sensitive = execution->plan->sensitive;
  expected.withhold = true;
  expected.execution = execution;
  answers_.Push(std::move(expected));
  state_.OnQueryStart();
  upstream_.stream->Flush();
  if (!co_await WaitQuiet()) {
    FinishExecution(execution.get(), "lost");
    co_return false;
  }

  const std::string complete = std::exchange(withheld_complete_, {});
  const std::string ready = std::exchange(withheld_ready_, {});
  const bool over = std::exchange(over_limit_, false);
  const auto refusal = Share(PosternError("42501", "too many rows affected",
                                          fmt::format("The statement changed {} rows; policy allows {}. It was undone.",
                                                      execution->rows, *execution->rows_max),
                                          "Narrow its WHERE clause."));
  if (!own_transaction) {
    FinishAnswered(execution.get());
    if (over) {
      SendMarkerQuery(refusal);
    } else {
      client_.out().append(complete).append(ready);
      client_.Flush();
    }
    co_return true;
  }
  const bool commit = !over && !complete.empty();
  const OurResult ended = co_await OurQuery(commit ? "COMMIT" : "ROLLBACK");
  if (ended_) {
    FinishExecution(execution.get(), "lost");
    co_return false;
  }
  if (commit && !ended.ok) {
    execution->sqlstate = ended.sqlstate;
    execution->error = ended.message;
  }
  FinishAnswered(execution.get());
  if (over) {
    wire::AppendError(*refusal, &client_.out());
  } else if (commit && !ended.ok) {
    client_.out().append(ended.error_body);
  } else {
    client_.out().append(complete);  // empty when the statement failed: its error is out already
  }
  wire::AppendReady(state_.transaction_status(), &client_.out());
  client_.Flush();
  co_return true;
}

// A call by OID, which no analysis sees. Only the named permission lets it pass, and never where anything is masked:
// its answer has no origin.
Task<bool> Relay::HandleFunctionCall(wire::Message message) {
  if (!co_await WaitQuiet()) co_return false;
  if (skip_to_sync_) co_return true;
  const auto view = wire::ParseFunctionCall(message.body);
  if (!view) {
    Fatal("08P01", "malformed FunctionCall message", "", "protocol");
    co_return false;
  }
  const auto control = services_.uplink.state();
  const auto catalog = info_.enforcer->catalog();
  sql::Statement statement;
  statement.kind = sql::StatementKind::kUtility;
  statement.tag = "FUNCTION CALL";
  statement.writes = true;
  sql::Effect effect;
  effect.operation = sql::Operation::kFunctionCall;
  effect.object_kind = sql::ObjectKind::kFunction;
  effect.name = std::to_string(view->function);
  effect.oid = view->function;
  statement.effects.push_back(effect);

  auto plan = std::make_shared<sidecar::Plan>();
  plan->text = fmt::format("FUNCTION CALL {}", view->function);
  plan->decisions.push_back(control->policy->Judge(info_.identity.subject, info_.identity.target, info_.identity.intent,
                                                   statement, *catalog));
  plan->verdict = plan->decisions[0].verdict;
  plan->detects = plan->decisions[0].detects();
  plan->strict_audit = true;
  plan->sensitive = true;
  plan->policy_revision = control->policy_revision;
  plan->effects.push_back(effect.ToString());
  const std::shared_ptr<Execution> execution = NewExecution(plan);
  leaves_nothing_ = false;
  if (plan->verdict != policy::Verdict::kAllow || execution->NeedsMasks()) {
    const auto denial = Share(PosternError("42501", "function calls by OID are not allowed", "effect: function_call",
                                           "Call the function in a SELECT statement."));
    RecordDenied(*execution, plan->text, nullptr, *denial);
    co_return co_await DenySimple(denial);
  }
  IntentInput intent;
  intent.sql = plan->text;
  intent.decision = "allow";
  intent.search_path = SearchPathText();
  absl::Status recorded = audit_.Intent(*execution, intent);
  if (recorded.ok()) recorded = co_await audit_.Commit(loop_);
  if (ended_ || !recorded.ok()) audit_.Outcome(*execution, "not forwarded");
  if (ended_) co_return false;
  if (!recorded.ok()) co_return co_await DenySimple(Share(AuditUnavailable(recorded)));
  upstream_.stream->out().append(message.whole);
  Expected expected;
  expected.kind = Expected::Kind::kFunctionCall;
  expected.sensitive = true;
  expected.execution = execution;
  answers_.Push(std::move(expected));
  upstream_.stream->Flush();
  co_return true;
}

}  // namespace postern::session
