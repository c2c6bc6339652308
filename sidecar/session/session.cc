#include "sidecar/session/session.h"

#include "common/base/errors.h"
#include "common/base/strings.h"
#include "common/base/timestamps.h"
#include "fmt/format.h"
#include "sidecar/wire/build.h"

namespace postern::session {

using reactor::Task;

namespace {

// How long a client that does not read may delay the end of its connection.
constexpr absl::Duration kLinger = absl::Seconds(2);

// The SQLSTATE of a start-up failure: what contract and Postgres have clients expect.
std::string SqlState(const absl::Status& status, const ErrorDetails& details) {
  if (const auto named = details.metadata.find("sqlstate"); named != details.metadata.end()) return named->second;
  if (details.reason.starts_with("TOKEN_")) return "28P01";
  if (details.reason.starts_with("TOO_MANY_SESSIONS")) return "53300";
  if (details.reason.starts_with("SPOOL_")) return "58030";
  switch (status.code()) {
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kNotFound:
      return "28000";
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return "57P03";
    default:
      return "58000";
  }
}

// What the client may know. Whoever has no valid token learns only that: the log has the reason.
wire::ErrorFields FatalOf(const absl::Status& status) {
  const ErrorDetails details = DetailsOf(status);
  wire::ErrorFields fatal;
  fatal.severity = "FATAL";
  fatal.sqlstate = SqlState(status, details);
  fatal.hint = details.hint;
  if (fatal.sqlstate != "28P01") {
    fatal.message = fmt::format("postern: {}", std::string(status.message()));
    return fatal;
  }
  fatal.message = "postern: the password is not a valid token";
  if (details.reason == "TOKEN_EXPIRED") fatal.detail = "The token has expired.";
  if (details.reason == "TOKEN_MALFORMED") fatal.detail = "It is not a Postern token.";
  fatal.hint = "Get a token with: postern token request --target T --do … --reason …";
  return fatal;
}

}  // namespace

Session::Session(reactor::EventLoop& loop, const Services& services, WarmPool& warm,
                 std::unique_ptr<reactor::Stream> client, Peer peer)
    : loop_(loop), services_(services), warm_(warm), client_(std::move(client)), peer_(std::move(peer)) {}

Session::~Session() = default;

Task<void> Session::Run(std::shared_ptr<Session> session) {
  Session& self = *session;
  // One silent client costs one timer, not a thread.
  self.startup_timer_ = self.loop_.After(self.services_.limits.startup_deadline, [&self] { self.client_->Close(); });
  std::optional<ClientStartup> startup = co_await self.ReadStartupMessage();
  bool open = false;
  if (startup.has_value()) {
    self.startup_ = *std::move(startup);
    std::optional<crypto::Secret> token = co_await self.AskToken();
    if (token.has_value()) open = co_await self.LogIn(*std::move(token));
  }
  self.loop_.CancelTimer(*self.startup_timer_);
  std::string reason = "refused";
  if (open) {
    self.Report({});
    co_await self.relay_->RunFrontend();
    reason = self.relay_->end_reason();
    self.Report(reason);
  } else if (self.relay_ != nullptr) {
    self.relay_->End({.reason = "refused"});
  }
  if (self.expiry_timer_.has_value()) self.loop_.CancelTimer(*self.expiry_timer_);
  if (self.audit_.has_value()) self.audit_->SessionEnd(reason);
  if (self.key_.has_value()) self.services_.registry.Remove(self.info_.id);
  self.following_.reset();
  co_await self.Linger();
  // The relay's reading coroutine holds the session too and returns on its own.
}

void Session::Report(std::string_view end_reason) const {
  v1::Session report = info_.ToProto(start_time_);
  if (!end_reason.empty()) {
    report.set_state(v1::SESSION_ENDED);
    report.set_end_reason(std::string(end_reason));
    *report.mutable_end_time() = ToTimestamp(services_.clock.Now());
  }
  services_.uplink.ReportSession(report);
}

Task<void> Session::Linger() {
  const auto timer = loop_.After(kLinger, [this] { client_->Close(); });
  client_->Flush();
  co_await client_->Drained(1);
  loop_.CancelTimer(timer);
  client_->Close();
}

void Session::Refuse(const wire::ErrorFields& fatal, std::string_view reason) {
  if (refused_) return;
  refused_ = true;
  wire::ErrorFields fields = fatal;
  fields.severity = "FATAL";
  v1::AuditRecord record;
  *record.mutable_time() = ToTimestamp(services_.clock.Now());
  record.set_client_address(peer_.address);
  record.set_agent(info_.claims.agent);
  record.set_on_behalf_of(info_.claims.on_behalf_of);
  record.set_grant_id(info_.claims.grant_id);
  record.set_session_id(info_.id);
  record.set_target(info_.claims.target);
  record.set_database(info_.database);
  record.set_reason_code(std::string(reason));
  record.set_reason(fields.message);
  record.set_sqlstate(fields.sqlstate);
  record.set_decision("deny");
  // Recorded before it is told; the client is refused either way.
  [[maybe_unused]] const absl::Status recorded = RecordRefusal(services_.spool, std::move(record));
  wire::AppendError(fields, &client_->out());
  client_->Flush();
}

void Session::RefuseStatus(const absl::Status& status) { Refuse(FatalOf(status), ReasonOf(status)); }

void Session::StartExpiryTimer() {
  const absl::Duration left = info_.claims.expires_at - services_.clock.Now();
  expiry_timer_ = loop_.After(left, [self = weak_from_this()] {
    if (auto live = self.lock()) {
      live->EndSoon({.reason = "expired",
                     .fatal = {.severity = "FATAL",
                               .sqlstate = "57P01",
                               .message = "postern: terminating connection because its token has expired",
                               .hint = "Request a new token and connect again."}});
    }
  });
}

void Session::EndSoon(Ending ending) {
  loop_.Post([self = shared_from_this(), ending = std::move(ending)] {
    if (self->welcomed_) {
      self->relay_->End(ending);
      return;
    }
    // Still logging in: LogIn() tells the client.
    if (!self->ended_early_.has_value()) self->ended_early_ = ending;
    if (self->relay_ != nullptr) self->relay_->End({.reason = ending.reason});
  });
}

void Session::CancelSoon() {
  loop_.Post([self = shared_from_this()] {
    if (self->relay_ != nullptr) self->relay_->Cancel();
  });
}

void Session::DrainSoon(Ending ending) {
  loop_.Post([self = shared_from_this(), ending = std::move(ending)] {
    if (self->welcomed_) {
      self->relay_->Drain(ending);
    } else if (!self->ended_early_.has_value()) {
      self->ended_early_ = ending;
    }
  });
}

}  // namespace postern::session
