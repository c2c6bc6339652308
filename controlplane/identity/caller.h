// Who makes an RPC, after authentication. Handlers take it as their first argument.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "postern/v1/identity.pb.h"

namespace postern::identity {

inline constexpr std::string_view kRoleAdmin = "admin";
inline constexpr std::string_view kRolePolicyAuthor = "policy-author";
inline constexpr std::string_view kRoleApprover = "approver";
inline constexpr std::string_view kRoleAuditor = "auditor";
inline constexpr std::string_view kRoleOperator = "operator";

struct Caller {
  v1::Principal principal;
  // Address of the caller as the transport saw it, e.g. "127.0.0.1:51234".
  std::string peer;
  // Agents: people they may act for, `*` allowed, from the account or the identity provider.
  std::vector<std::string> may_act_for;
  // Agents: person or group that answers for them; empty when nobody does.
  std::string owner;

  const std::string& id() const { return principal.id(); }
  bool IsPerson() const { return principal.kind() == v1::PERSON; }
  bool IsAgent() const { return principal.kind() == v1::AGENT; }
  bool IsSidecar() const { return principal.kind() == v1::SIDECAR; }
  bool HasRole(std::string_view role) const {
    return std::any_of(principal.roles().begin(), principal.roles().end(),
                       [role](const std::string& own) { return own == role; });
  }
  bool InGroup(std::string_view group) const {
    return std::any_of(principal.groups().begin(), principal.groups().end(),
                       [group](const std::string& own) { return own == group; });
  }
};

}  // namespace postern::identity
