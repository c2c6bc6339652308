#include "controlplane/identity/account.h"

#include <algorithm>
#include <array>
#include <string>

#include <fmt/format.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/timestamps.h"
#include "common/crypto/ec_key.h"
#include "controlplane/identity/caller.h"
#include "controlplane/identity/identity_service.h"

namespace postern::identity {
namespace {

constexpr size_t kMaxIdBytes = 63;
constexpr size_t kMaxNameBytes = 256;
constexpr int kMaxListed = 200;
constexpr std::array<std::string_view, 5> kRoles = {kRoleAdmin, kRolePolicyAuthor, kRoleApprover, kRoleAuditor,
                                                    kRoleOperator};

absl::Status Invalid(std::string_view what) {
  return Error(absl::StatusCode::kInvalidArgument, "ACCOUNT_INVALID", what);
}

bool IsAccountId(std::string_view id) {
  return !id.empty() && id.size() <= kMaxIdBytes &&
         id.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_.@") == std::string_view::npos;
}

}  // namespace

bool IsGroupName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes && std::none_of(name.begin(), name.end(), [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || c == '\x7f';
  });
}

bool IsRole(std::string_view role) { return std::find(kRoles.begin(), kRoles.end(), role) != kRoles.end(); }

absl::Status CheckAccount(const v1::Account& account) {
  if (!IsAccountId(account.id())) return Invalid("an account's id is 1 to 63 of a-z, 0-9, -, _, . and @");
  if (account.kind() != v1::PERSON && account.kind() != v1::AGENT) return Invalid("an account is a PERSON or an AGENT");
  if (account.groups_size() > kMaxListed || account.may_act_for_size() > kMaxListed) {
    return Invalid(fmt::format("an account has at most {} groups, and people to act for", kMaxListed));
  }
  for (const std::string& group : account.groups()) {
    if (!IsGroupName(group)) return Invalid("a group's name is 1 to 256 bytes without white space");
  }
  if (account.kind() == v1::PERSON && (!account.owner().empty() || account.may_act_for_size() > 0)) {
    return Invalid("owner and may_act_for are for agents");
  }
  if (!account.owner().empty() && !IsGroupName(account.owner())) return Invalid("the owner's name has white space");
  for (const std::string& person : account.may_act_for()) {
    if (!IsGroupName(person)) return Invalid("a name in may_act_for has white space");
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::AccountKey> ReadKey(const v1::AccountKey& key, absl::Time now) {
  POSTERN_ASSIGN_OR_RETURN(const crypto::EcPublicKey public_key, crypto::EcPublicKey::FromPem(key.public_key_pem()));
  const absl::Time expires = FromTimestamp(key.expire_time());
  if (!key.has_expire_time() || expires <= now || expires > now + kMaxKeyLifetime) {
    return Error(absl::StatusCode::kInvalidArgument, "KEY_EXPIRY",
                 "a key needs an expiry in the future, at most 400 days away");
  }
  v1::AccountKey kept;
  kept.set_id(public_key.Thumbprint());
  kept.set_public_key_pem(public_key.ToPem());
  *kept.mutable_create_time() = ToTimestamp(now);
  *kept.mutable_expire_time() = key.expire_time();
  return kept;
}

}  // namespace postern::identity
