// The rules of TokenService, without the wire: from an intent to a grant and its token.
//
// Order of events (as Boulder has it): what is about to be signed is recorded, then signed, then the result is
// recorded. A crash leaves an open record at worst, never an unrecorded token.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/token/token.h"
#include "controlplane/approval/approvals.h"
#include "controlplane/audit/audit_sink.h"
#include "controlplane/fleet/fleet_hub.h"
#include "controlplane/identity/caller.h"
#include "controlplane/policy/policy_book.h"
#include "controlplane/target/target_store.h"
#include "controlplane/token/grant_store.h"
#include "postern/v1/token.pb.h"

namespace postern::grant {

struct TokenDeps {
  GrantStore& grants;
  const target::TargetStore& targets;
  const policy::PolicyBook& policy;
  approval::Approvals& approvals;
  fleet::FleetHub& hub;
  audit::AuditSink& audit;
  // The key that signs now.
  std::function<std::shared_ptr<const token::TokenSigner>()> signer;
  const Clock& clock;
  Random& random;
  // The control plane's name: iss of every token.
  std::string origin;
};

// `act` is the audit record of this call, with the caller filled in: the handler adds what it finds out, and its caller
// records it if the answer is an error.
//   INVALID_ARGUMENT/INVALID_INTENT, REQUEST_ID_REUSED, DATABASE_NOT_SERVED
//   PERMISSION_DENIED/ON_BEHALF_OF, POLICY_DENIED (metadata rule, hint), GRANT_DENIED (collecting one that was denied)
//   FAILED_PRECONDITION/GRANT_EXPIRED, GRANT_REVOKED (collecting one that has ended)
//   NOT_FOUND/TARGET_NOT_FOUND, RESOURCE_EXHAUSTED/TOKEN_TOO_LARGE
absl::Status MintToken(const TokenDeps& deps, const identity::Caller& caller, const v1::MintTokenRequest& request,
                       v1::AuditRecord& act, v1::MintTokenResponse* response);

// NOT_FOUND/GRANT_NOT_FOUND, also for another agent's.
absl::Status GetGrant(const TokenDeps& deps, const identity::Caller& caller, const v1::GetGrantRequest& request,
                      v1::Grant* response);
absl::Status ListGrants(const TokenDeps& deps, const identity::Caller& caller, const v1::ListGrantsRequest& request,
                        v1::ListGrantsResponse* response);
absl::Status RevokeGrant(const TokenDeps& deps, const identity::Caller& caller, const v1::RevokeGrantRequest& request,
                         v1::Grant* response);

// Revokes everything that `agent` holds: its account was disabled or its identity withdrawn.
absl::Status RevokeGrantsOf(const TokenDeps& deps, std::string_view agent, std::string_view reason);

}  // namespace postern::grant
