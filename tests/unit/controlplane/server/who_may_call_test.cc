#include "controlplane/server/who_may_call.h"

#include <set>
#include <string>

#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "gtest/gtest.h"
#include "postern/v1/approval.pb.h"
#include "postern/v1/audit.pb.h"
#include "postern/v1/identity.pb.h"
#include "postern/v1/policy.pb.h"
#include "postern/v1/session.pb.h"
#include "postern/v1/sidecar.pb.h"
#include "postern/v1/target.pb.h"
#include "postern/v1/token.pb.h"

namespace postern::server {
namespace {

using google::protobuf::FileDescriptor;

// Service/Method of every RPC in our protos. A new .proto file is found by its import or has to be named here.
std::set<std::string> AllMethods() {
  const FileDescriptor* const files[] = {v1::Approval::descriptor()->file(),  v1::AuditRecord::descriptor()->file(),
                                         v1::Principal::descriptor()->file(), v1::Policy::descriptor()->file(),
                                         v1::Session::descriptor()->file(),   v1::Sidecar::descriptor()->file(),
                                         v1::Target::descriptor()->file(),    v1::Grant::descriptor()->file()};
  std::set<std::string> methods;
  for (const FileDescriptor* file : files) {
    for (int s = 0; s < file->service_count(); ++s) {
      for (int m = 0; m < file->service(s)->method_count(); ++m) {
        methods.insert(file->service(s)->name() + "/" + file->service(s)->method(m)->name());
      }
    }
  }
  return methods;
}

identity::Caller Of(v1::PrincipalKind kind, const std::vector<std::string>& roles) {
  identity::Caller caller;
  caller.principal.set_id("someone");
  caller.principal.set_kind(kind);
  for (const std::string& role : roles) caller.principal.add_roles(role);
  return caller;
}

TEST(WhoMayCallTest, EveryRpcHasARowAndEveryRowAnRpc) {
  std::set<std::string> rows;
  for (const CallerRow& row : WhoMayCall()) {
    EXPECT_TRUE(rows.insert(std::string(row.method)).second) << row.method << " has two rows";
    EXPECT_NE(row.who, 0u) << row.method << " can be called by nobody";
  }
  EXPECT_EQ(rows, AllMethods());
}

TEST(WhoMayCallTest, AnUnknownMethodHasNoRow) { EXPECT_EQ(FindRow("TokenService/Nothing"), nullptr); }

TEST(WhoMayCallTest, AnAgentHasNoRolesWhateverItClaims) {
  const identity::Caller agent = Of(v1::AGENT, {"admin", "approver", "auditor", "operator", "policy-author"});
  for (const CallerRow& row : WhoMayCall()) {
    EXPECT_EQ(MayCall(row, agent), (row.who & kAgent) != 0) << row.method;
  }
  for (const char* method :
       {"ApprovalService/ApproveApproval", "ApprovalService/DenyApproval", "ApprovalService/BreakGlass",
        "PolicyService/ApplyPolicy", "SidecarService/ClaimApproval"}) {
    EXPECT_FALSE(MayCall(*FindRow(method), agent)) << method;
  }
}

TEST(WhoMayCallTest, APersonWithoutRolesMayOnlyAskWhoTheyAreAndForProof) {
  const identity::Caller person = Of(v1::PERSON, {});
  std::set<std::string> allowed;
  for (const CallerRow& row : WhoMayCall()) {
    if (MayCall(row, person)) allowed.insert(std::string(row.method));
  }
  // RevokeGrant is for owners; the handler knows who owns what.
  EXPECT_THAT(allowed,
              testing::ElementsAre("AuditService/GetCheckpoint", "IdentityService/WhoAmI", "TokenService/RevokeGrant"));
}

TEST(WhoMayCallTest, AuditorsChangeNothing) {
  const identity::Caller auditor = Of(v1::PERSON, {"auditor"});
  for (const CallerRow& row : WhoMayCall()) {
    if (row.record == Record::kNothing || row.method == "TokenService/RevokeGrant") continue;
    EXPECT_FALSE(MayCall(row, auditor)) << row.method;
  }
}

TEST(WhoMayCallTest, NobodyButSidecarsSpeaksForThem) {
  const identity::Caller admin = Of(v1::PERSON, {"admin", "approver", "auditor", "operator", "policy-author"});
  for (const char* method :
       {"SidecarService/Sync", "SidecarService/UploadAudit", "SidecarService/ReleaseCredential",
        "SidecarService/RequestStatementApproval", "SidecarService/ClaimApproval", "SidecarService/WithdrawApproval",
        "SidecarService/AttachPreview", "SidecarService/RenewCertificate", "TokenService/MintToken"}) {
    EXPECT_FALSE(MayCall(*FindRow(method), admin)) << method;
  }
  const identity::Caller sidecar = Of(v1::SIDECAR, {"admin"});
  for (const CallerRow& row : WhoMayCall()) {
    EXPECT_EQ(MayCall(row, sidecar), (row.who & kSidecar) != 0) << row.method;
  }
}

TEST(WhoMayCallTest, AnUnspecifiedKindMayNothing) {
  const identity::Caller nobody = Of(v1::PRINCIPAL_KIND_UNSPECIFIED, {"admin"});
  for (const CallerRow& row : WhoMayCall()) EXPECT_FALSE(MayCall(row, nobody)) << row.method;
}

TEST(WhoMayCallTest, EachRoleHasExactlyItsMutations) {
  const auto mutations = [](const char* role) {
    std::set<std::string> methods;
    for (const CallerRow& row : WhoMayCall()) {
      if (row.record != Record::kNothing && MayCall(row, Of(v1::PERSON, {role})))
        methods.insert(std::string(row.method));
    }
    methods.erase("TokenService/RevokeGrant");
    return methods;
  };
  EXPECT_THAT(mutations("approver"),
              testing::ElementsAre("ApprovalService/ApproveApproval", "ApprovalService/BreakGlass",
                                   "ApprovalService/CreateDelegation", "ApprovalService/DeleteDelegation",
                                   "ApprovalService/DenyApproval", "ApprovalService/ReviewApproval",
                                   "ApprovalService/RevokeTemplate"));
  EXPECT_THAT(mutations("policy-author"),
              testing::ElementsAre("PolicyService/ApplyPolicy", "PolicyService/RollbackPolicy"));
  EXPECT_THAT(
      mutations("operator"),
      testing::ElementsAre("ApprovalService/RetryWebhookDelivery", "ApprovalService/RevokeTemplate",
                           "SessionService/KillSession", "SidecarService/InviteSidecar", "SidecarService/RevokeSidecar",
                           "TargetService/CreateTarget", "TargetService/DeleteTarget", "TargetService/UpdateTarget"));
  for (const char* method : {"ApprovalService/BreakGlass", "ApprovalService/ReviewApproval"}) {
    EXPECT_FALSE(mutations("admin").contains(method)) << method;
  }
  EXPECT_FALSE(mutations("admin").contains("ApprovalService/ApproveApproval")) << "admins approve only as approvers";
}

}  // namespace
}  // namespace postern::server
