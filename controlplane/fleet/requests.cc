#include "controlplane/fleet/requests.h"

#include <algorithm>
#include <utility>

#include "common/base/ids.h"
#include "common/base/status_macros.h"
#include "common/base/timestamps.h"
#include "controlplane/fleet/fleet_errors.h"

namespace postern::fleet {
namespace {

bool Serves(const SidecarCaller& caller, const std::string& target) {
  return std::find(caller.targets.begin(), caller.targets.end(), target) != caller.targets.end();
}

}  // namespace

absl::Status ReleaseCredential(const RequestDeps& deps, const SidecarCaller& caller,
                               const v1::ReleaseCredentialRequest& request, v1::ReleaseCredentialResponse* response) {
  if (!Serves(caller, request.target())) return error::NotYourTarget();
  if (!IsId(request.session_id(), kSessionPrefix)) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_ARGUMENT", "session_id is not an id of a session");
  }
  absl::StatusOr<v1::Grant> grant = deps.backend.FindGrant(request.grant_id());
  if (absl::IsNotFound(grant.status())) return error::GrantNotActive();
  POSTERN_RETURN_IF_ERROR(grant.status());
  const v1::Intent& intent = grant->intent();
  const bool alive = grant->state() == v1::GRANT_ACTIVE && grant->has_expire_time() &&
                     FromTimestamp(grant->expire_time()) > deps.clock.Now();
  if (!alive || intent.target() != request.target() || intent.database() != request.database()) {
    return error::GrantNotActive();
  }
  v1::AuditRecord record;
  record.set_kind(v1::CONTROL);
  record.set_action("SidecarService/ReleaseCredential");
  record.set_object(request.target());
  record.set_agent(grant->agent());
  record.set_on_behalf_of(intent.on_behalf_of());
  record.set_grant_id(grant->id());
  record.set_session_id(request.session_id());
  record.set_target(request.target());
  record.set_database(request.database());
  (*record.mutable_detail())["caller"] = caller.id;
  POSTERN_RETURN_IF_ERROR(deps.audit.Record(std::move(record)));
  POSTERN_ASSIGN_OR_RETURN(*response, deps.backend.OpenCredential(request.target()));
  return absl::OkStatus();
}

absl::Status RequestStatementApproval(const RequestDeps& deps, const SidecarCaller& caller,
                                      const v1::RequestStatementApprovalRequest& request, v1::Approval* response) {
  if (!Serves(caller, request.binding().target())) return error::NotYourTarget();
  if (!IsUuid(request.request_id())) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_ARGUMENT", "request_id is not a UUID");
  }
  POSTERN_ASSIGN_OR_RETURN(*response, deps.backend.RequestApproval(caller.id, request));
  return absl::OkStatus();
}

}  // namespace postern::fleet
