// The extended protocol: messages up to a Sync or Flush are judged together before any of them is forwarded.
//
// A denied Execute becomes, in its place, an Execute of a portal that cannot exist: the server itself fails, aborts its
// transaction and skips to Sync, and its error is replaced by ours. So the server's state is never guessed at.
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "fmt/format.h"
#include "sidecar/session/relay.h"
#include "sidecar/session/relay_hold.h"
#include "sidecar/session/startup_parameters.h"
#include "sidecar/wire/build.h"
#include "sidecar/wire/frontend.h"

namespace postern::session {

using reactor::Task;
using sidecar::Plan;
using sidecar::Portal;
using sidecar::Prepared;

struct Relay::BatchItem {
  wire::Message message;
  Expected expected;
  // What `expected` has, while it is made.
  std::shared_ptr<Prepared> prepared;
  std::shared_ptr<Portal> portal;
  int32_t max_rows = 0;
  // Goes to the server in place of the message: a Parse of a changed text.
  std::string replacement;
  // Put a Describe of the portal in front, to know where its columns come from.
  bool describe = false;
  // The server must answer this before what follows can be judged: always, or unless a Sync follows anyway.
  bool barrier = false;
  bool barrier_unless_sync = false;
};

struct Relay::Batch {
  std::vector<BatchItem> items;
  // As they will be if the server takes everything; nullptr: closed.
  absl::flat_hash_map<std::string, std::shared_ptr<const Prepared>> prepared;
  absl::flat_hash_map<std::string, std::shared_ptr<const Portal>> portals;
  absl::flat_hash_set<std::string> described;  // portals that the client itself describes

  // Items [0, end) are dealt with; the rest is read again after the server's answer.
  size_t end = 0;
  // Set: items [0, denied) go, then our marker, and nothing more before Sync.
  std::shared_ptr<const wire::ErrorFields> denial;
  size_t denied = 0;
  std::shared_ptr<Execution> denied_execution;
  std::shared_ptr<const Portal> denied_portal;
  std::string denied_sql;
  std::vector<size_t> held;

