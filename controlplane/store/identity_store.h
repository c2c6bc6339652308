// identity::IdentityStore on SQLite.
#pragma once

#include "controlplane/identity/identity_store.h"
#include "controlplane/store/database.h"

namespace postern::store {

class SqlIdentityStore : public identity::IdentityStore {
 public:
  // `database` outlives the store.
  explicit SqlIdentityStore(Database& database) : database_(database) {}

  absl::StatusOr<v1::Account> InsertAccount(const v1::Account& account) override;
  absl::StatusOr<v1::Account> GetAccount(std::string_view id) const override;
  absl::StatusOr<v1::Account> ReplaceAccount(const v1::Account& next) override;
  absl::StatusOr<std::vector<v1::Account>> ListAccounts(std::string_view after, int limit) const override;

  absl::Status InsertProvider(const v1::IdentityProvider& provider) override;
  absl::StatusOr<std::vector<v1::IdentityProvider>> ProvidersOf(std::string_view issuer) const override;
  absl::StatusOr<std::vector<v1::IdentityProvider>> ListProviders(std::string_view after, int limit) const override;
  absl::Status DeleteProvider(std::string_view name) override;

  absl::Status InsertRoleBinding(const v1::RoleBinding& binding) override;
  absl::StatusOr<std::vector<v1::RoleBinding>> ListRoleBindings(const std::pair<std::string, std::string>& after,
                                                                int limit) const override;
  absl::Status DeleteRoleBinding(const v1::RoleBinding& binding) override;
  absl::StatusOr<std::set<std::string>> RolesOf(const std::vector<std::string>& groups) const override;

 private:
  Database& database_;
};

}  // namespace postern::store
