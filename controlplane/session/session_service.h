// The rules of SessionService, without the wire.
#pragma once

#include <functional>
#include <string_view>

#include "absl/status/status.h"
#include "controlplane/audit/audit_reader.h"
#include "controlplane/fleet/fleet_hub.h"
#include "controlplane/identity/caller.h"
#include "controlplane/session/session_store.h"
#include "postern/v1/session.pb.h"

namespace postern::session {

struct SessionDeps {
  const SessionStore& store;
  const audit::AuditReader& audit;
  fleet::FleetHub& hub;
};

absl::Status ListSessions(const SessionDeps& deps, const identity::Caller& caller,
                          const v1::ListSessionsRequest& request, v1::ListSessionsResponse* response);
// NOT_FOUND/SESSION_NOT_FOUND, also for another agent's.
absl::Status GetSession(const SessionDeps& deps, const identity::Caller& caller, const v1::GetSessionRequest& request,
                        v1::Session* response);
// Asks the sidecar that has the session to end it; the session is ENDED once the sidecar has said so.
// FAILED_PRECONDITION/SESSION_ENDED.
absl::Status KillSession(const SessionDeps& deps, const identity::Caller& caller, const v1::KillSessionRequest& request,
                         v1::Session* response);
// Gives `sink` the session's records in order; stops when it returns false. NOT_FOUND/SESSION_NOT_FOUND.
absl::Status ReplaySession(const SessionDeps& deps, const v1::ReplaySessionRequest& request,
                           const std::function<bool(const v1::LoggedRecord&)>& sink);

// Asks for the end of every live session on `target`.
absl::Status CutSessionsOn(const SessionDeps& deps, std::string_view target, std::string_view reason);

}  // namespace postern::session
