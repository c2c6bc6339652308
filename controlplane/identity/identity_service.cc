#include "controlplane/identity/identity_service.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/timestamps.h"
#include "common/crypto/base64.h"
#include "controlplane/identity/account.h"
#include "controlplane/identity/oidc.h"

namespace postern::identity {
namespace {

constexpr int kDefaultPage = 50;
constexpr int kMaxPage = 1000;
constexpr int kMaxProviders = 200;
constexpr std::string_view kAdminGroup = "admins";

// Page tokens are the key of the last row, in a form that nobody is tempted to write by hand.
struct Page {
  int size;
  std::string after;
};

template <typename Request>
absl::StatusOr<Page> ReadPage(const Request& request) {
  if (request.page_size() < 0) {
    return Error(absl::StatusCode::kInvalidArgument, "PAGE_INVALID", "page_size is negative");
  }
  absl::StatusOr<std::string> after = crypto::Base64UrlDecode(request.page_token());
  if (!after.ok()) {
    return Error(absl::StatusCode::kInvalidArgument, "PAGE_INVALID", "page_token is not one that a list has given");
  }
  return Page{request.page_size() == 0 ? kDefaultPage : std::min(request.page_size(), kMaxPage), *std::move(after)};
}

// Moves at most `size` of `rows`, which has one more if there is a next page, to `out`. Returns the next page's token.
template <typename Row, typename Key>
std::string FillPage(std::vector<Row> rows, int size, google::protobuf::RepeatedPtrField<Row>* out, const Key& key) {
  const bool more = std::ssize(rows) > size;
  if (more) rows.resize(static_cast<size_t>(size));
  std::string next = more ? crypto::Base64UrlEncode(key(rows.back())) : std::string();
  for (Row& row : rows) *out->Add() = std::move(row);
  return next;
}

// Writes down what is about to be done: `change` to a `kind` of thing.
absl::Status Record(const IdentityDeps& deps, std::string_view caller, std::string_view kind, std::string_view change,
                    std::string_view object, const std::map<std::string, std::string>& detail = {}) {
  v1::AuditRecord record;
  record.set_kind(v1::CONTROL);
  *record.mutable_time() = ToTimestamp(deps.clock.Now());
  record.set_action(std::string(kind));
  record.set_object(std::string(object));
  record.mutable_detail()->insert(detail.begin(), detail.end());
  (*record.mutable_detail())["change"] = std::string(change);
  (*record.mutable_detail())["by"] = std::string(caller);
  return deps.audit.Record(std::move(record));
}

std::string Joined(const google::protobuf::RepeatedPtrField<std::string>& texts) {
  return fmt::format("{}", fmt::join(texts, ","));
}

// The keys of `account`, checked and completed.
absl::Status ReadKeys(absl::Time now, v1::Account& account) {
  std::map<std::string, v1::AccountKey> keys;
  for (const v1::AccountKey& key : account.keys()) {
    POSTERN_ASSIGN_OR_RETURN(v1::AccountKey kept, ReadKey(key, now));
    keys[kept.id()] = std::move(kept);
  }
  if (std::ssize(keys) > kMaxKeysPerAccount) {
    return Error(absl::StatusCode::kFailedPrecondition, "TOO_MANY_KEYS",
                 fmt::format("an account has at most {} keys", kMaxKeysPerAccount));
  }
  account.clear_keys();
  for (auto& [id, key] : keys) *account.add_keys() = std::move(key);
  return absl::OkStatus();
}

absl::StatusOr<v1::Account> NewAccount(const v1::Account& asked, absl::Time now) {
  POSTERN_RETURN_IF_ERROR(CheckAccount(asked));
  v1::Account account = asked;
  account.clear_etag();
  *account.mutable_create_time() = ToTimestamp(now);
  POSTERN_RETURN_IF_ERROR(ReadKeys(now, account));
  return account;
}

absl::StatusOr<bool> AnyAdminBindingBut(const IdentityStore& store, const v1::RoleBinding* but) {
  std::pair<std::string, std::string> after;
  while (true) {
    POSTERN_ASSIGN_OR_RETURN(const std::vector<v1::RoleBinding> page, store.ListRoleBindings(after, kMaxPage));
    for (const v1::RoleBinding& binding : page) {
      if (binding.role() == kRoleAdmin && (but == nullptr || binding.group() != but->group())) return true;
    }
    if (std::ssize(page) < kMaxPage) return false;
    after = {page.back().group(), page.back().role()};
  }
}

}  // namespace

absl::Status WhoAmI(const Caller& caller, v1::Principal* response) {
  *response = caller.principal;
  return absl::OkStatus();
}

absl::Status CreateAccount(const IdentityDeps& deps, const Caller& caller, const v1::CreateAccountRequest& request,
                           v1::Account* response) {
  POSTERN_ASSIGN_OR_RETURN(const v1::Account account, NewAccount(request.account(), deps.clock.Now()));
  POSTERN_RETURN_IF_ERROR(Record(deps, caller.id(), "account", "create", account.id(),
                                 {{"kind", v1::PrincipalKind_Name(account.kind())},
                                  {"groups", Joined(account.groups())},
                                  {"owner", account.owner()}}));
  POSTERN_ASSIGN_OR_RETURN(*response, deps.store.InsertAccount(account));
  return absl::OkStatus();
}

absl::Status GetAccount(const IdentityDeps& deps, const v1::GetAccountRequest& request, v1::Account* response) {
  POSTERN_ASSIGN_OR_RETURN(*response, deps.store.GetAccount(request.id()));
  return absl::OkStatus();
}

absl::Status ListAccounts(const IdentityDeps& deps, const v1::ListAccountsRequest& request,
                          v1::ListAccountsResponse* response) {
  POSTERN_ASSIGN_OR_RETURN(const Page page, ReadPage(request));
  POSTERN_ASSIGN_OR_RETURN(std::vector<v1::Account> rows, deps.store.ListAccounts(page.after, page.size + 1));
  response->set_next_page_token(FillPage(std::move(rows), page.size, response->mutable_accounts(),
                                         [](const v1::Account& account) { return account.id(); }));
  return absl::OkStatus();
}

absl::Status UpdateAccount(const IdentityDeps& deps, const Caller& caller, const v1::UpdateAccountRequest& request,
                           v1::Account* response) {
  const v1::Account& asked = request.account();
  POSTERN_ASSIGN_OR_RETURN(v1::Account next, deps.store.GetAccount(asked.id()));
  if (!asked.etag().empty()) next.set_etag(asked.etag());
  if (asked.kind() != v1::PRINCIPAL_KIND_UNSPECIFIED && asked.kind() != next.kind()) {
    return Error(absl::StatusCode::kInvalidArgument, "ACCOUNT_INVALID", "an account's kind does not change");
  }
  if (asked.disabled() && asked.id() == caller.id()) {
    return Error(absl::StatusCode::kFailedPrecondition, "SELF_DISABLE", "nobody disables the account they call with",
                 "Ask another administrator.");
  }
  *next.mutable_groups() = asked.groups();
  *next.mutable_may_act_for() = asked.may_act_for();
  next.set_owner(asked.owner());
  next.set_disabled(asked.disabled());
  POSTERN_RETURN_IF_ERROR(CheckAccount(next));
  POSTERN_RETURN_IF_ERROR(Record(deps, caller.id(), "account", "update", next.id(),
                                 {{"groups", Joined(next.groups())},
                                  {"owner", next.owner()},
                                  {"may_act_for", Joined(next.may_act_for())},
                                  {"disabled", next.disabled() ? "true" : "false"}}));
  POSTERN_ASSIGN_OR_RETURN(*response, deps.store.ReplaceAccount(next));
  // Also when it was disabled before: the revocation of that time may have failed.
  if (next.disabled() && next.kind() == v1::AGENT) return deps.revoke_grants_of(next.id(), "account disabled");
  return absl::OkStatus();
}

absl::Status AddAccountKey(const IdentityDeps& deps, const Caller& caller, const v1::AddAccountKeyRequest& request,
                           v1::Account* response) {
  POSTERN_ASSIGN_OR_RETURN(const v1::AccountKey key, ReadKey(request.key(), deps.clock.Now()));
  POSTERN_ASSIGN_OR_RETURN(v1::Account account, deps.store.GetAccount(request.account_id()));
  for (const v1::AccountKey& own : account.keys()) {
    if (own.id() != key.id()) continue;
    return Error(absl::StatusCode::kAlreadyExists, "KEY_EXISTS",
                 fmt::format("account {} has the key {} already", account.id(), key.id()));
  }
  if (account.keys_size() >= kMaxKeysPerAccount) {
    return Error(absl::StatusCode::kFailedPrecondition, "TOO_MANY_KEYS",
                 fmt::format("an account has at most {} keys", kMaxKeysPerAccount), "Remove an old one first.");
  }
  *account.add_keys() = key;
  POSTERN_RETURN_IF_ERROR(Record(deps, caller.id(), "account", "add key", account.id(), {{"key", key.id()}}));
  POSTERN_ASSIGN_OR_RETURN(*response, deps.store.ReplaceAccount(account));
  return absl::OkStatus();
}

absl::Status RemoveAccountKey(const IdentityDeps& deps, const Caller& caller,
                              const v1::RemoveAccountKeyRequest& request, v1::Account* response) {
  POSTERN_ASSIGN_OR_RETURN(v1::Account account, deps.store.GetAccount(request.account_id()));
  auto* keys = account.mutable_keys();
  const auto key = std::find_if(keys->begin(), keys->end(),
                                [&request](const v1::AccountKey& own) { return own.id() == request.key_id(); });
  if (key == keys->end()) {
    return Error(absl::StatusCode::kNotFound, "KEY_NOT_FOUND",
                 fmt::format("account {} has no key {}", account.id(), request.key_id()));
  }
  keys->erase(key);
  POSTERN_RETURN_IF_ERROR(
      Record(deps, caller.id(), "account", "remove key", account.id(), {{"key", request.key_id()}}));
  POSTERN_ASSIGN_OR_RETURN(*response, deps.store.ReplaceAccount(account));
  return absl::OkStatus();
}

absl::Status CreateIdentityProvider(const IdentityDeps& deps, const Caller& caller,
                                    const v1::CreateIdentityProviderRequest& request, v1::IdentityProvider* response) {
  const v1::IdentityProvider& provider = request.provider();
  POSTERN_RETURN_IF_ERROR(CheckProvider(provider));
  POSTERN_ASSIGN_OR_RETURN(const std::vector<v1::IdentityProvider> existing,
                           deps.store.ListProviders("", kMaxProviders));
  if (std::ssize(existing) >= kMaxProviders) {
    return Error(absl::StatusCode::kFailedPrecondition, "TOO_MANY_PROVIDERS",
                 fmt::format("there are {} identity providers already", kMaxProviders));
  }
  POSTERN_RETURN_IF_ERROR(Record(deps, caller.id(), "identity provider", "create", provider.name(),
                                 {{"issuer", provider.issuer()},
                                  {"kind", v1::PrincipalKind_Name(provider.kind())},
                                  {"agent_id", provider.agent_id()},
                                  {"groups", Joined(provider.groups())}}));
  POSTERN_RETURN_IF_ERROR(deps.store.InsertProvider(provider));
  *response = provider;
  return absl::OkStatus();
}

absl::Status ListIdentityProviders(const IdentityDeps& deps, const v1::ListIdentityProvidersRequest& request,
                                   v1::ListIdentityProvidersResponse* response) {
  POSTERN_ASSIGN_OR_RETURN(const Page page, ReadPage(request));
  POSTERN_ASSIGN_OR_RETURN(std::vector<v1::IdentityProvider> rows, deps.store.ListProviders(page.after, page.size + 1));
  response->set_next_page_token(FillPage(std::move(rows), page.size, response->mutable_providers(),
                                         [](const v1::IdentityProvider& provider) { return provider.name(); }));
  return absl::OkStatus();
}

absl::Status DeleteIdentityProvider(const IdentityDeps& deps, const Caller& caller,
                                    const v1::DeleteIdentityProviderRequest& request,
                                    v1::DeleteIdentityProviderResponse*) {
  POSTERN_RETURN_IF_ERROR(Record(deps, caller.id(), "identity provider", "delete", request.name()));
  return deps.store.DeleteProvider(request.name());
}

absl::Status CreateRoleBinding(const IdentityDeps& deps, const Caller& caller,
                               const v1::CreateRoleBindingRequest& request, v1::RoleBinding* response) {
  const v1::RoleBinding& binding = request.binding();
  if (!IsRole(binding.role())) {
    return Error(absl::StatusCode::kInvalidArgument, "ROLE_UNKNOWN",
                 fmt::format("there is no role '{}'", binding.role()),
                 "Roles are admin, policy-author, approver, auditor and operator.");
  }
  if (!IsGroupName(binding.group())) {
    return Error(absl::StatusCode::kInvalidArgument, "ROLE_BINDING_INVALID",
                 "a group's name is 1 to 256 bytes without white space");
  }
  POSTERN_RETURN_IF_ERROR(
      Record(deps, caller.id(), "role binding", "create", binding.group(), {{"role", binding.role()}}));
  POSTERN_RETURN_IF_ERROR(deps.store.InsertRoleBinding(binding));
  *response = binding;
  return absl::OkStatus();
}

absl::Status ListRoleBindings(const IdentityDeps& deps, const v1::ListRoleBindingsRequest& request,
                              v1::ListRoleBindingsResponse* response) {
  POSTERN_ASSIGN_OR_RETURN(const Page page, ReadPage(request));
  // Group and role; neither holds a line feed.
  const size_t split = std::min(page.after.find('\n'), page.after.size());
  const std::pair<std::string, std::string> after(page.after.substr(0, split),
                                                  page.after.substr(std::min(split + 1, page.after.size())));
  POSTERN_ASSIGN_OR_RETURN(std::vector<v1::RoleBinding> rows, deps.store.ListRoleBindings(after, page.size + 1));
  response->set_next_page_token(
      FillPage(std::move(rows), page.size, response->mutable_bindings(),
               [](const v1::RoleBinding& binding) { return binding.group() + '\n' + binding.role(); }));
  return absl::OkStatus();
}

absl::Status DeleteRoleBinding(const IdentityDeps& deps, const Caller& caller,
                               const v1::DeleteRoleBindingRequest& request, v1::DeleteRoleBindingResponse*) {
  const v1::RoleBinding& binding = request.binding();
  if (binding.role() == kRoleAdmin) {
    POSTERN_ASSIGN_OR_RETURN(const bool others, AnyAdminBindingBut(deps.store, &binding));
    if (!others) {
      return Error(absl::StatusCode::kFailedPrecondition, "LAST_ADMIN", "no other group has the role admin",
                   "Give the role to another group first.");
    }
  }
  POSTERN_RETURN_IF_ERROR(
      Record(deps, caller.id(), "role binding", "delete", binding.group(), {{"role", binding.role()}}));
  return deps.store.DeleteRoleBinding(binding);
}

absl::Status BootstrapAdmin(const IdentityDeps& deps, const v1::Account& asked) {
  POSTERN_ASSIGN_OR_RETURN(const bool bootstrapped, AnyAdminBindingBut(deps.store, nullptr));
  if (bootstrapped) {
    return Error(absl::StatusCode::kFailedPrecondition, "BOOTSTRAPPED",
                 "this installation has an administrator already", "Ask them for an account.");
  }
  v1::Account admin = asked;
  admin.set_kind(v1::PERSON);
  admin.clear_groups();
  admin.add_groups(std::string(kAdminGroup));
  POSTERN_ASSIGN_OR_RETURN(const v1::Account account, NewAccount(admin, deps.clock.Now()));
  POSTERN_RETURN_IF_ERROR(Record(deps, "bootstrap", "account", "create first administrator", account.id()));
  // The account may be there from an attempt that was cut off between the two.
  const absl::Status inserted = deps.store.InsertAccount(account).status();
  if (!inserted.ok() && inserted.code() != absl::StatusCode::kAlreadyExists) return inserted;
  v1::RoleBinding binding;
  binding.set_group(std::string(kAdminGroup));
  binding.set_role(std::string(kRoleAdmin));
  return deps.store.InsertRoleBinding(binding);
}

}  // namespace postern::identity
