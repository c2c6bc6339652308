// What stands behind IdentityService's RPCs: free functions in the order parse, fetch, decide, save, convert. Who may
// call which is decided before, by the who-may-call table. Each change, with what it gives to whom, is in the audit log
// before it is made.
#pragma once

#include <functional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "controlplane/audit/audit_sink.h"
#include "controlplane/identity/caller.h"
#include "controlplane/identity/identity_store.h"
#include "postern/v1/identity.pb.h"

namespace postern::identity {

inline constexpr absl::Duration kMaxKeyLifetime = absl::Hours(24 * 400);
inline constexpr int kMaxKeysPerAccount = 20;

struct IdentityDeps {
  IdentityStore& store;
  audit::AuditSink& audit;
  const Clock& clock;
  // Ends every grant of an agent, and with it its live sessions. Idempotent.
  std::function<absl::Status(std::string_view agent, std::string_view reason)> revoke_grants_of;
};

absl::Status WhoAmI(const Caller& caller, v1::Principal* response);

// INVALID_ARGUMENT/ACCOUNT_INVALID, KEY_MALFORMED, KEY_EXPIRY; ALREADY_EXISTS/ACCOUNT_EXISTS.
absl::Status CreateAccount(const IdentityDeps& deps, const Caller& caller, const v1::CreateAccountRequest& request,
                           v1::Account* response);
absl::Status GetAccount(const IdentityDeps& deps, const v1::GetAccountRequest& request, v1::Account* response);
absl::Status ListAccounts(const IdentityDeps& deps, const v1::ListAccountsRequest& request,
                          v1::ListAccountsResponse* response);
// Replaces groups, owner, may_act_for and disabled. With an etag: ABORTED/STALE_ETAG if the account has changed since.
// FAILED_PRECONDITION/SELF_DISABLE. UNAVAILABLE also if a disabled agent's grants could not be revoked: repeat the
// call.
absl::Status UpdateAccount(const IdentityDeps& deps, const Caller& caller, const v1::UpdateAccountRequest& request,
                           v1::Account* response);
// ALREADY_EXISTS/KEY_EXISTS, FAILED_PRECONDITION/TOO_MANY_KEYS.
absl::Status AddAccountKey(const IdentityDeps& deps, const Caller& caller, const v1::AddAccountKeyRequest& request,
                           v1::Account* response);
// NOT_FOUND/KEY_NOT_FOUND.
absl::Status RemoveAccountKey(const IdentityDeps& deps, const Caller& caller,
                              const v1::RemoveAccountKeyRequest& request, v1::Account* response);

// Errors of CheckProvider (oidc.h); ALREADY_EXISTS/PROVIDER_EXISTS.
absl::Status CreateIdentityProvider(const IdentityDeps& deps, const Caller& caller,
                                    const v1::CreateIdentityProviderRequest& request, v1::IdentityProvider* response);
absl::Status ListIdentityProviders(const IdentityDeps& deps, const v1::ListIdentityProvidersRequest& request,
                                   v1::ListIdentityProvidersResponse* response);
absl::Status DeleteIdentityProvider(const IdentityDeps& deps, const Caller& caller,
                                    const v1::DeleteIdentityProviderRequest& request,
                                    v1::DeleteIdentityProviderResponse* response);

// INVALID_ARGUMENT/ROLE_UNKNOWN, ROLE_BINDING_INVALID.
absl::Status CreateRoleBinding(const IdentityDeps& deps, const Caller& caller,
                               const v1::CreateRoleBindingRequest& request, v1::RoleBinding* response);
absl::Status ListRoleBindings(const IdentityDeps& deps, const v1::ListRoleBindingsRequest& request,
                              v1::ListRoleBindingsResponse* response);
// FAILED_PRECONDITION/LAST_ADMIN: nobody could administer any more.
absl::Status DeleteRoleBinding(const IdentityDeps& deps, const Caller& caller,
                               const v1::DeleteRoleBindingRequest& request, v1::DeleteRoleBindingResponse* response);

// The first administrator of a new installation: makes the person's account, in group "admins", and binds that group to
// the role. For the host's own operator, not for an RPC. FAILED_PRECONDITION/BOOTSTRAPPED once there is any admin
// binding.
absl::Status BootstrapAdmin(const IdentityDeps& deps, const v1::Account& account);

}  // namespace postern::identity
