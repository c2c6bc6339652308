// The server's side of the relay.
#include <algorithm>

#include "common/base/errors.h"
#include "common/base/strings.h"
#include "fmt/format.h"
#include "sidecar/session/relay.h"
#include "sidecar/wire/backend.h"
#include "sidecar/wire/build.h"

namespace postern::session {

using reactor::Task;
using Kind = Expected::Kind;

namespace {

std::vector<sidecar::RowField> ToFields(const std::vector<wire::FieldView>& views) {
  std::vector<sidecar::RowField> fields;
  fields.reserve(views.size());
  for (const wire::FieldView& view : views) {
    fields.push_back({.name = std::string(view.name),
                      .table = view.table,
                      .attnum = view.attnum,
                      .type = view.type,
                      .format = view.format});
  }
  return fields;
}

// An idle session must not keep the memory of its largest message.
constexpr size_t kKeptCapacity = 4096;

// A message of `type` with another body.
void AppendMessage(char type, std::string_view body, std::string* out) {
  const auto length = static_cast<uint32_t>(body.size() + 4);
  out->push_back(type);
  for (int shift = 24; shift >= 0; shift -= 8) out->push_back(static_cast<char>(length >> shift));
  out->append(body);
}

}  // namespace

Task<void> Relay::RunBackend() {
  bool more = ProcessServer({});  // what came along with the log-in
  while (more && !ended_) {
    co_await client_.Drained(services_.limits.max_pending_bytes);
    if (ended_) co_return;
    co_await upstream_.stream->Readable();
    if (ended_) co_return;
    std::string_view bytes;
    switch (upstream_.stream->Read(&bytes)) {
      case reactor::ReadResult::kData:
        more = ProcessServer(bytes);
        break;
      case reactor::ReadResult::kWouldBlock:
        break;
      case reactor::ReadResult::kClosed:
        Fatal("08006", "the connection to the server is lost", "", "upstream");
        break;
    }
  }
}

void Relay::ToClient(std::string_view bytes) { client_.out().append(bytes); }

Execution* Relay::FrontExecution() { return answers_.empty() ? nullptr : answers_.front().execution.get(); }

bool Relay::PassesThrough(char type) {
  if (type != 'D' && type != 'd') return false;
  if (answers_.empty() || answers_.front().ours) return false;
  Execution* execution = FrontExecution();
  if (execution == nullptr) return false;
  if (!execution->NeedsMasks()) return true;
  return type == 'D' ? execution->masks_bound && execution->masks.empty()
                     : execution->masks_bound && execution->copy == nullptr;
}

bool Relay::ProcessServer(std::string_view bytes) {
  // Copied only if a message had begun before.
  const bool kept = !from_server_.empty();
  if (kept) bytes = from_server_.append(bytes);
  size_t at = 0;
  // Bytes [pass, at) go to the client as they are: sent from where they were read.
  size_t pass = 0;
  for (;;) {
    const std::string_view rest = bytes.substr(at);
    if (pass_to_client_ > 0) {
      const size_t n = std::min(pass_to_client_, rest.size());
      pass_to_client_ -= n;
      at += n;
      if (pass_to_client_ > 0) break;
      continue;
    }
    wire::Header header;
    const wire::Read framed = wire::ReadBackendHeader(rest, &header);
    if (framed == wire::Read::kNeedMore) break;
    if (framed == wire::Read::kMessage && PassesThrough(header.type)) {
      Execution* execution = FrontExecution();
      ++execution->rows;
      execution->bytes += static_cast<int64_t>(header.size);
      pass_to_client_ = header.size;
      continue;
    }
    ToClient(bytes.substr(pass, at - pass));
    pass = at;
    if (framed == wire::Read::kMalformed) {
      audit_.Alarm("UPSTREAM_MALFORMED", "the server sent a malformed message");
      Fatal("08P01", "malformed message from the server", "", "upstream");
      return false;
    }
    wire::Message message;
    if (wire::ReadBackend(rest, &message) == wire::Read::kNeedMore) break;
    const bool going = HandleServerMessage(message);
    at += message.whole.size();
    pass = at;
    if (!going || ended_) return false;
  }
  audit_.FlushUrgent();
  client_.Send(bytes.substr(pass, at - pass));
  if (kept) {
    from_server_.erase(0, at);
    if (from_server_.empty() && from_server_.capacity() > kKeptCapacity) from_server_.shrink_to_fit();
  } else {
    from_server_.assign(bytes.substr(at));
  }
  return true;
}

bool Relay::Unexpected(const wire::Message& message) {
  audit_.Alarm("UPSTREAM_OUT_OF_TURN", fmt::format("message '{}' with {} answers owed", message.type, answers_.size()));
  Fatal("08P01", "the server sent a message out of turn", "", "upstream");
  return false;
}

bool Relay::HandleServerMessage(const wire::Message& message) {
  switch (message.type) {
    case 'S':
      return OnParameterStatus(message);
    case 'N':
      if (answers_.AnySensitive()) {
        AppendMessage('N', mask::ScrubErrorFields(InAskedText(message.body)), &client_.out());
      } else {
        ToClient(message.whole);
      }
      return true;
    case 'A':
      ToClient(message.whole);
      return true;
    case 'E':
      return OnServerError(message);
    default:
      break;
  }
  if (answers_.empty()) return Unexpected(message);
  Expected& front = answers_.front();
  if (front.ours && front.kind == Kind::kQuery) return OnOurs(message);
  const bool query = front.kind == Kind::kQuery;
  const bool executing = query || front.kind == Kind::kExecute;
  switch (message.type) {
    case '1':
      if (front.kind != Kind::kParse) return Unexpected(message);
      state_.OnParseComplete(front.name, front.prepared);
      break;
    case '2':
      if (front.kind != Kind::kBind) return Unexpected(message);
      state_.OnBindComplete(front.name, front.portal);
      break;
    case '3':
      if (front.kind != Kind::kClose) return Unexpected(message);
      state_.OnCloseComplete(front.target, front.name);
      break;
    case 't':
      if (front.kind != Kind::kDescribe) return Unexpected(message);
      ToClient(message.whole);
      return true;  // RowDescription or NoData follows
    case 'T':
      return OnRowDescription(message);
    case 'n':
      if (front.kind != Kind::kDescribe) return Unexpected(message);
      state_.OnDescribed(front.target, front.name, {});
      if (!front.ours) ToClient(message.whole);
      answers_.Pop();
      if (answers_.empty()) Answered();
      return true;
    case 'D':
      if (!executing) return Unexpected(message);
      return OnDataRow(message);
    case 'C':
    case 'I':
    case 's':
      if (!executing) return Unexpected(message);
      return OnCommandComplete(message);
    case 'G':
    case 'H':
      if (!executing) return Unexpected(message);
      return OnCopyResponse(message);
    case 'd':
      if (!executing) return Unexpected(message);
      return OnCopyData(message);
    case 'c':
      if (!executing) return Unexpected(message);
      if (front.execution != nullptr && front.execution->copy != nullptr) {
        if (absl::Status finished = front.execution->copy->Finish(&client_.out()); !finished.ok()) {
          return OriginMismatch(finished);
        }
      }
      ToClient(message.whole);
      return true;
    case 'V':
      if (front.kind != Kind::kFunctionCall) return Unexpected(message);
      ToClient(message.whole);
      return true;
    case 'Z':
      return OnReady(message);
    default:
      return Unexpected(message);
  }
  // ParseComplete, BindComplete, CloseComplete.
  if (!front.ours) ToClient(message.whole);
  answers_.Pop();
  if (answers_.empty()) Answered();
  return true;
}

bool Relay::OnRowDescription(const wire::Message& message) {
  Expected& front = answers_.front();
  const auto views = wire::ParseRowDescription(message.body);
  if (!views || (front.kind != Kind::kDescribe && front.kind != Kind::kQuery)) return Unexpected(message);
  if (front.kind == Kind::kDescribe) {
    // Who may read everything needs no record of where it comes from.
    if (masked_ || !NowGrounds().origins->empty()) state_.OnDescribed(front.target, front.name, ToFields(*views));
    if (!front.ours) ToClient(message.whole);
    answers_.Pop();
    if (answers_.empty()) Answered();
    return true;
  }
  Execution* execution = front.execution.get();
  if (execution != nullptr && execution->NeedsMasks() && !BindMasksFor(execution, ToFields(*views))) return false;
  ToClient(message.whole);
  return true;
}

// Decides, before the first row goes out, what is masked in it. The server's word on origins stands against the plan's.
bool Relay::BindMasksFor(Execution* execution, const std::vector<sidecar::RowField>& fields) {
  const sql::Statement* statement = execution->current();
  if (statement == nullptr || execution->statement >= execution->plan->decisions.size()) {
    return OriginMismatch(
        Error(absl::StatusCode::kPermissionDenied, "ORIGIN_MISMATCH", "a result without a statement"));
  }
  auto masks =
      sidecar::BindMasks(execution->plan->decisions[execution->statement], *statement, fields, *execution->origins);
  if (!masks.ok()) return OriginMismatch(masks.status());
  execution->masks = *std::move(masks);
  execution->masks_bound = true;
  NoteSearched(execution->masks, execution);
  return true;
}

void Relay::NoteSearched(const std::vector<mask::ColumnMask>& masks, Execution* execution) {
  const sql::Statement* statement = execution->current();
  for (const mask::ColumnMask& mask : masks) {
    if (mask.detect.empty()) continue;
    const auto at = static_cast<size_t>(mask.column);
    const bool named = statement != nullptr && at < statement->outputs.size();
    execution->searched.emplace_back(named ? statement->outputs[at].name : fmt::format("column {}", mask.column + 1),
                                     mask);
  }
}

// Before the masks of a result go: what its detectors have found goes into the outcome.
void Relay::CollectFound(Execution* execution) {
  for (const auto& [name, mask] : std::exchange(execution->searched, {})) {
    for (int i = 0; i < policy::kDetectorCount; ++i) {
      const auto detector = static_cast<policy::Detector>(i);
      const int64_t count = (*mask.counts)[static_cast<size_t>(i)];
      if (count == 0) continue;
      execution->found.push_back(fmt::format("{}: {} {}", name, count, policy::DetectorName(detector)));
      if (mask.alarm.Contains(detector)) audit_.Alarm("DETECTED", execution->found.back());
    }
  }
}

bool Relay::OriginMismatch(const absl::Status& status) {
  audit_.Alarm("ORIGIN_MISMATCH", StdView(status.message()));
  // The catalog may be behind: the next session judges by a fresh one.
  services_.catalogs.Refresh(info_.claims.target, info_.database, [](absl::StatusOr<sidecar::CatalogPtr>) {});
  Execution* execution = FrontExecution();
  if (execution != nullptr) execution->sqlstate = "42501";
  Fatal("42501", "the result is not what the statement was judged to give",
        "The server and the analysis disagree about where its columns come from. Nothing of it was passed on.",
        "origin mismatch");
  return false;
}

bool Relay::OnDataRow(const wire::Message& message) {
  Expected& front = answers_.front();
  Execution* execution = front.execution.get();
  if (execution == nullptr) return Unexpected(message);
  ++execution->rows;
  execution->bytes += static_cast<int64_t>(message.whole.size());
  if (!execution->masks_bound) {
    // Only Execute comes here: a Query has had its RowDescription.
    const auto portal = front.kind == Kind::kExecute ? state_.portal(front.name) : nullptr;
    if (portal == nullptr || !portal->fields.has_value()) {
      return OriginMismatch(
          Error(absl::StatusCode::kPermissionDenied, "ORIGIN_MISMATCH", "rows without a description"));
    }
    if (!BindMasksFor(execution, *portal->fields)) return false;
  }
  if (execution->masks.empty()) {
    ToClient(message.whole);
    return true;
  }
  const absl::Status rewritten = mask::RewriteDataRow(*info_.masker, execution->masks, message.body, &client_.out());
  if (!rewritten.ok()) return OriginMismatch(rewritten);
  return true;
}

bool Relay::OnCopyResponse(const wire::Message& message) {
  Execution* execution = FrontExecution();
  const sql::Statement* statement = execution == nullptr ? nullptr : execution->current();
  const auto view = wire::ParseCopyResponse(message.body);
  // The plan said COPY, and in which direction; anything else is not what was judged. What was allowed without being
  // understood may be either.
  const bool judged = statement != nullptr &&
                      (statement->copy.has_value() ? statement->copy->to == (message.type == 'H')
                                                   : statement->unanalysable.has_value() && !execution->NeedsMasks());
  if (!view || !judged) return Unexpected(message);
  if (message.type == 'G') {
    copy_in_ = true;
    ToClient(message.whole);
    answered_.Set();
    return true;
  }
  if (execution->NeedsMasks()) {
    auto masks = sidecar::BindCopyMasks(execution->plan->decisions[execution->statement], *statement, view->columns,
                                        *info_.enforcer->catalog(), *execution->origins);
    if (!masks.ok()) return OriginMismatch(masks.status());
    NoteSearched(*masks, execution);
    if (!masks->empty()) {
      execution->copy =
          std::make_unique<mask::CopyMasker>(*info_.masker, *statement->copy, view->columns, *std::move(masks));
    }
    execution->masks_bound = true;
  }
  ToClient(message.whole);
  return true;
}

bool Relay::OnCopyData(const wire::Message& message) {
  Execution* execution = FrontExecution();
  if (execution == nullptr) return Unexpected(message);
  ++execution->rows;
  execution->bytes += static_cast<int64_t>(message.whole.size());
  if (execution->copy == nullptr) {
    if (execution->NeedsMasks() && !execution->masks_bound) return Unexpected(message);
    ToClient(message.whole);
    return true;
  }
  const absl::Status masked = execution->copy->Consume(message.body, &client_.out());
  return masked.ok() ? true : OriginMismatch(masked);
}

bool Relay::OnCommandComplete(const wire::Message& message) {
  Expected& front = answers_.front();
  Execution* execution = front.execution.get();
  if (message.type == 'C') {
    const auto tag = wire::ParseCommandComplete(message.body);
    if (!tag) return Unexpected(message);
    if (execution != nullptr) {
      execution->tag = std::string(*tag);
      if (const auto rows = wire::RowsOfTag(*tag)) execution->rows = *rows;
      if (const sql::Statement* statement = execution->current()) {
        state_.OnStatementComplete(*statement, *execution->plan, execution->statement, *tag);
      }
      if (execution->rows_max.has_value() && execution->rows > *execution->rows_max) {
        execution->over_limit = over_limit_ = true;
        execution->sqlstate = "42501";
        execution->error = "too many rows affected";
      }
    }
  }
  copy_in_ = false;
  if (front.withhold && message.type == 'C') {
    withheld_complete_ = std::string(message.whole);
  } else {
    ToClient(message.whole);
  }
  if (front.kind == Kind::kQuery) {
    if (execution != nullptr) {
      CollectFound(execution);
      ++execution->statement;
      execution->masks_bound = false;
      execution->masks.clear();
      execution->copy.reset();
    }
    return true;
  }
  if (execution != nullptr) FinishExecution(execution, execution->over_limit ? "failed" : "completed");
  answers_.Pop();
  if (answers_.empty()) Answered();
  return true;
}

bool Relay::OnReady(const wire::Message& message) {
  Expected& front = answers_.front();
  const auto status = wire::ParseReady(message.body);
  if (!status || (front.kind != Kind::kSync && front.kind != Kind::kQuery && front.kind != Kind::kFunctionCall)) {
    return Unexpected(message);
  }
  // What is withheld has its outcome with the COMMIT, which may fail.
  if (front.execution != nullptr && !front.withhold) {
    FinishAnswered(front.execution.get());
  }
  if (front.withhold) {
    withheld_ready_ = std::string(message.whole);
  } else {
    ToClient(message.whole);
  }
  answers_.Pop();
  unsynced_ = false;
  copy_in_ = false;
  state_.OnReadyForQuery(*status);
  if (answers_.empty()) {
    client_.Flush();
    Answered();
  }
  return true;
}

std::string Relay::InAskedText(std::string_view body) {
  const sidecar::ChangedText* changed = answers_.empty() ? nullptr : answers_.front().changed();
  if (changed == nullptr) return std::string(body);
  return wire::WithPosition(
      body, [&](int position) { return sql::PositionBefore(changed->asked, changed->edits, position); });
}

bool Relay::OnServerError(const wire::Message& message) {
  const auto error = wire::ParseError(message.body);
  if (!error) return Unexpected(message);
  copy_in_ = false;
  if (error->severity == "FATAL" || error->severity == "PANIC") {
    // The server is going away; its close follows. The client hears the server's reason.
    if (answers_.AnySensitive()) {
      AppendMessage('E', mask::ScrubErrorFields(message.body), &client_.out());
    } else {
      ToClient(message.whole);
    }
    End({.reason = "upstream"});
    return false;
  }
  if (answers_.empty()) return Unexpected(message);
  state_.OnError();
  Expected& front = answers_.front();
  if (front.ours && front.kind == Kind::kQuery) return OnOurs(message);
  const std::string body = InAskedText(message.body);
  const std::string scrubbed = answers_.AnySensitive() ? mask::ScrubErrorFields(body) : body;
  if (front.denial != nullptr) {
    wire::AppendError(*front.denial, &client_.out());
  } else if (front.execution != nullptr && front.execution->run_expired && error->sqlstate == "57014") {
    wire::AppendError(PosternError("57014", "the statement ran longer than its approval allows",
                                   "It was cancelled and has changed nothing.",
                                   "Make it smaller, or ask for a rule with a longer `run_within`."),
                      &client_.out());
  } else {
    AppendMessage('E', scrubbed, &client_.out());
  }
  if (front.execution != nullptr) {
    front.execution->sqlstate = std::string(error->sqlstate);
    if (const auto shown = wire::ParseError(scrubbed)) front.execution->error = std::string(shown->message);
  }
  for (Expected& dropped : answers_.Fail()) {
    if (dropped.execution == nullptr) continue;
    Execution& execution = *dropped.execution;
    if (execution.sqlstate.empty()) {
      execution.error = "skipped: an earlier message of the pipeline failed";
      FinishExecution(&execution, "failed");
    } else {
      FinishExecution(&execution, execution.sqlstate == "57014" ? "cancelled" : "failed");
    }
  }
  if (answers_.empty()) {
    // No Sync is on its way yet, so the server skips whatever comes before one.
    skip_to_sync_ = true;
    client_.Flush();
    Answered();
  }
  return true;
}

bool Relay::OnParameterStatus(const wire::Message& message) {
  const auto parameter = wire::ParseParameterStatus(message.body);
  if (!parameter) return Unexpected(message);
  state_.OnParameterStatus(parameter->first, parameter->second);
  unsafe_setting_ = state_.CheckReportedSettings();
  if (!unsafe_setting_.ok() && !NowGrounds().everything) {
    EndForSetting();
    return false;
  }
  if (client_hears_) ToClient(message.whole);
  return true;
}

// Answers to our own queries.
bool Relay::OnOurs(const wire::Message& message) {
  switch (message.type) {
    case 'T':
      return true;
    case 'C':
    case 'I':
      ours_.ok = ours_.sqlstate.empty();
      return true;
    case 'D': {
      // int16 count, then int32 length and bytes of the first column.
      const std::string_view body = message.body;
      if (ours_.value.has_value() || body.size() < 6) return true;
      uint32_t length = 0;
      for (size_t i = 2; i < 6; ++i) length = length << 8 | static_cast<uint8_t>(body[i]);
      if (length <= body.size() - 6) ours_.value = std::string(body.substr(6, length));
      return true;
    }
    case 'E': {
      const auto error = wire::ParseError(message.body);
      ours_.ok = false;
      ours_.sqlstate = std::string(error->sqlstate);
      ours_.error_body.clear();
      // A commit of the client's work may fail with its values in the text.
      const std::string scrubbed = mask::ScrubErrorFields(message.body);
      if (const auto shown = wire::ParseError(scrubbed)) ours_.message = std::string(shown->message);
      AppendMessage('E', scrubbed, &ours_.error_body);
      return true;
    }
    case 'Z': {
      const auto status = wire::ParseReady(message.body);
      if (!status) return Unexpected(message);
      answers_.Pop();
      unsynced_ = false;
      state_.OnReadyForQuery(*status);
      if (answers_.empty()) Answered();
      return true;
    }
    default:
      return Unexpected(message);
  }
}

void Relay::FinishExecution(Execution* execution, std::string_view outcome) {
  CollectFound(execution);
  if (!std::exchange(execution->finished, true)) audit_.Outcome(*execution, outcome);
}

void Relay::FinishAnswered(Execution* execution) {
  FinishExecution(execution, execution->sqlstate.empty()      ? "completed"
                             : execution->sqlstate == "57014" ? "cancelled"
                                                              : "failed");
}

}  // namespace postern::session
