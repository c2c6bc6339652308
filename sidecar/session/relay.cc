#include "sidecar/session/relay.h"

#include "common/base/errors.h"
#include "common/base/strings.h"
#include "common/crypto/hash.h"
#include "fmt/format.h"
#include "sidecar/session/startup_parameters.h"
#include "sidecar/wire/build.h"

namespace postern::session {

using reactor::Task;

wire::ErrorFields ToErrorFields(const sidecar::Plan::Refusal& refusal) {
  return {.severity = "ERROR",
          .sqlstate = refusal.sqlstate,
          .message = refusal.message,
          .detail = refusal.detail,
          .hint = refusal.hint,
          .position = refusal.position};
}

wire::ErrorFields PosternError(std::string_view sqlstate, std::string_view message, std::string_view detail,
                               std::string_view hint) {
  return {.severity = "ERROR",
          .sqlstate = std::string(sqlstate),
          .message = fmt::format("postern: {}", message),
          .detail = std::string(detail),
          .hint = std::string(hint)};
}

wire::ErrorFields AuditUnavailable(const absl::Status& status) {
  return PosternError("58030", "statement refused: it cannot be recorded", std::string(status.message()),
                      "The sidecar's audit spool is full or failing. Try again; if it lasts, tell its operator.");
}

Relay::Relay(reactor::EventLoop& loop, const Services& services, const SessionInfo& info, reactor::Stream& client,
             UpstreamConnection upstream, AuditTrail& audit, WarmPool& warm)
    : loop_(loop),
      services_(services),
      info_(info),
      client_(client),
      upstream_(std::move(upstream)),
      audit_(audit),
      warm_(warm),
      marker_(fmt::format("postern_refused_{}", crypto::HexEncode(services.random.Bytes(16)))),
      from_server_(std::move(upstream_.rest)),
      answered_(loop) {
  state_.SetDefaults({"public"}, info.role);
  for (const auto& [name, value] : *upstream_.parameters) state_.OnParameterStatus(name, value);
  client_.OnHangup([this] {
    if (interrupt_hold_) interrupt_hold_(/*cancelled=*/false);
  });
}

namespace {

std::string SetApplicationName(const SessionInfo& info) {
  std::string quoted;
  for (const char c : info.upstream_application_name) {
    if (c == '\'') quoted.push_back(c);
    quoted.push_back(c);
  }
  return fmt::format("SET application_name TO '{}'", quoted);
}

}  // namespace

Parameters Relay::TakeParameters() {
  client_hears_ = true;
  Parameters parameters = *upstream_.parameters;
  for (auto& [name, value] : parameters) {
    // As DISCARD ALL leaves the connection to the next session.
    if (name == "application_name") value = info_.upstream_application_name;
  }
  return parameters;
}

Task<absl::Status> Relay::Prepare() {
  if (absl::Status settings = state_.CheckReportedSettings(); !settings.ok()) co_return settings;
  const std::string ask = fmt::format("{}; SHOW search_path", SetApplicationName(info_));
  const OurResult path = co_await OurQuery(ask);
  if (!path.ok || !path.value.has_value()) {
    co_return Error(absl::StatusCode::kUnavailable, "UPSTREAM_PROTOCOL",
                    fmt::format("the server does not tell its search_path: {}", path.message));
  }
  state_.ConfirmSearchPath(*path.value);
  // What the session starts with goes upstream in its start-up packet.
  terms_revision_ = services_.uplink.state()->policy_revision;
  co_return absl::OkStatus();
}

Task<bool> Relay::HoldTerms() {
  const auto control = services_.uplink.state();
  const policy::SessionTerms terms = control->policy->TermsFor(info_.identity.subject, info_.identity.target);
  if (terms.statement_timeout_ms > 0) {
    const OurResult shown = co_await OurQuery("SHOW statement_timeout");
    if (ended_) co_return false;
    const auto now = policy::TimeoutMilliseconds(shown.value.value_or(""));
    if (!now || *now <= 0 || *now > terms.statement_timeout_ms) {
      const std::string shorten = fmt::format("SET statement_timeout TO {}", terms.statement_timeout_ms);
      co_await OurQuery(shorten);
      if (ended_) co_return false;
    }
  }
  if (terms.read_only) {
    const OurResult shown = co_await OurQuery("SHOW default_transaction_read_only");
    if (ended_) co_return false;
    if (shown.value != "on") co_await OurQuery("SET default_transaction_read_only TO on");
    if (ended_) co_return false;
  }
  if (state_.reported("application_name") == kNeutralApplicationName) {
    // RESET ALL and its like.
    const std::string name = SetApplicationName(info_);
    co_await OurQuery(name);
    if (ended_) co_return false;
  }
  // Before 15.9 and its like, DISCARD ALL and RESET SESSION AUTHORIZATION forget the role of the start-up packet.
  const std::string& login = info_.target.login_role();
  const std::string role = state_.role.empty() || state_.role == login ? "none" : state_.role;
  OurResult shown = co_await OurQuery("SHOW role");
  if (ended_) co_return false;
  if (shown.value != role && !(role == "none" && shown.value == login)) {
    // "none" as an identifier is a role's name, and an error.
    const std::vector<std::string> name = {role};
    const std::string restore = fmt::format("SET ROLE {}", role == "none" ? role : QuoteIdentifiers(name));
    shown = co_await OurQuery(restore);
    if (ended_) co_return false;
    if (!shown.ok) {
      Fatal("42501", "the session's role cannot be restored", shown.message, "role lost");
      co_return false;
    }
  }
  state_.ConfirmTerms();
  terms_revision_ = control->policy_revision;
  co_return true;
}

std::shared_ptr<const sidecar::Plan> Relay::JudgeText(std::string_view text) {
  return info_.enforcer->Judge(info_.identity, state_, *services_.uplink.state()->policy, text);
}

void Relay::Consume(size_t size) {
  consumed_ += size;
  if (consumed_ == in_.size()) {
    in_.clear();
    consumed_ = 0;
    // A large message must not keep its memory for the rest of the session.
    if (in_.capacity() > reactor::Stream::kReadChunk) in_.shrink_to_fit();
  }
}

Task<bool> Relay::ReadClient() {
  if (consumed_ > reactor::Stream::kReadChunk) {
    in_.erase(0, consumed_);
    consumed_ = 0;
  }
  co_await upstream_.stream->Drained(services_.limits.max_pending_bytes);
  for (;;) {
    if (ended_) co_return false;
    co_await client_.Readable();
    if (ended_) co_return false;
    const reactor::ReadResult read = client_.Read(&in_);
    if (read == reactor::ReadResult::kData) co_return true;
    if (read == reactor::ReadResult::kClosed) {
      End({.reason = "client"});
      co_return false;
    }
  }
}

Task<bool> Relay::WaitQuiet() {
  while (!ended_ && !answers_.empty() && !copy_in_) co_await answered_.Wait();
  co_return !ended_;
}

void Relay::Answered() {
  answered_.Set();
  if (draining_ && answers_.empty() && state_.transaction_status() == 'I' && !interrupt_hold_) End(drain_ending_);
}

Task<std::shared_ptr<const wire::ErrorFields>> Relay::Settle() {
  if (NowGrounds().everything) co_return nullptr;
  if (!unsafe_setting_.ok()) {
    // It was set while policy allowed everything, and policy has become narrower.
    EndForSetting();
    co_return nullptr;
  }
  if (state_.TakeCatalogChange()) catalog_stale_ = true;
  if (catalog_stale_) {
    const absl::Status read = co_await RefreshCatalog();
    if (!read.ok()) {
      co_return std::make_shared<const wire::ErrorFields>(
          PosternError("57P03", "the schema has changed and cannot be read again", std::string(read.message()),
                       "Try again in a moment."));
    }
    catalog_stale_ = false;
  }
  if (state_.search_path_uncertain() && state_.transaction_status() != 'E') {
    if (unsynced_) {
      co_return std::make_shared<const wire::ErrorFields>(
          PosternError("42501", "search_path may have changed within this pipeline",
                       "unanalysable: what names mean is known again after Sync", "Send Sync before this statement."));
    }
    const OurResult path = co_await OurQuery("SHOW search_path");
    if (path.ok && path.value.has_value()) state_.ConfirmSearchPath(*path.value);
  }
  // A failed transaction is over before anything else runs.
  if (state_.transaction_status() == 'E') co_return nullptr;
  if (state_.terms_uncertain() && unsynced_) {
    co_return std::make_shared<const wire::ErrorFields>(
        PosternError("42501", "the session's settings may have changed within this pipeline",
                     "What policy sets for the session is put right after Sync.", "Send Sync before this statement."));
  }
  const bool new_terms = terms_revision_ != services_.uplink.state()->policy_revision;
  if (state_.terms_uncertain() || (new_terms && !unsynced_)) co_await HoldTerms();
  co_return nullptr;
}

void Relay::EndForSetting() {
  audit_.Alarm("UNSAFE_SETTING", StdView(unsafe_setting_.message()));
  Fatal("42501", "a setting has changed that statements cannot be judged under", StdView(unsafe_setting_.message()),
        "unsafe setting");
}

bool Relay::AskForNewerCatalog(const sidecar::Plan& plan) {
  // Guessing at names must not make the sidecar read catalogs all day.
  constexpr absl::Duration kYoung = absl::Milliseconds(200);
  if (plan.analysis == nullptr || plan.verdict != policy::Verdict::kDeny) return false;
  for (const sql::Statement& statement : plan.analysis->statements) {
    if (!statement.unanalysable.has_value()) continue;
    if (services_.catalogs.Age(info_.claims.target, info_.database) < kYoung) return false;
    catalog_stale_ = true;
    return true;
  }
  return false;
}

Task<absl::Status> Relay::RefreshCatalog() {
  struct Answer {
    explicit Answer(reactor::EventLoop& loop) : done(loop) {}
    reactor::Event done;
    absl::Status status;
  };
  auto answer = std::make_shared<Answer>(loop_);
  services_.catalogs.Refresh(info_.claims.target, info_.database,
                             [answer, &loop = loop_](absl::StatusOr<sidecar::CatalogPtr> catalog) {
                               loop.Post([answer, status = catalog.status()] {
                                 answer->status = status;
                                 answer->done.Set();
                               });
                             });
  co_await answer->done.Wait();
  co_return answer->status;
}

Task<Relay::OurResult> Relay::OurQuery(std::string_view text) {
  ours_ = OurResult();
  wire::AppendQuery(text, &upstream_.stream->out());
  Expected expected;
  expected.kind = Expected::Kind::kQuery;
  expected.ours = true;
  answers_.Push(std::move(expected));
  state_.OnQueryStart();
  upstream_.stream->Flush();
  if (!co_await WaitQuiet()) co_return OurResult{.ok = false, .message = "the session has ended"};
  co_return ours_;
}

std::shared_ptr<Execution> Relay::NewExecution(std::shared_ptr<const sidecar::Plan> plan) {
  auto execution = std::make_shared<Execution>();
  execution->number = audit_.NextNumber();
  execution->plan = std::move(plan);
  for (const bool opaque : execution->plan->opaque) leaves_nothing_ = leaves_nothing_ && !opaque;
  execution->started = services_.clock.Monotonic();
  execution->origins = NowGrounds().origins;
  masked_ = masked_ || execution->NeedsMasks();
  return execution;
}

std::optional<sidecar::Probes> Relay::ProbesOf(const sidecar::Portal* portal, const Execution& execution) const {
  const sidecar::Plan& plan = *execution.plan;
  if (plan.refusal.has_value() || plan.verdict == policy::Verdict::kDeny) return std::nullopt;
  return portal == nullptr ? sidecar::ProbesOf(plan) : sidecar::ProbesOf(plan, portal->values, portal->value_formats);
}

void Relay::RefuseIfSpent(const sidecar::Portal* portal, Execution* execution) const {
  const std::optional<sidecar::Probes> probes = ProbesOf(portal, *execution);
  if (!probes.has_value() || info_.enforcer->probes().Has(info_.claims.grant_id, *probes)) return;
  execution->plan = sidecar::RefusedForProbes(*execution->plan, *probes);
}

bool Relay::SpendProbes(const sidecar::Portal* portal, Execution* execution) {
  const std::optional<sidecar::Probes> probes = ProbesOf(portal, *execution);
  if (!probes.has_value()) return true;
  if (info_.enforcer->probes().Spend(info_.claims.grant_id, info_.claims.expires_at, services_.clock.Now(), *probes)) {
    return true;
  }
  execution->plan = sidecar::RefusedForProbes(*execution->plan, *probes);
  return false;
}

void Relay::SayPlaceholders(const sidecar::ChangedText& changed) {
  wire::AppendNotice({.severity = "NOTICE",
                      .sqlstate = "01000",
                      .message = "postern: NULL stands for masked columns in this statement",
                      .detail = fmt::format("{}", fmt::join(changed.columns, ", ")),
                      .hint = "Select a masked column by itself, without expressions and conditions on masked columns, "
                              "and its mask's own value comes back."},
                     &client_.out());
}

namespace {

// The denial of a prepared text that policy would now have changed.
std::shared_ptr<const sidecar::Plan> RefusedAsPrepared(const sidecar::Plan& plan) {
  auto refused = std::make_shared<sidecar::Plan>(*plan.unchanged);
  if (refused->decisive < refused->decisions.size()) {
    refused->decisions[refused->decisive].hint =
        "the statement was prepared before policy had placeholders for it; prepare it again";
  }
  return refused;
}

}  // namespace

Relay::Grounds& Relay::NowGrounds() {
  std::shared_ptr<const sidecar::ControlState> control = services_.uplink.state();
  const uint64_t generation = info_.enforcer->catalog_generation();
  if (grounds_ == nullptr || grounds_->control != control || grounds_->catalog_generation != generation ||
      grounds_->meaning_version != state_.meaning_version()) {
    auto grounds = std::make_unique<Grounds>();
    grounds->catalog_generation = generation;
    grounds->meaning_version = state_.meaning_version();
    grounds->origins = info_.enforcer->MaskedOrigins(info_.identity, *control->policy);
    grounds->search_path = QuoteIdentifiers(state_.search_path);
    grounds->everything =
        control->policy->AllowsEverything(info_.identity.subject, info_.identity.target, info_.identity.intent);
    grounds->control = std::move(control);
    grounds_ = std::move(grounds);
  }
  return *grounds_;
}

const std::string& Relay::SearchPathText() { return NowGrounds().search_path; }

std::shared_ptr<const sidecar::Plan> Relay::JudgePrepared(const std::string& name,
                                                          const std::shared_ptr<const sidecar::Prepared>& prepared) {
  // EXECUTE of a name that SQL gave depends on what stands behind it.
  if (prepared->by_sql) return JudgeText(fmt::format("EXECUTE {}", QuoteIdentifiers({name})));
  // These make a judgement one of this moment only.
  const bool passing = state_.search_path_uncertain() || state_.catalog_changed_in_transaction();
  constexpr size_t kMostRemembered = 256;
  auto& remembered = NowGrounds().prepared;
  if (!passing) {
    if (const auto known = remembered.find(prepared); known != remembered.end()) return known->second;
  }
  std::shared_ptr<const sidecar::Plan> plan = JudgeText(prepared->text);
  // The server has the text, so that it cannot be changed any more.
  if (plan->changed != nullptr) plan = RefusedAsPrepared(*plan);
  // One that names statements or cursors of the session is judged by what those are at the time.
  if (passing || plan->local) return plan;
  if (remembered.size() >= kMostRemembered) remembered.clear();
  remembered.emplace(prepared, plan);
  return plan;
}

void Relay::RecordDenied(const Execution& execution, std::string_view sql, const sidecar::Portal* portal,
                         const wire::ErrorFields& denial) {
  // Nothing is going to be forwarded, so a spool that takes no more gates changes nothing for the client.
  [[maybe_unused]] const absl::Status recorded = audit_.Intent(
      execution,
      {.sql = sql, .portal = portal, .decision = "deny", .denial = &denial, .search_path = SearchPathText()});
  audit_.Flush();
}

void Relay::Fatal(std::string_view sqlstate, std::string_view message, std::string_view detail,
                  std::string_view reason) {
  End({.reason = std::string(reason),
       .fatal = {.severity = "FATAL",
                 .sqlstate = std::string(sqlstate),
                 .message = fmt::format("postern: {}", message),
                 .detail = std::string(detail)}});
}

bool Relay::LeavesNothing(std::string_view reason) const {
  return reason == "client" && !upstream_.warm_key.empty() && answers_.empty() && !unsynced_ && !copy_in_ &&
         !skip_to_sync_ && state_.transaction_status() == 'I' && leaves_nothing_ && from_server_.empty() &&
         pass_to_client_ == 0 && pass_to_server_ == 0 && upstream_.stream->pending() == 0;
}

void Relay::End(Ending ending) {
  if (ended_) return;
  ended_ = true;
  end_reason_ = ending.reason;
  const bool executing = answers_.Executing();
  const bool leaves_nothing = LeavesNothing(ending.reason);
  // A message of the server that is half out cannot be interrupted by one of ours.
  if (!ending.fatal.message.empty() && pass_to_client_ == 0) {
    ending.fatal.severity = "FATAL";
    wire::AppendError(ending.fatal, &client_.out());
  }
  client_.Flush();
  while (!answers_.empty()) {
    if (const auto& execution = answers_.front().execution) FinishExecution(execution.get(), "lost");
    answers_.Pop();
  }
  if (leaves_nothing) {
    upstream_.stream->Wake();
    warm_.Return(std::move(upstream_));
  } else if (executing) {
    reactor::Detach(
        CancelUpstream(loop_, services_.upstream_tls, info_.target, upstream_.process_id, upstream_.secret_key));
  } else {
    wire::AppendTerminate(&upstream_.stream->out());
    upstream_.stream->Flush();
  }
  if (upstream_.stream != nullptr) upstream_.stream->Close();
  if (interrupt_hold_) interrupt_hold_(/*cancelled=*/false);
  answered_.Set();
  client_.OnHangup(nullptr);
  client_.Wake();
  if (on_end_) on_end_();
}

void Relay::Cancel() {
  if (ended_) return;
  if (interrupt_hold_) {
    interrupt_hold_(/*cancelled=*/true);
    return;
  }
  if (!answers_.Executing()) return;
  leaves_nothing_ = false;  // it may come late, and must not meet another session's statement
  reactor::Detach(
      CancelUpstream(loop_, services_.upstream_tls, info_.target, upstream_.process_id, upstream_.secret_key));
}

void Relay::Drain(Ending ending) {
  draining_ = true;
  drain_ending_ = std::move(ending);
  if (answers_.empty()) Answered();
}

}  // namespace postern::session
