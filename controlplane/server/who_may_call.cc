#include "controlplane/server/who_may_call.h"

#include <algorithm>

namespace postern::server {
namespace {

constexpr uint32_t kSeesPolicy = kAdmin | kPolicyAuthor | kAuditor;
constexpr uint32_t kSeesAll = kAdmin | kOperator | kAuditor;

constexpr CallerRow kWhoMayCall[] = {
    {"TokenService/MintToken", kAgent, Record::kItself, Repeat::kAgain},
    {"TokenService/GetGrant", kAgent | kSeesAll, Record::kNothing, Repeat::kAgain},
    {"TokenService/ListGrants", kAgent | kSeesAll, Record::kNothing, Repeat::kAgain},
    // A person who owns the agent, or in a group that does, needs no role.
    {"TokenService/RevokeGrant", kAgent | kPerson, Record::kGate, Repeat::kAnswered},

    {"ApprovalService/ListApprovals", kAgent | kApprover | kSeesAll, Record::kNothing, Repeat::kAgain},
    {"ApprovalService/GetApproval", kAgent | kApprover | kSeesAll, Record::kNothing, Repeat::kAgain},
    {"ApprovalService/WatchApprovals", kAgent | kApprover | kSeesAll, Record::kNothing, Repeat::kAgain},
    {"ApprovalService/ApproveApproval", kApprover, Record::kItself, Repeat::kAnswered},
    {"ApprovalService/DenyApproval", kApprover, Record::kItself, Repeat::kAnswered},
    {"ApprovalService/CancelApproval", kAgent, Record::kItself, Repeat::kAnswered},
    {"ApprovalService/BreakGlass", kApprover, Record::kItself, Repeat::kAnswered},
    {"ApprovalService/ReviewApproval", kApprover, Record::kItself, Repeat::kAnswered},
    {"ApprovalService/CreateDelegation", kApprover, Record::kGate, Repeat::kAnswered},
    {"ApprovalService/ListDelegations", kApprover | kSeesAll, Record::kNothing, Repeat::kAgain},
    {"ApprovalService/DeleteDelegation", kApprover | kAdmin, Record::kGate, Repeat::kAnswered},
    {"ApprovalService/ListTemplates", kApprover | kSeesAll, Record::kNothing, Repeat::kAgain},
    {"ApprovalService/RevokeTemplate", kApprover | kAdmin | kOperator, Record::kGate, Repeat::kAnswered},
    {"ApprovalService/ListWebhookDeliveries", kAdmin | kOperator, Record::kNothing, Repeat::kAgain},
    {"ApprovalService/RetryWebhookDelivery", kAdmin | kOperator, Record::kGate, Repeat::kAnswered},

    {"PolicyService/LintPolicy", kSeesPolicy, Record::kNothing, Repeat::kAgain},
    {"PolicyService/TestPolicy", kSeesPolicy, Record::kNothing, Repeat::kAgain},
    {"PolicyService/ApplyPolicy", kAdmin | kPolicyAuthor, Record::kGate, Repeat::kAnswered},
    {"PolicyService/GetPolicy", kSeesPolicy, Record::kNothing, Repeat::kAgain},
    {"PolicyService/ListPolicyRevisions", kSeesPolicy, Record::kNothing, Repeat::kAgain},
    {"PolicyService/RollbackPolicy", kAdmin | kPolicyAuthor, Record::kGate, Repeat::kAnswered},
    {"PolicyService/ExplainPolicy", kSeesPolicy, Record::kNothing, Repeat::kAgain},

    {"AuditService/QueryAudit", kAdmin | kAuditor, Record::kNothing, Repeat::kAgain},
    {"AuditService/TailAudit", kAdmin | kAuditor, Record::kNothing, Repeat::kAgain},
    {"AuditService/ExportAudit", kAdmin | kAuditor, Record::kNothing, Repeat::kAgain},
    {"AuditService/GetCheckpoint", kAnyone, Record::kNothing, Repeat::kAgain},

    {"SessionService/ListSessions", kAgent | kSeesAll, Record::kNothing, Repeat::kAgain},
    {"SessionService/GetSession", kAgent | kSeesAll, Record::kNothing, Repeat::kAgain},
    {"SessionService/ReplaySession", kAdmin | kAuditor, Record::kNothing, Repeat::kAgain},
    {"SessionService/KillSession", kAdmin | kOperator, Record::kGate, Repeat::kAnswered},

    {"TargetService/CreateTarget", kAdmin | kOperator, Record::kGate, Repeat::kAnswered},
    {"TargetService/GetTarget", kAgent | kPolicyAuthor | kSeesAll, Record::kNothing, Repeat::kAgain},
    {"TargetService/ListTargets", kAgent | kPolicyAuthor | kSeesAll, Record::kNothing, Repeat::kAgain},
    {"TargetService/UpdateTarget", kAdmin | kOperator, Record::kGate, Repeat::kAnswered},
    {"TargetService/DeleteTarget", kAdmin | kOperator, Record::kGate, Repeat::kAnswered},

    {"IdentityService/WhoAmI", kAnyone, Record::kNothing, Repeat::kAgain},
    {"IdentityService/CreateAccount", kAdmin, Record::kItself, Repeat::kAnswered},
    {"IdentityService/GetAccount", kAdmin, Record::kNothing, Repeat::kAgain},
    {"IdentityService/ListAccounts", kAdmin, Record::kNothing, Repeat::kAgain},
    {"IdentityService/UpdateAccount", kAdmin, Record::kItself, Repeat::kAnswered},
    {"IdentityService/AddAccountKey", kAdmin, Record::kItself, Repeat::kAnswered},
    {"IdentityService/RemoveAccountKey", kAdmin, Record::kItself, Repeat::kAnswered},
    {"IdentityService/CreateIdentityProvider", kAdmin, Record::kItself, Repeat::kAnswered},
    {"IdentityService/ListIdentityProviders", kAdmin, Record::kNothing, Repeat::kAgain},
    {"IdentityService/DeleteIdentityProvider", kAdmin, Record::kItself, Repeat::kAnswered},
    {"IdentityService/CreateRoleBinding", kAdmin, Record::kItself, Repeat::kAnswered},
    {"IdentityService/ListRoleBindings", kAdmin, Record::kNothing, Repeat::kAgain},
    {"IdentityService/DeleteRoleBinding", kAdmin, Record::kItself, Repeat::kAnswered},

    // Join lines are secret and so are not remembered: a repeat voids the first secret and makes another.
    {"SidecarService/InviteSidecar", kAdmin | kOperator, Record::kItself, Repeat::kAgain},
    {"SidecarService/ListSidecars", kSeesAll, Record::kNothing, Repeat::kAgain},
    {"SidecarService/RevokeSidecar", kAdmin | kOperator, Record::kItself, Repeat::kAgain},
    {"SidecarService/GetCatalog", kSeesPolicy, Record::kNothing, Repeat::kAgain},
    {"SidecarService/JoinSidecar", kUnidentified, Record::kItself, Repeat::kAgain},
    {"SidecarService/RenewCertificate", kSidecar, Record::kItself, Repeat::kAgain},
    {"SidecarService/Sync", kSidecar, Record::kItself, Repeat::kAgain},
    {"SidecarService/UploadAudit", kSidecar, Record::kItself, Repeat::kAgain},
    {"SidecarService/ReleaseCredential", kSidecar, Record::kItself, Repeat::kAgain},
    {"SidecarService/RequestStatementApproval", kSidecar, Record::kItself, Repeat::kAgain},
    {"SidecarService/ClaimApproval", kSidecar, Record::kItself, Repeat::kAgain},
    {"SidecarService/WithdrawApproval", kSidecar, Record::kItself, Repeat::kAgain},
    {"SidecarService/AttachPreview", kSidecar, Record::kItself, Repeat::kAgain},
};

}  // namespace

std::span<const CallerRow> WhoMayCall() { return kWhoMayCall; }

const CallerRow* FindRow(std::string_view method) {
  const auto* row = std::find_if(std::begin(kWhoMayCall), std::end(kWhoMayCall),
                                 [method](const CallerRow& candidate) { return candidate.method == method; });
  return row == std::end(kWhoMayCall) ? nullptr : row;
}

bool MayCall(const CallerRow& row, const identity::Caller& caller) {
  if (caller.IsAgent()) return (row.who & kAgent) != 0;
  if (caller.IsSidecar()) return (row.who & kSidecar) != 0;
  if (!caller.IsPerson()) return false;
  if ((row.who & kPerson) != 0) return true;
  constexpr struct {
    uint32_t bit;
    std::string_view role;
  } kRoles[] = {{kAdmin, identity::kRoleAdmin},
                {kPolicyAuthor, identity::kRolePolicyAuthor},
                {kApprover, identity::kRoleApprover},
                {kAuditor, identity::kRoleAuditor},
                {kOperator, identity::kRoleOperator}};
  return std::any_of(std::begin(kRoles), std::end(kRoles),
                     [&](const auto& entry) { return (row.who & entry.bit) != 0 && caller.HasRole(entry.role); });
}

}  // namespace postern::server
