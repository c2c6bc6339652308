// What the fleet reads from, and asks of, the other rooms of the control plane. Implemented where the server is put
// together; the fleet itself depends on none of those rooms.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "postern/v1/approval.pb.h"
#include "postern/v1/audit.pb.h"
#include "postern/v1/policy.pb.h"
#include "postern/v1/session.pb.h"
#include "postern/v1/sidecar.pb.h"
#include "postern/v1/target.pb.h"
#include "postern/v1/token.pb.h"

namespace postern::fleet {

// What holds now. Each call reads the store anew: an answer is at least as new as the call. Thread-safe.
class ControlSources {
 public:
  virtual ~ControlSources() = default;

  // The control plane's name: issuer of tokens, name of the audit log.
  virtual std::string Origin() = 0;

  // The policy in force; an empty set with revision 0 before the first one.
  virtual absl::StatusOr<v1::PolicySet> Policy() = 0;

  struct TargetSet {
    std::vector<v1::Target> targets;
    // Per target name. Secret.
    std::map<std::string, std::string> mask_keys;
  };
  virtual absl::StatusOr<TargetSet> Targets() = 0;

  // Every key whose tokens may still be alive.
  virtual absl::StatusOr<std::vector<v1::TokenKey>> TokenKeys() = 0;

  // All grants that are revoked and would not have expired by themselves yet. From the store, never from memory.
  virtual absl::StatusOr<std::vector<v1::Revocation>> Revocations() = 0;

  // The latest signed checkpoint of the audit log; nullopt before the first.
  virtual std::optional<v1::Checkpoint> LatestCheckpoint() = 0;
};

// What came of an upload.
struct Ingested {
  // Of `epoch`, everything up to this sequence is committed: what is new and what was there already.
  std::string epoch;
  int64_t committed_sequence = 0;
};

// What sidecars ask for. `sidecar_id` is always the caller's, proved by its certificate. Thread-safe; may block.
class SidecarBackend {
 public:
  virtual ~SidecarBackend() = default;

  // As stored, with expiry applied. NOT_FOUND.
  virtual absl::StatusOr<v1::Grant> FindGrant(std::string_view grant_id) = 0;

  // The upstream login of a target, opened from the vault. The password is secret. NOT_FOUND.
  virtual absl::StatusOr<v1::ReleaseCredentialResponse> OpenCredential(std::string_view target) = 0;

  // Opens or joins. The sidecar, its right to the target and the grant's state were checked.
  virtual absl::StatusOr<v1::Approval> RequestApproval(std::string_view sidecar_id,
                                                       const v1::RequestStatementApprovalRequest& request) = 0;
  virtual absl::StatusOr<v1::Approval> ClaimApproval(std::string_view sidecar_id,
                                                     const v1::ClaimApprovalRequest& request) = 0;
  virtual absl::StatusOr<v1::Approval> WithdrawApproval(std::string_view sidecar_id,
                                                        const v1::WithdrawApprovalRequest& request) = 0;

  virtual absl::Status AttachPreview(std::string_view sidecar_id, const v1::AttachPreviewRequest& request) = 0;

  // A session began or ended. Idempotent: the state of a session only moves forward.
  virtual absl::Status ReportSession(std::string_view sidecar_id, const v1::Session& session) = 0;
  // Everything that is live on the sidecar now. Sessions of it that the store has as live and that are not here ended
  // without our knowing.
  virtual absl::Status ReportLiveSessions(std::string_view sidecar_id, const std::vector<v1::Session>& live) = 0;

  // Commits a batch of `writer`'s chain. Durable once OK. Errors as in the audit room.
  virtual absl::StatusOr<Ingested> IngestAudit(std::string_view writer,
                                               const std::vector<v1::ChainedRecord>& records) = 0;
};

}  // namespace postern::fleet
