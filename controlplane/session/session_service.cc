#include "controlplane/session/session_service.h"

#include <algorithm>
#include <string>
#include <vector>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "fmt/format.h"

namespace postern::session {
namespace {

constexpr int kReplayBatch = 200;

absl::Status NotFound(std::string_view id) {
  return Error(absl::StatusCode::kNotFound, "SESSION_NOT_FOUND", fmt::format("there is no session {}", id),
               "`postern session list` shows those that you may see");
}

// What is live on a sidecar that does not answer may be live or not.
v1::Session AsKnown(const SessionDeps& deps, v1::Session session) {
  if (session.state() == v1::SESSION_LIVE && !deps.hub.IsConnected(session.sidecar_id())) {
    session.set_state(v1::SESSION_UNKNOWN);
  }
  return session;
}

}  // namespace

absl::Status ListSessions(const SessionDeps& deps, const identity::Caller& caller,
                          const v1::ListSessionsRequest& request, v1::ListSessionsResponse* response) {
  const int wanted = request.page_size() <= 0 ? 50 : std::min(request.page_size(), 1000);
  SessionFilter filter{.agent = request.agent(),
                       .target = request.target(),
                       .live_only = request.live_only(),
                       .before_id = request.page_token(),
                       .limit = wanted + 1};
  if (caller.IsAgent()) {
    if (!filter.agent.empty() && filter.agent != caller.id()) return absl::OkStatus();
    filter.agent = caller.id();
  }
  POSTERN_ASSIGN_OR_RETURN(const std::vector<v1::Session> page, deps.store.List(filter));
  for (const v1::Session& session : page) {
    if (response->sessions_size() == wanted) {
      response->set_next_page_token(response->sessions(wanted - 1).id());
      break;
    }
    *response->add_sessions() = AsKnown(deps, session);
  }
  return absl::OkStatus();
}

absl::Status GetSession(const SessionDeps& deps, const identity::Caller& caller, const v1::GetSessionRequest& request,
                        v1::Session* response) {
  POSTERN_ASSIGN_OR_RETURN(v1::Session session, deps.store.Get(request.id()));
  if (caller.IsAgent() && session.agent() != caller.id()) return NotFound(request.id());
  *response = AsKnown(deps, std::move(session));
  return absl::OkStatus();
}

absl::Status KillSession(const SessionDeps& deps, const identity::Caller& caller, const v1::KillSessionRequest& request,
                         v1::Session* response) {
  POSTERN_ASSIGN_OR_RETURN(v1::Session session, deps.store.Get(request.id()));
  if (session.state() == v1::SESSION_ENDED) {
    return Error(absl::StatusCode::kFailedPrecondition, "SESSION_ENDED",
                 fmt::format("session {} has ended already", request.id()));
  }
  std::string reason = request.reason();
  if (reason.empty()) reason = fmt::format("killed by {}", caller.id());
  deps.hub.PushKill(session.id(), reason);
  *response = AsKnown(deps, std::move(session));
  return absl::OkStatus();
}

absl::Status ReplaySession(const SessionDeps& deps, const v1::ReplaySessionRequest& request,
                           const std::function<bool(const v1::LoggedRecord&)>& sink) {
  POSTERN_RETURN_IF_ERROR(deps.store.Get(request.id()).status());
  v1::AuditFilter filter;
  filter.set_session_id(request.id());
  const int64_t end = deps.audit.size();
  for (int64_t next = 0; next < end;) {
    POSTERN_ASSIGN_OR_RETURN(const audit::AuditReader::Batch batch, deps.audit.Scan(filter, next, end, kReplayBatch));
    for (const v1::LoggedRecord& record : batch.records) {
      if (!sink(record)) return absl::OkStatus();
    }
    next = batch.next_leaf;
  }
  return absl::OkStatus();
}

absl::Status CutSessionsOn(const SessionDeps& deps, std::string_view target, std::string_view reason) {
  SessionFilter filter{.target = std::string(target), .live_only = true, .limit = 500};
  while (true) {
    POSTERN_ASSIGN_OR_RETURN(const std::vector<v1::Session> page, deps.store.List(filter));
    for (const v1::Session& session : page) deps.hub.PushKill(session.id(), reason);
    if (page.size() < static_cast<size_t>(filter.limit)) return absl::OkStatus();
    filter.before_id = page.back().id();
  }
}

}  // namespace postern::session
