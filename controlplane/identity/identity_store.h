// Accounts, identity providers and role bindings as they are kept.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "postern/v1/identity.pb.h"

namespace postern::identity {

// Thread-safe. UNAVAILABLE from any of them: unknown; read again before retrying. Lists come in order of their key,
// after `after` (empty: from the first), at most `limit` of them.
class IdentityStore {
 public:
  virtual ~IdentityStore() = default;

  // Saves a new account, keys included, and returns it with its etag. ALREADY_EXISTS/ACCOUNT_EXISTS.
  virtual absl::StatusOr<v1::Account> InsertAccount(const v1::Account& account) = 0;
  // NOT_FOUND/ACCOUNT_NOT_FOUND.
  virtual absl::StatusOr<v1::Account> GetAccount(std::string_view id) const = 0;
  // Saves `next` if the stored etag still equals next.etag(), and returns it with its new one.
  // ABORTED/STALE_ETAG, NOT_FOUND/ACCOUNT_NOT_FOUND: nothing changed.
  virtual absl::StatusOr<v1::Account> ReplaceAccount(const v1::Account& next) = 0;
  virtual absl::StatusOr<std::vector<v1::Account>> ListAccounts(std::string_view after, int limit) const = 0;

  // ALREADY_EXISTS/PROVIDER_EXISTS.
  virtual absl::Status InsertProvider(const v1::IdentityProvider& provider) = 0;
  // All providers with exactly this issuer, by name; empty if there is none.
  virtual absl::StatusOr<std::vector<v1::IdentityProvider>> ProvidersOf(std::string_view issuer) const = 0;
  virtual absl::StatusOr<std::vector<v1::IdentityProvider>> ListProviders(std::string_view after, int limit) const = 0;
  // NOT_FOUND/PROVIDER_NOT_FOUND.
  virtual absl::Status DeleteProvider(std::string_view name) = 0;

  // OK also if the binding is there already.
  virtual absl::Status InsertRoleBinding(const v1::RoleBinding& binding) = 0;
  // By group, then role, after this pair.
  virtual absl::StatusOr<std::vector<v1::RoleBinding>> ListRoleBindings(
      const std::pair<std::string, std::string>& after, int limit) const = 0;
  // NOT_FOUND/ROLE_BINDING_NOT_FOUND.
  virtual absl::Status DeleteRoleBinding(const v1::RoleBinding& binding) = 0;

  // Roles that membership in any of `groups` gives.
  virtual absl::StatusOr<std::set<std::string>> RolesOf(const std::vector<std::string>& groups) const = 0;
};

}  // namespace postern::identity
