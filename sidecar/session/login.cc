// From the token to the first query: who it is, what it may do, and the server's own log-in.
#include <algorithm>

#include <openssl/crypto.h>

#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "fmt/format.h"
#include "sidecar/session/session.h"
#include "sidecar/wire/build.h"

namespace postern::session {

using reactor::Task;

namespace {

constexpr absl::Duration kCatalogTimeout = absl::Seconds(20);
// application_name is cut there by the server (NAMEDATALEN).
constexpr size_t kMaxApplicationName = 63;

// An error of the start-up, with the SQLSTATE that the client gets: metadata "sqlstate".
absl::Status StartupError(absl::StatusCode code, std::string_view reason, std::string_view sqlstate,
                          std::string_view message, std::string_view hint = {}) {
  return Error(code, reason, message, hint, {{"sqlstate", std::string(sqlstate)}});
}

absl::Status NoControlPlane() {
  return StartupError(absl::StatusCode::kUnavailable, "CONTROL_PLANE_UNREACHABLE", "57P03",
                      "the control plane cannot be reached, so no new session can start", "Try again later.");
}

bool Serves(const v1::Target& target, const std::string& database) {
  if (target.databases().empty()) return database == target.default_database();
  return std::find(target.databases().begin(), target.databases().end(), database) != target.databases().end();
}

// "<the client's>/postern:<agent>/<grant>": the end is what identifies, so the client's part gives way.
std::string ApplicationName(const std::string& client, const token::Claims& claims) {
  std::string suffix = fmt::format("postern:{}/{}", claims.agent, claims.grant_id);
  if (suffix.size() > kMaxApplicationName) suffix = fmt::format("postern:{}", claims.grant_id);
  if (client.empty() || suffix.size() + 1 >= kMaxApplicationName) return suffix;
  return fmt::format("{}/{}", client.substr(0, kMaxApplicationName - suffix.size() - 1), suffix);
}

}  // namespace

absl::Status Session::VerifyToken(const crypto::Secret& token) {
  const auto control = services_.uplink.state();
  if (control == nullptr || control->verifier == nullptr || control->policy == nullptr) return NoControlPlane();
  POSTERN_ASSIGN_OR_RETURN(const token::VerifiedGrant grant,
                           control->verifier->Verify(token.Expose(), "", services_.clock));
  info_.claims = grant.claims();
  return absl::OkStatus();
}

absl::Status Session::StillGranted() const {
  const auto control = services_.uplink.state();
  if (const auto revoked = control->revoked.find(info_.claims.grant_id); revoked != control->revoked.end()) {
    return StartupError(absl::StatusCode::kUnauthenticated, "GRANT_REVOKED", "28000",
                        fmt::format("the grant was revoked: {}", revoked->second), "Request a new token.");
  }
  if (services_.uplink.lease_ends(info_.claims.target) <= services_.clock.Monotonic()) return NoControlPlane();
  return absl::OkStatus();
}

absl::Status Session::ChooseTerms(const ClientStartup& startup) {
  const auto control = services_.uplink.state();
  const auto target = control->targets.find(info_.claims.target);
  if (target == control->targets.end()) {
    return StartupError(absl::StatusCode::kNotFound, "TARGET_UNKNOWN", "28000",
                        fmt::format("target \"{}\" is not served here", info_.claims.target),
                        "Connect to the sidecar that serves it.");
  }
  info_.target = target->second;
  info_.database = info_.claims.database.empty() ? info_.target.default_database() : info_.claims.database;
  // libpq asks for the database named like the user when none is given.
  if (!startup.database.empty() && startup.database != info_.database && startup.database != startup.user) {
    return StartupError(absl::StatusCode::kPermissionDenied, "DATABASE_MISMATCH", "28000",
                        fmt::format("the token is for database \"{}\", not \"{}\"", info_.database, startup.database),
                        "Connect to the token's database, or request a token for the other one.");
  }
  if (!Serves(info_.target, info_.database)) {
    return StartupError(absl::StatusCode::kPermissionDenied, "DATABASE_NOT_SERVED", "28000",
                        fmt::format("database \"{}\" is not served", info_.database));
  }
  policy::Subject subject{info_.claims.agent, info_.claims.on_behalf_of, info_.claims.groups};
  policy::TargetView view{info_.claims.target, info_.database, info_.target.env()};
  info_.terms = control->policy->TermsFor(subject, view);
  if (!info_.terms.matched) {
    return StartupError(absl::StatusCode::kPermissionDenied, "NO_POLICY", "42501",
                        "no policy allows this agent anything on this target");
  }
  info_.role = !info_.terms.role.empty()              ? info_.terms.role
               : !info_.target.default_role().empty() ? info_.target.default_role()
                                                      : info_.target.login_role();
  info_.identity = sidecar::SessionIdentity::Make(std::move(subject), std::move(view),
                                                  {info_.claims.verbs, info_.claims.objects}, info_.role);
  info_.enforcer = services_.enforcers.Get(info_.claims.target, info_.database);
  const auto key = control->mask_keys.find(info_.claims.target);
  if (key == control->mask_keys.end()) return NoControlPlane();
  info_.masker = services_.enforcers.MaskerFor(info_.claims.target, key->second);
  info_.application_name = startup.application_name;
  info_.client_user = startup.user;
  info_.client_address = peer_.address;
  return absl::OkStatus();
}

Task<absl::StatusOr<v1::ReleaseCredentialResponse>> Session::ReleaseCredential() {
  struct Answer {
    explicit Answer(reactor::EventLoop& loop) : done(loop) {}
    reactor::Event done;
    absl::StatusOr<v1::ReleaseCredentialResponse> response;
  };
  auto answer = std::make_shared<Answer>(loop_);
  v1::ReleaseCredentialRequest request;
  request.set_grant_id(info_.claims.grant_id);
  request.set_session_id(info_.id);
  request.set_target(info_.claims.target);
  request.set_database(info_.database);
  services_.uplink.ReleaseCredential(request,
                                     [answer, &loop = loop_](absl::StatusOr<v1::ReleaseCredentialResponse> got) {
                                       loop.Post([answer, got = std::move(got)]() mutable {
                                         answer->response = std::move(got);
                                         answer->done.Set();
                                       });
                                     });
  co_await answer->done.Wait();
  co_return std::move(answer->response);
}

// Nothing can be judged before the catalog is known. Reading goes on beside the log-in.
Task<absl::Status> Session::AwaitCatalog() {
  struct Answer {
    explicit Answer(reactor::EventLoop& loop) : done(loop) {}
    reactor::Event done;
    absl::Status status;
  };
  auto answer = std::make_shared<Answer>(loop_);
  answer->status = StartupError(absl::StatusCode::kUnavailable, "CATALOG_UNREACHABLE", "57P03",
                                "the database's schema could not be read in time", "Try again in a moment.");
  const auto timer = loop_.After(kCatalogTimeout, [answer] { answer->done.Set(); });
  services_.catalogs.GetOrRead(info_.claims.target, info_.database,
                               [answer, &loop = loop_](absl::StatusOr<sidecar::CatalogPtr> catalog) {
                                 loop.Post([answer, status = catalog.status()] {
                                   answer->status = status;
                                   answer->done.Set();
                                 });
                               });
  co_await answer->done.Wait();
  loop_.CancelTimer(timer);
  if (answer->status.ok() && info_.enforcer->catalog() == nullptr) {
    co_return StartupError(absl::StatusCode::kUnavailable, "CATALOG_UNREACHABLE", "57P03", "no catalog was published");
  }
  co_return answer->status;
}

UpstreamRequest Session::MakeUpstreamRequest(const ClientStartup& startup,
                                             v1::ReleaseCredentialResponse credential) const {
  UpstreamRequest request;
  request.target = info_.target;
  request.database = info_.database;
  request.user = credential.user();
  request.password = crypto::Secret::Take(*credential.mutable_password());
  request.timeout = services_.limits.upstream_timeout;
  auto& parameters = request.parameters;
  int64_t timeout_ms = info_.terms.statement_timeout_ms;
  for (const auto& [name, value] : startup.settings) {
    // The client may ask for less time than policy gives, never for more.
    if (name == "statement_timeout" && timeout_ms > 0) {
      const std::optional<int64_t> asked = policy::TimeoutMilliseconds(value);
      if (asked.has_value() && *asked > 0) timeout_ms = std::min(timeout_ms, *asked);
      continue;
    }
    parameters.emplace_back(name, value);
  }
  if (timeout_ms > 0) parameters.emplace_back("statement_timeout", std::to_string(timeout_ms));
  // A name of no session's: RESET ALL must not bring back that of an earlier one. Relay::Prepare() sets ours.
  parameters.emplace_back("application_name", kNeutralApplicationName);
  parameters.emplace_back("client_encoding", "UTF8");
  parameters.emplace_back("standard_conforming_strings", "on");
  if (info_.terms.read_only) parameters.emplace_back("default_transaction_read_only", "on");
  if (!info_.role.empty() && info_.role != request.user) parameters.emplace_back("role", info_.role);
  if (startup.search_path) parameters.emplace_back("search_path", QuoteIdentifiers(*startup.search_path));
  return request;
}

Task<absl::StatusOr<UpstreamConnection>> Session::TakeUpstream(UpstreamRequest request) {
  std::string key = WarmPool::KeyOf(request);
  if (std::optional<UpstreamConnection> warm = warm_.Take(key)) co_return *std::move(warm);
  absl::StatusOr<UpstreamConnection> opened =
      co_await OpenUpstream(loop_, services_.upstream_tls, std::move(request), services_.random);
  if (!opened.ok()) co_return opened.status();
  opened->warm_key = std::move(key);
  opened->role = info_.role.empty() ? opened->user : info_.role;
  co_return opened;
}

Task<absl::Status> Session::OpenRelay(const ClientStartup& startup) {
  if (!services_.uplink.connected()) co_return NoControlPlane();
  absl::StatusOr<v1::ReleaseCredentialResponse> credential = co_await ReleaseCredential();
  if (!credential.ok()) co_return credential.status();

  sidecar::ConnectionParameters catalog;
  catalog.host = info_.target.host();
  catalog.port = info_.target.port();
  catalog.tls_mode = info_.target.tls_mode();
  catalog.tls_ca_pem = info_.target.tls_ca_pem();
  catalog.user = credential->user();
  catalog.password = credential->password();
  catalog.database = info_.database;
  catalog.role = info_.role;
  following_ = services_.catalogs.Follow(info_.claims.target, info_.database, catalog);

  UpstreamRequest request = MakeUpstreamRequest(startup, *std::move(credential));
  absl::StatusOr<UpstreamConnection> upstream = co_await TakeUpstream(std::move(request));
  if (!upstream.ok()) co_return upstream.status();
  server_notices_ = std::move(upstream->notices);
  const absl::Status known = co_await AwaitCatalog();
  if (!known.ok()) co_return known;

  info_.upstream_application_name = ApplicationName(startup.application_name, info_.claims);
  relay_ = std::make_unique<Relay>(loop_, services_, info_, *client_, *std::move(upstream), *audit_, warm_);
  reactor::Detach(
      [](std::shared_ptr<Session> self) -> Task<void> { co_await self->relay_->RunBackend(); }(shared_from_this()));
  const absl::Status prepared = co_await relay_->Prepare();
  if (!prepared.ok()) co_return prepared;
  if (startup.search_path) {
    const auto plan = relay_->JudgeText(fmt::format(
        "SET search_path TO {}", startup.search_path->empty() ? "''" : QuoteIdentifiers(*startup.search_path)));
    if (plan->verdict != policy::Verdict::kAllow) {
      const sidecar::Plan::Refusal refusal = plan->DenyFields();
      co_return StartupError(absl::StatusCode::kPermissionDenied, "SEARCH_PATH_DENIED", "42501",
                             fmt::format("search_path is not allowed: {}", refusal.detail), refusal.hint);
    }
  }
  co_return absl::OkStatus();
}

void Session::Welcome() {
  std::string& out = client_->out();
  wire::AppendAuthenticationOk(&out);
  for (const std::string& notice : server_notices_) out.append(notice);
  for (const auto& [name, value] : relay_->TakeParameters()) wire::AppendParameterStatus(name, value, &out);
  wire::AppendBackendKeyData(key_->process_id, key_->secret, &out);
  wire::AppendReady('I', &out);
  client_->Flush();
  if (client_->pending() == 0) client_->out().shrink_to_fit();  // no answer is as long for a while
  welcomed_ = true;
}

Task<bool> Session::LogIn(crypto::Secret token) {
  absl::Status status = VerifyToken(token);
  token = crypto::Secret();
  if (!status.ok() && auth_method() == AuthMethod::kOauthBearer) {
    const bool told = co_await ChallengeBearer();
    if (!told) co_return false;
  }
  loop_.CancelTimer(*startup_timer_);  // what the server has time for has limits of its own
  if (status.ok()) status = StillGranted();
  if (status.ok()) status = ChooseTerms(startup_);
  if (status.ok()) {
    info_.id = NewId(kSessionPrefix, services_.clock.Now(), services_.random);
    start_time_ = services_.clock.Now();
    auto key = services_.registry.Add(info_.ToProto(start_time_), weak_from_this(),
                                      startup_.minor >= 2 ? Registry::kLongSecret : Registry::kShortSecret);
    if (key.ok()) {
      key_ = *key;
    } else {
      status = key.status();
    }
  }
  // From here on a revocation finds the session; one that came before is seen by looking again.
  if (status.ok()) status = StillGranted();
  if (status.ok()) {
    audit_.emplace(info_, services_.spool, services_.clock);
    status = audit_->SessionStart();
    if (!status.ok()) audit_.reset();
  }
  if (status.ok()) {
    StartExpiryTimer();
    status = co_await OpenRelay(startup_);
  }
  if (ended_early_.has_value()) {
    Refuse(ended_early_->fatal, ended_early_->reason);
    co_return false;
  }
  if (!status.ok()) {
    RefuseStatus(status);
    co_return false;
  }
  Welcome();
  co_return true;
}

}  // namespace postern::session
