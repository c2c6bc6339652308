#include "controlplane/store/identity_store.h"

#include <fmt/format.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "controlplane/store/rows.h"

namespace postern::store {
namespace {

absl::Status AccountNotFound(std::string_view id) {
  return Error(absl::StatusCode::kNotFound, "ACCOUNT_NOT_FOUND", fmt::format("there is no account {}", id),
               "`postern identity list` shows them all.");
}

absl::Status StaleEtag(std::string_view id) {
  return Error(absl::StatusCode::kAborted, "STALE_ETAG", fmt::format("account {} has changed since you saw it", id),
               "Look at it again.");
}

// A unique key that is taken gets the name of what it is the key of.
absl::Status Named(absl::Status status, std::string_view reason, std::string_view message) {
  if (status.code() != absl::StatusCode::kAlreadyExists) return status;
  return Error(absl::StatusCode::kAlreadyExists, reason, message);
}

absl::StatusOr<v1::Account> ReadAccount(const Statement& row) {
  v1::Account account;
  POSTERN_RETURN_IF_ERROR(ParseBody(row.Bytes(0), account));
  account.set_etag(std::to_string(row.Int(1)));
  return account;
}

absl::StatusOr<v1::IdentityProvider> ReadProvider(const Statement& row) {
  v1::IdentityProvider provider;
  POSTERN_RETURN_IF_ERROR(ParseBody(row.Bytes(0), provider));
  return provider;
}

absl::StatusOr<v1::RoleBinding> ReadBinding(const Statement& row) {
  v1::RoleBinding binding;
  binding.set_group(row.Text(0));
  binding.set_role(row.Text(1));
  return binding;
}

std::string Body(v1::Account account) {
  account.clear_etag();
  return account.SerializeAsString();
}

}  // namespace

absl::StatusOr<v1::Account> SqlIdentityStore::InsertAccount(const v1::Account& account) {
  const absl::Status inserted = database_.Write([&](Connection& db) {
    return db.Run("INSERT INTO accounts(id, version, body) VALUES (?, 1, ?)", account.id(), Blob{Body(account)});
  });
  POSTERN_RETURN_IF_ERROR(Named(inserted, "ACCOUNT_EXISTS", fmt::format("account {} exists already", account.id())));
  return GetAccount(account.id());
}

absl::StatusOr<v1::Account> SqlIdentityStore::GetAccount(std::string_view id) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement row = reader->Prepare("SELECT body, version FROM accounts WHERE id = ?");
  return ReadOne<v1::Account>(row.BindAll(id), ReadAccount, [&] { return AccountNotFound(id); });
}

absl::StatusOr<v1::Account> SqlIdentityStore::ReplaceAccount(const v1::Account& next) {
  v1::Account saved = next;
  POSTERN_RETURN_IF_ERROR(database_.Write([&](Connection& db) -> absl::Status {
    Statement row = db.Prepare("SELECT version FROM accounts WHERE id = ?");
    POSTERN_ASSIGN_OR_RETURN(
        const int64_t version,
        ReadOne<int64_t>(
            row.BindAll(next.id()), [](const Statement& r) -> absl::StatusOr<int64_t> { return r.Int(0); },
            [&] { return AccountNotFound(next.id()); }));
    if (std::to_string(version) != next.etag()) return StaleEtag(next.id());
    saved.set_etag(std::to_string(version + 1));
    return db.Run("UPDATE accounts SET version = ?, body = ? WHERE id = ?", version + 1, Blob{Body(next)}, next.id());
  }));
  return saved;
}

absl::StatusOr<std::vector<v1::Account>> SqlIdentityStore::ListAccounts(std::string_view after, int limit) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement rows = reader->Prepare("SELECT body, version FROM accounts WHERE id > ? ORDER BY id LIMIT ?");
  return ReadAll<v1::Account>(rows.BindAll(after, limit), ReadAccount);
}

absl::Status SqlIdentityStore::InsertProvider(const v1::IdentityProvider& provider) {
  const absl::Status inserted = database_.Write([&](Connection& db) {
    return db.Run("INSERT INTO identity_providers(name, issuer, body) VALUES (?, ?, ?)", provider.name(),
                  provider.issuer(), Blob{provider.SerializeAsString()});
  });
  return Named(inserted, "PROVIDER_EXISTS", fmt::format("identity provider {} exists already", provider.name()));
}

absl::StatusOr<std::vector<v1::IdentityProvider>> SqlIdentityStore::ProvidersOf(std::string_view issuer) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement rows = reader->Prepare("SELECT body FROM identity_providers WHERE issuer = ? ORDER BY name");
  return ReadAll<v1::IdentityProvider>(rows.BindAll(issuer), ReadProvider);
}

absl::StatusOr<std::vector<v1::IdentityProvider>> SqlIdentityStore::ListProviders(std::string_view after,
                                                                                  int limit) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement rows = reader->Prepare("SELECT body FROM identity_providers WHERE name > ? ORDER BY name LIMIT ?");
  return ReadAll<v1::IdentityProvider>(rows.BindAll(after, limit), ReadProvider);
}

absl::Status SqlIdentityStore::DeleteProvider(std::string_view name) {
  return database_.Write([&](Connection& db) -> absl::Status {
    POSTERN_RETURN_IF_ERROR(db.Run("DELETE FROM identity_providers WHERE name = ?", name));
    if (db.changes() == 1) return absl::OkStatus();
    return Error(absl::StatusCode::kNotFound, "PROVIDER_NOT_FOUND",
                 fmt::format("there is no identity provider {}", name),
                 "`postern identity list-providers` shows them all.");
  });
}

absl::Status SqlIdentityStore::InsertRoleBinding(const v1::RoleBinding& binding) {
  return database_.Write([&](Connection& db) {
    return db.Run("INSERT INTO role_bindings(member_group, role) VALUES (?, ?) ON CONFLICT DO NOTHING", binding.group(),
                  binding.role());
  });
}

absl::StatusOr<std::vector<v1::RoleBinding>> SqlIdentityStore::ListRoleBindings(
    const std::pair<std::string, std::string>& after, int limit) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement rows = reader->Prepare(
      "SELECT member_group, role FROM role_bindings WHERE (member_group, role) > (?, ?) ORDER BY member_group, role "
      "LIMIT ?");
  return ReadAll<v1::RoleBinding>(rows.BindAll(after.first, after.second, limit), ReadBinding);
}

absl::Status SqlIdentityStore::DeleteRoleBinding(const v1::RoleBinding& binding) {
  return database_.Write([&](Connection& db) -> absl::Status {
    POSTERN_RETURN_IF_ERROR(
        db.Run("DELETE FROM role_bindings WHERE member_group = ? AND role = ?", binding.group(), binding.role()));
    if (db.changes() == 1) return absl::OkStatus();
    return Error(absl::StatusCode::kNotFound, "ROLE_BINDING_NOT_FOUND",
                 fmt::format("group {} is not bound to role {}", binding.group(), binding.role()));
  });
}

absl::StatusOr<std::set<std::string>> SqlIdentityStore::RolesOf(const std::vector<std::string>& groups) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  // One snapshot: a binding that moves from one group to another is seen in exactly one of them.
  POSTERN_RETURN_IF_ERROR(reader.Snapshot());
  std::set<std::string> roles;
  for (const std::string& group : groups) {
    Statement rows = reader->Prepare("SELECT role FROM role_bindings WHERE member_group = ?");
    rows.BindAll(group);
    while (rows.Step()) roles.insert(rows.Text(0));
    POSTERN_RETURN_IF_ERROR(rows.status());
  }
  return roles;
}

}  // namespace postern::store
