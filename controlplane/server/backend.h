// Where the fleet meets the other rooms: what sidecars are sent, and what they ask for.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controlplane/approval/approvals.h"
#include "controlplane/audit/audit_log.h"
#include "controlplane/credential/credential_vault.h"
#include "controlplane/fleet/control_sources.h"
#include "controlplane/policy/policy_store.h"
#include "controlplane/server/service_keys.h"
#include "controlplane/session/session_store.h"
#include "controlplane/target/target_store.h"
#include "controlplane/token/grant_store.h"

namespace postern::server {

// Reads the stores at each call. Thread-safe. The arguments outlive it.
class StoreSources final : public fleet::ControlSources {
 public:
  struct Deps {
    const policy::PolicyStore& policy;
    const target::TargetStore& targets;
    const grant::GrantStore& grants;
    const audit::AuditReader& audit;
    const credential::CredentialVault& vault;
    const ServiceKeys& keys;
    const Clock& clock;
    std::string origin;
  };
  explicit StoreSources(const Deps& deps) : deps_(deps) {}

  std::string Origin() override { return deps_.origin; }
  absl::StatusOr<v1::PolicySet> Policy() override;
  absl::StatusOr<TargetSet> Targets() override;
  absl::StatusOr<std::vector<v1::TokenKey>> TokenKeys() override;
  absl::StatusOr<std::vector<v1::Revocation>> Revocations() override;
  std::optional<v1::Checkpoint> LatestCheckpoint() override;

 private:
  const Deps deps_;
};

// Thread-safe. The arguments outlive it.
class RoomBackend final : public fleet::SidecarBackend {
 public:
  struct Deps {
    approval::Approvals& approvals;
    const grant::GrantStore& grants;
    const target::TargetStore& targets;
    session::SessionStore& sessions;
    audit::AuditLog& audit;
    const credential::CredentialVault& vault;
    const Clock& clock;
  };
  explicit RoomBackend(const Deps& deps) : deps_(deps) {}

  absl::StatusOr<v1::Grant> FindGrant(std::string_view grant_id) override;
  absl::StatusOr<v1::ReleaseCredentialResponse> OpenCredential(std::string_view target) override;
  absl::StatusOr<v1::Approval> RequestApproval(std::string_view sidecar_id,
                                               const v1::RequestStatementApprovalRequest& request) override;
  absl::StatusOr<v1::Approval> ClaimApproval(std::string_view sidecar_id,
                                             const v1::ClaimApprovalRequest& request) override;
  absl::StatusOr<v1::Approval> WithdrawApproval(std::string_view sidecar_id,
                                                const v1::WithdrawApprovalRequest& request) override;
  absl::Status AttachPreview(std::string_view sidecar_id, const v1::AttachPreviewRequest& request) override;
  absl::Status ReportSession(std::string_view sidecar_id, const v1::Session& session) override;
  absl::Status ReportLiveSessions(std::string_view sidecar_id, const std::vector<v1::Session>& live) override;
  absl::StatusOr<fleet::Ingested> IngestAudit(std::string_view writer,
                                              const std::vector<v1::ChainedRecord>& records) override;

 private:
  const Deps deps_;
};

}  // namespace postern::server
