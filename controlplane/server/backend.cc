#include "controlplane/server/backend.h"

#include <string>
#include <utility>

#include "common/base/status_macros.h"
#include "controlplane/token/grant.h"

namespace postern::server {

absl::StatusOr<v1::PolicySet> StoreSources::Policy() {
  POSTERN_ASSIGN_OR_RETURN(const v1::PolicyRevision latest, deps_.policy.Latest());
  return latest.set();
}

absl::StatusOr<fleet::ControlSources::TargetSet> StoreSources::Targets() {
  POSTERN_ASSIGN_OR_RETURN(const std::vector<target::StoredTarget> stored, deps_.targets.List("", 0));
  TargetSet set;
  for (const target::StoredTarget& target : stored) {
    POSTERN_ASSIGN_OR_RETURN(const crypto::Secret key,
                             deps_.vault.OpenMaskKey(target.target.name(), target.sealed_mask_key));
    set.mask_keys[target.target.name()] = std::string(key.Expose());
    set.targets.push_back(target.target);
  }
  return set;
}

absl::StatusOr<std::vector<v1::TokenKey>> StoreSources::TokenKeys() { return deps_.keys.token_keys(); }

absl::StatusOr<std::vector<v1::Revocation>> StoreSources::Revocations() {
  POSTERN_ASSIGN_OR_RETURN(const std::vector<grant::Grant> revoked, deps_.grants.Revoked(deps_.clock.Now()));
  std::vector<v1::Revocation> result;
  result.reserve(revoked.size());
  for (const grant::Grant& grant : revoked) result.push_back(grant::RevocationOf(grant));
  return result;
}

std::optional<v1::Checkpoint> StoreSources::LatestCheckpoint() {
  v1::Checkpoint checkpoint = deps_.audit.checkpoint();
  if (checkpoint.signature().empty()) return std::nullopt;
  return checkpoint;
}

absl::StatusOr<v1::Grant> RoomBackend::FindGrant(std::string_view grant_id) {
  POSTERN_ASSIGN_OR_RETURN(const grant::Grant grant, deps_.grants.Get(grant_id));
  return grant::ToProto(grant, deps_.clock.Now());
}

absl::StatusOr<v1::ReleaseCredentialResponse> RoomBackend::OpenCredential(std::string_view target) {
  POSTERN_ASSIGN_OR_RETURN(const target::StoredTarget stored, deps_.targets.Get(target));
  POSTERN_ASSIGN_OR_RETURN(const crypto::Secret password,
                           deps_.vault.OpenPassword(stored.target.name(), stored.sealed_password));
  v1::ReleaseCredentialResponse response;
  response.set_user(stored.target.login_role());
  response.set_password(std::string(password.Expose()));
  return response;
}

absl::StatusOr<v1::Approval> RoomBackend::RequestApproval(std::string_view sidecar_id,
                                                          const v1::RequestStatementApprovalRequest& request) {
  return deps_.approvals.RequestStatementApproval(sidecar_id, request);
}

absl::StatusOr<v1::Approval> RoomBackend::ClaimApproval(std::string_view sidecar_id,
                                                        const v1::ClaimApprovalRequest& request) {
  return deps_.approvals.Claim(sidecar_id, request);
}

absl::StatusOr<v1::Approval> RoomBackend::WithdrawApproval(std::string_view sidecar_id,
                                                           const v1::WithdrawApprovalRequest& request) {
  return deps_.approvals.Withdraw(sidecar_id, request);
}

absl::Status RoomBackend::AttachPreview(std::string_view sidecar_id, const v1::AttachPreviewRequest& request) {
  return deps_.approvals.AttachPreview(sidecar_id, request);
}

absl::Status RoomBackend::ReportSession(std::string_view sidecar_id, const v1::Session& session) {
  v1::Session own = session;
  own.set_sidecar_id(std::string(sidecar_id));
  return deps_.sessions.Save(own);
}

absl::Status RoomBackend::ReportLiveSessions(std::string_view sidecar_id, const std::vector<v1::Session>& live) {
  return deps_.sessions.ReplaceLive(sidecar_id, live, deps_.clock.Now());
}

absl::StatusOr<fleet::Ingested> RoomBackend::IngestAudit(std::string_view writer,
                                                         const std::vector<v1::ChainedRecord>& records) {
  const audit::IngestResult result = deps_.audit.Ingest(writer, records);
  POSTERN_RETURN_IF_ERROR(result.status);
  return fleet::Ingested{.epoch = result.epoch, .committed_sequence = result.committed_sequence};
}

}  // namespace postern::server