  bool Deny(size_t item, wire::ErrorFields fields) {
    denial = std::make_shared<const wire::ErrorFields>(std::move(fields));
    denied = item;
    return false;
  }
};

namespace {

// The server's own words for names that it does not know.
wire::ErrorFields NoSuchStatement(std::string_view name) {
  return {.severity = "ERROR",
          .sqlstate = "26000",
          .message = name.empty() ? "unnamed prepared statement does not exist"
                                  : fmt::format("prepared statement \"{}\" does not exist", name)};
}

wire::ErrorFields NoSuchPortal(std::string_view name) {
  return {.severity = "ERROR", .sqlstate = "34000", .message = fmt::format("portal \"{}\" does not exist", name)};
}

// The text that the client prepared.
const std::string& AskedText(const Prepared& prepared) {
  return prepared.changed == nullptr ? prepared.text : prepared.changed->asked;
}

bool ReturnsRows(const sql::Statement& statement) { return !statement.outputs_known || !statement.outputs.empty(); }

}  // namespace

std::shared_ptr<const Prepared> Relay::FindPrepared(const Batch& batch, const std::string& name) const {
  const auto found = batch.prepared.find(name);
  return found != batch.prepared.end() ? found->second : state_.prepared(name);
}

std::shared_ptr<const Portal> Relay::FindPortal(const Batch& batch, const std::string& name) const {
  const auto found = batch.portals.find(name);
  return found != batch.portals.end() ? found->second : state_.portal(name);
}

bool Relay::ReadBatch(std::string_view bytes, Batch* batch) {
  while (!bytes.empty()) {
    BatchItem item;
    // They were framed when they were gathered.
    if (wire::ReadFrontend(bytes, &item.message) != wire::Read::kMessage) break;
    bytes.remove_prefix(item.message.whole.size());
    const std::string_view body = item.message.body;
    Expected& expected = item.expected;
    bool ok = true;
    switch (item.message.type) {
      case 'P': {
        const auto view = wire::ParseParse(body);
        ok = view.has_value();
        if (!ok) break;
        expected.kind = Expected::Kind::kParse;
        expected.name = std::string(view->statement);
        item.prepared = std::make_shared<Prepared>();
        item.prepared->text = std::string(view->query);
        item.prepared->parameter_types = view->parameter_types;
        expected.prepared = item.prepared;
        break;
      }
      case 'B': {
        const auto view = wire::ParseBind(body);
        ok = view.has_value();
        if (!ok) break;
        expected.kind = Expected::Kind::kBind;
        expected.name = std::string(view->portal);
        item.portal = std::make_shared<Portal>();
        Portal& portal = *item.portal;
        portal.statement = std::string(view->statement);
        portal.value_formats = view->parameter_formats;
        portal.result_formats = view->result_formats;
        for (const auto& value : view->values) {
          portal.values.push_back(value ? std::optional<std::string>(*value) : std::nullopt);
        }
        expected.portal = item.portal;
        break;
      }
      case 'D':
      case 'C': {
        const auto view = wire::ParseTarget(body);
        ok = view.has_value();
        if (!ok) break;
        expected.kind = item.message.type == 'D' ? Expected::Kind::kDescribe : Expected::Kind::kClose;
        expected.target = view->kind;
        expected.name = std::string(view->name);
        break;
      }
      case 'E': {
        const auto view = wire::ParseExecute(body);
        ok = view.has_value();
        if (!ok) break;
        expected.kind = Expected::Kind::kExecute;
        expected.name = std::string(view->portal);
        item.max_rows = view->max_rows;
        break;
      }
      default:  // Sync and Flush
        ok = wire::ParseEmpty(body);
        break;
    }
    if (!ok) {
      Fatal("08P01", "invalid message format", fmt::format("message type '{}'", item.message.type), "protocol");
      return false;
    }
    batch->items.push_back(std::move(item));
  }
  batch->end = batch->items.size();
  return true;
}

void Relay::JudgeBatch(Batch* batch) {
  for (size_t i = 0; i < batch->items.size(); ++i) {
    BatchItem& item = batch->items[i];
    bool judged = true;
    switch (item.message.type) {
      case 'P':
        judged = JudgeParse(&item, batch);
        break;
      case 'B':
        judged = JudgeBind(&item, batch);
        break;
      case 'E':
        judged = JudgeExecute(&item, batch);
        break;
      case 'D':
      case 'C':
        judged = JudgeDescribeOrClose(&item, batch);
        break;
      default:
        break;
    }
    if (!judged) {
      batch->denied = i;
      return;
    }
    const bool sync_follows = i + 1 < batch->items.size() && batch->items[i + 1].message.type == 'S';
    if (item.barrier_unless_sync && !sync_follows) item.barrier = true;
    if (item.barrier) {
      batch->end = i + 1;
      return;
    }
  }
}

bool Relay::JudgeParse(BatchItem* item, Batch* batch) {
  const std::shared_ptr<Prepared>& prepared = item->prepared;
  const std::shared_ptr<const Plan> plan = JudgeText(prepared->text);
  item->expected.sensitive = plan->sensitive;
  // Refused already here when no values could save it; a text that would be held may be prepared, not run.
  if (plan->refusal.has_value() || plan->verdict == policy::Verdict::kDeny) {
    batch->denied_execution = NewExecution(plan);
    batch->denied_sql = prepared->text;
    return batch->Deny(0, ToErrorFields(plan->DenyFields()));
  }
  prepared->analysis = plan->analysis;
  if (plan->changed != nullptr) {
    prepared->changed = sidecar::ChangeFor(*plan, prepared->text);
    if (prepared->changed == nullptr) {
      return batch->Deny(0, PosternError("42501", "placeholders cannot be put into the statement",
                                         "Its text is not what was judged.", "Prepare it again."));
    }
    prepared->text = prepared->changed->forwarded;
    wire::AppendParse(item->expected.name, prepared->text, prepared->parameter_types, &item->replacement);
  }
  batch->prepared[item->expected.name] = prepared;
  return true;
}

bool Relay::JudgeBind(BatchItem* item, Batch* batch) {
  const std::shared_ptr<Portal>& portal = item->portal;
  if (item->expected.name == marker_) return batch->Deny(0, NoSuchPortal(item->expected.name));
  const std::shared_ptr<const Prepared> prepared = FindPrepared(*batch, portal->statement);
  if (prepared == nullptr) return batch->Deny(0, NoSuchStatement(portal->statement));
  portal->prepared = prepared;
  // The planner already runs immutable functions at Bind, so a statement that is denied by now is not bound.
  portal->plan = JudgePrepared(portal->statement, prepared);
  item->expected.sensitive = portal->plan->sensitive;
  if (portal->plan->refusal.has_value() || portal->plan->verdict == policy::Verdict::kDeny) {
    batch->denied_execution = NewExecution(portal->plan);
    batch->denied_portal = portal;
    batch->denied_sql = AskedText(*prepared);
    return batch->Deny(0, ToErrorFields(portal->plan->DenyFields()));
  }
  batch->portals[item->expected.name] = portal;
  batch->described.erase(item->expected.name);
  return true;
}

bool Relay::JudgeDescribeOrClose(BatchItem* item, Batch* batch) {
  Expected& expected = item->expected;
  if (expected.kind == Expected::Kind::kClose) {
    // Closing what does not exist is no error.
    if (expected.target == 'S') {
      batch->prepared[expected.name] = nullptr;
    } else {
      batch->portals[expected.name] = nullptr;
    }
    return true;
  }
  if (expected.target == 'S') {
    const auto prepared = FindPrepared(*batch, expected.name);
    if (prepared == nullptr) return batch->Deny(0, NoSuchStatement(expected.name));
    expected.sensitive = JudgePrepared(expected.name, prepared)->sensitive;
    return true;
  }
  const auto portal = FindPortal(*batch, expected.name);
  if (portal == nullptr || portal->prepared == nullptr) return batch->Deny(0, NoSuchPortal(expected.name));
  expected.sensitive = JudgePrepared(portal->statement, portal->prepared)->sensitive;
  batch->described.insert(expected.name);
  return true;
}

bool Relay::JudgeExecute(BatchItem* item, Batch* batch) {
  Expected& expected = item->expected;
  const std::shared_ptr<const Portal> portal = FindPortal(*batch, expected.name);
  // Portals of SQL cursors are read by FETCH, whose plan knows where their columns come from.
  if (portal == nullptr || portal->prepared == nullptr) return batch->Deny(0, NoSuchPortal(expected.name));
  // Bound in this very batch, it was judged a moment ago, under the same state.
  const bool fresh = portal->plan != nullptr && batch->portals.contains(expected.name);
  const std::shared_ptr<Execution> execution =
      NewExecution(fresh ? portal->plan : JudgePrepared(portal->statement, portal->prepared));
  RefuseIfSpent(portal.get(), execution.get());
  execution->changed = portal->prepared->changed;
  const std::shared_ptr<const Plan> plan = execution->plan;
  expected.execution = execution;
  expected.portal = portal;
  expected.sensitive = plan->sensitive;

  const auto deny = [&](wire::ErrorFields fields) {
    batch->denied_execution = execution;
    batch->denied_portal = portal;
    batch->denied_sql = AskedText(*portal->prepared);
    return batch->Deny(0, std::move(fields));
  };
  if (plan->refusal.has_value() || plan->verdict == policy::Verdict::kDeny)
    return deny(ToErrorFields(plan->DenyFields()));
  if (sidecar::WritesSentinel(*plan, portal->values)) return deny(ToErrorFields(sidecar::SentinelRefusal()));
  const sql::Statement* statement = execution->current();
  if (statement == nullptr) return true;  // an empty text

  if (!plan->decisions.empty() && plan->decisions[0].affected_rows_max.has_value()) {
    execution->rows_max = plan->decisions[0].affected_rows_max;
    if (item->max_rows != 0) {
      return deny(PosternError("42501", "a statement with a limit of affected rows cannot be fetched in parts",
                               "Its count is known only at its end, when the first rows would be committed already.",
                               "Execute it without a row limit."));
    }
  }
  if (plan->verdict == policy::Verdict::kHold) batch->held.push_back(static_cast<size_t>(item - batch->items.data()));
  if (execution->NeedsMasks() && !statement->copy.has_value() && ReturnsRows(*statement)) {
    // Only the portal's own description says where its columns come from now: the statement's may be of another plan.
    const bool known =
        batch->described.contains(expected.name) || (!batch->portals.contains(expected.name) && portal->fields);
    item->describe = !known;
    batch->described.insert(expected.name);
  }
  const bool copy_in = statement->copy.has_value() ? !statement->copy->to : statement->unanalysable.has_value();
  item->barrier = copy_in || execution->rows_max.has_value();
  item->barrier_unless_sync = plan->barrier;
  return true;
}

void Relay::SendMarkerExecute(std::shared_ptr<const wire::ErrorFields> denial) {
  wire::AppendExecute(marker_, 0, &upstream_.stream->out());
  Expected expected;
  expected.kind = Expected::Kind::kExecute;
  expected.denial = std::move(denial);
  answers_.Push(std::move(expected));
  unsynced_ = true;
}

Task<bool> Relay::HandleBatch(size_t size) {
  if (!co_await WaitQuiet()) co_return false;
  if (copy_in_) co_return true;  // these are messages of a COPY: read again as such
  bool asked_again = false;
  for (;;) {
    Batch batch;
    if (!ReadBatch(Unread().substr(0, size), &batch)) co_return false;
    if (skip_to_sync_) {
      // The server skips up to Sync, and so do we. A gathered batch has one at its end at most.
      Consume(size);
      if (batch.items.back().message.type != 'S') co_return true;
      skip_to_sync_ = false;
      wire::AppendSync(&upstream_.stream->out());
      answers_.Push(Expected());
      upstream_.stream->Flush();
      co_return true;
    }
    const std::shared_ptr<const wire::ErrorFields> unsettled = co_await Settle();
    if (ended_) co_return false;
    const char first = batch.items.front().message.type;
    if (unsettled != nullptr && first != 'S' && first != 'H') {
      batch.Deny(0, *unsettled);
    } else {
      JudgeBatch(&batch);
    }
    if (batch.denied_execution != nullptr && !std::exchange(asked_again, true) &&
        AskForNewerCatalog(*batch.denied_execution->plan)) {
      continue;
    }
    if (!batch.held.empty()) {
      if (batch.denial != nullptr) {
        // It cannot succeed as a whole, so nobody is asked about its part.
        batch.denied = batch.held.front();
      } else {
        std::vector<Held> held;
        for (const size_t index : batch.held) {
          const Expected& expected = batch.items[index].expected;
          Held one;
          one.execution = expected.execution;
          one.sql = expected.portal->prepared->text;
          one.portal = expected.portal;
          one.item = index;
          one.alone = batch.held.size() == 1 && batch.items[index].max_rows == 0;
          held.push_back(std::move(one));
        }
        HoldResult result = co_await Hold(std::move(held));
        if (ended_) co_return false;
        if (result.outcome == HoldResult::Outcome::kJudgeAgain) continue;
        if (result.outcome == HoldResult::Outcome::kDenied) {
          const Expected& expected = batch.items[batch.held.front()].expected;
          batch.denial = result.denial;
          batch.denied = batch.held.front();
          batch.denied_execution = expected.execution;
          batch.denied_portal = expected.portal;
          batch.denied_sql = AskedText(*expected.portal->prepared);
        } else {
          for (size_t i = 0; i < batch.held.size(); ++i) {
            batch.items[batch.held[i]].expected.execution->approval_id = result.approval_ids[i];
            StartRunClock(result.run_within, batch.items[batch.held[i]].expected.execution);
          }
          if (result.rows_max.has_value()) {
            // It is alone; what follows waits until its count is known.
            BatchItem& limited = batch.items[batch.held.front()];
            result.Limit(limited.expected.execution.get());
            limited.barrier = true;
            batch.end = batch.held.front() + 1;
          }
        }
      }
    }
    co_return co_await ForwardBatch(&batch);
  }
}

Task<bool> Relay::ForwardBatch(Batch* batch) {
  size_t forward = batch->denial != nullptr ? batch->denied : batch->end;
  for (size_t i = 0; i < forward; ++i) {
    const Expected& expected = batch->items[i].expected;
    if (expected.execution == nullptr) continue;
    if (!SpendProbes(expected.portal.get(), expected.execution.get())) {
      batch->Deny(0, ToErrorFields(expected.execution->plan->DenyFields()));
      batch->denied = forward = i;
      batch->denied_execution = expected.execution;
      batch->denied_portal = expected.portal;
      batch->denied_sql = AskedText(*expected.portal->prepared);
      break;
    }
    IntentInput intent;
    intent.sql = AskedText(*expected.portal->prepared);
    intent.portal = expected.portal.get();
    intent.decision = expected.execution->approval_id.empty() ? "allow" : "hold";
    intent.search_path = SearchPathText();
    const absl::Status recorded = audit_.Intent(*expected.execution, intent);
    if (!recorded.ok()) {
      batch->denial = std::make_shared<const wire::ErrorFields>(AuditUnavailable(recorded));
      batch->denied = forward = i;
      batch->denied_execution = nullptr;
    }
  }
  if (batch->denial != nullptr && batch->denied_execution != nullptr) {
    RecordDenied(*batch->denied_execution, batch->denied_sql, batch->denied_portal.get(), *batch->denial);
  }
  const absl::Status committed = co_await audit_.Commit(loop_);
  if (ended_ || !committed.ok()) {
    for (size_t i = 0; i < forward; ++i) {
      if (const auto& execution = batch->items[i].expected.execution) audit_.Outcome(*execution, "not forwarded");
    }
  }
  if (ended_) co_return false;
  if (!committed.ok()) {
    batch->denial = std::make_shared<const wire::ErrorFields>(AuditUnavailable(committed));
    forward = 0;
  }

  std::string& out = upstream_.stream->out();
  for (size_t i = 0; i < forward; ++i) {
    BatchItem& item = batch->items[i];
    if (item.message.type == 'H') {
      out.append(item.message.whole);
      continue;
    }
    if (item.describe) {
      wire::AppendDescribePortal(item.expected.name, &out);
      Expected describe;
      describe.kind = Expected::Kind::kDescribe;
      describe.target = 'P';
      describe.name = item.expected.name;
      describe.ours = true;
      describe.sensitive = item.expected.sensitive;
      answers_.Push(std::move(describe));
    }
    if (item.replacement.empty()) {
      out.append(item.message.whole);
    } else {
      SayPlaceholders(*item.prepared->changed);
      out.append(item.replacement);
    }
    unsynced_ = item.message.type != 'S';
    item.expected.withhold = item.expected.execution != nullptr && item.expected.execution->rows_max.has_value();
    answers_.Push(std::move(item.expected));
  }
  size_t done = batch->end;
  if (batch->denial != nullptr) {
    SendMarkerExecute(batch->denial);
    done = batch->items.size();
    if (batch->items.back().message.type == 'S') {
      wire::AppendSync(&out);
      answers_.Push(Expected());
      unsynced_ = false;
    } else {
      wire::AppendFlush(&out);
    }
  } else if (const char last = batch->items[batch->end - 1].message.type; last != 'S' && last != 'H') {
    // Else the server would keep its answers, and we wait for them before judging what comes next.
    wire::AppendFlush(&out);
  }
  size_t bytes = 0;
  for (size_t i = 0; i < done; ++i) bytes += batch->items[i].message.whole.size();
  const bool limited = batch->denial == nullptr && forward > 0 && batch->items[forward - 1].barrier;
  Consume(bytes);
  upstream_.stream->Flush();
  if (!limited) co_return true;

  // Behind a barrier: the answer decides what comes next.
  if (!co_await WaitQuiet()) co_return false;
  const std::string complete = std::exchange(withheld_complete_, {});
  if (std::exchange(over_limit_, false)) {
    SendMarkerExecute(std::make_shared<const wire::ErrorFields>(PosternError(
        "42501", "too many rows affected", "The statement changed more rows than policy allows. It was undone.",
        "Narrow its WHERE clause.")));
    upstream_.stream->Flush();
  } else {
    client_.out().append(complete);
    client_.Flush();
  }
  co_return true;
}

}  // namespace postern::session
