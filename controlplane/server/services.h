// The gRPC services over the rooms' functions. Each method is one line: the gate's steps around the room's own rule.
#pragma once

#include "controlplane/approval/approvals.h"
#include "controlplane/fleet/worker_pool.h"
#include "controlplane/identity/identity_service.h"
#include "controlplane/policy/policy_service.h"
#include "controlplane/server/rpc_gate.h"
#include "controlplane/session/session_service.h"
#include "controlplane/target/target_service.h"
#include "controlplane/token/token_service.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/sync_stream.h"
#include "postern/v1/approval.grpc.pb.h"
#include "postern/v1/identity.grpc.pb.h"
#include "postern/v1/policy.grpc.pb.h"
#include "postern/v1/session.grpc.pb.h"
#include "postern/v1/target.grpc.pb.h"
#include "postern/v1/token.grpc.pb.h"

namespace postern::server {

// What a handler gets beside its request: who calls, and the audit record to which it may add.
using identity::Caller;
using v1::AuditRecord;

class TokenRpc final : public v1::TokenService::Service {
 public:
  // The arguments of each service outlive it.
  TokenRpc(RpcGate& gate, const grant::TokenDeps& deps) : gate_(gate), deps_(deps) {}

  grpc::Status MintToken(grpc::ServerContext* context, const v1::MintTokenRequest* request,
                         v1::MintTokenResponse* response) override {
    return gate_.Run(*context, "TokenService/MintToken", *request, response,
                     [&](const Caller& caller, AuditRecord& act) {
                       return grant::MintToken(deps_, caller, *request, act, response);
                     });
  }
  grpc::Status GetGrant(grpc::ServerContext* context, const v1::GetGrantRequest* request,
                        v1::Grant* response) override {
    return gate_.Run(*context, "TokenService/GetGrant", *request, response, [&](const Caller& caller, AuditRecord&) {
      return grant::GetGrant(deps_, caller, *request, response);
    });
  }
  grpc::Status ListGrants(grpc::ServerContext* context, const v1::ListGrantsRequest* request,
                          v1::ListGrantsResponse* response) override {
    return gate_.Run(*context, "TokenService/ListGrants", *request, response, [&](const Caller& caller, AuditRecord&) {
      return grant::ListGrants(deps_, caller, *request, response);
    });
  }
  grpc::Status RevokeGrant(grpc::ServerContext* context, const v1::RevokeGrantRequest* request,
                           v1::Grant* response) override {
    return gate_.Run(*context, "TokenService/RevokeGrant", *request, response,
                     [&](const Caller& caller, AuditRecord& act) {
                       act.set_grant_id(request->id());
                       return grant::RevokeGrant(deps_, caller, *request, response);
                     });
  }

 private:
  RpcGate& gate_;
  const grant::TokenDeps& deps_;
};

class PolicyRpc final : public v1::PolicyService::Service {
 public:
  PolicyRpc(RpcGate& gate, const policy::PolicyDeps& deps) : gate_(gate), deps_(deps) {}

  grpc::Status LintPolicy(grpc::ServerContext* context, const v1::LintPolicyRequest* request,
                          v1::LintPolicyResponse* response) override {
    return gate_.Run(*context, "PolicyService/LintPolicy", *request, response,
                     [&](const Caller&, AuditRecord&) { return policy::LintPolicy(deps_, *request, response); });
  }
  grpc::Status TestPolicy(grpc::ServerContext* context, const v1::TestPolicyRequest* request,
                          v1::TestPolicyResponse* response) override {
    return gate_.Run(*context, "PolicyService/TestPolicy", *request, response,
                     [&](const Caller&, AuditRecord&) { return policy::TestPolicy(deps_, *request, response); });
  }
  grpc::Status ApplyPolicy(grpc::ServerContext* context, const v1::ApplyPolicyRequest* request,
                           v1::ApplyPolicyResponse* response) override {
    return gate_.Run(*context, "PolicyService/ApplyPolicy", *request, response,
                     [&](const Caller& caller, AuditRecord& act) {
                       const absl::Status status = policy::ApplyPolicy(deps_, caller, *request, response);
                       Describe(request->comment(), request->dry_run(), *response, act);
                       return status;
                     });
  }
  grpc::Status GetPolicy(grpc::ServerContext* context, const v1::GetPolicyRequest* request,
                         v1::PolicyRevision* response) override {
    return gate_.Run(*context, "PolicyService/GetPolicy", *request, response,
                     [&](const Caller&, AuditRecord&) { return policy::GetPolicy(deps_, *request, response); });
  }
  grpc::Status ListPolicyRevisions(grpc::ServerContext* context, const v1::ListPolicyRevisionsRequest* request,
                                   v1::ListPolicyRevisionsResponse* response) override {
    return gate_.Run(
        *context, "PolicyService/ListPolicyRevisions", *request, response,
        [&](const Caller&, AuditRecord&) { return policy::ListPolicyRevisions(deps_, *request, response); });
  }
  grpc::Status RollbackPolicy(grpc::ServerContext* context, const v1::RollbackPolicyRequest* request,
                              v1::ApplyPolicyResponse* response) override {
    return gate_.Run(*context, "PolicyService/RollbackPolicy", *request, response,
                     [&](const Caller& caller, AuditRecord& act) {
                       const absl::Status status = policy::RollbackPolicy(deps_, caller, *request, response);
                       Describe(request->comment(), /*dry_run=*/false, *response, act);
                       return status;
                     });
  }
  grpc::Status ExplainPolicy(grpc::ServerContext* context, const v1::ExplainPolicyRequest* request,
                             v1::ExplainPolicyResponse* response) override {
    return gate_.Run(*context, "PolicyService/ExplainPolicy", *request, response,
                     [&](const Caller&, AuditRecord&) { return policy::ExplainPolicy(deps_, *request, response); });
  }

 private:
  static void Describe(const std::string& comment, bool dry_run, const v1::ApplyPolicyResponse& response,
                       AuditRecord& act) {
    act.set_policy_revision(response.revision());
    if (!comment.empty()) (*act.mutable_detail())["comment"] = comment;
    if (dry_run) (*act.mutable_detail())["dry_run"] = "true";
  }

  RpcGate& gate_;
  const policy::PolicyDeps& deps_;
};

class TargetRpc final : public v1::TargetService::Service {
 public:
  TargetRpc(RpcGate& gate, const target::TargetDeps& deps) : gate_(gate), deps_(deps) {}

  grpc::Status CreateTarget(grpc::ServerContext* context, const v1::CreateTargetRequest* request,
                            v1::Target* response) override {
    return gate_.Run(*context, "TargetService/CreateTarget", *request, response, [&](const Caller&, AuditRecord& act) {
      act.set_target(request->target().name());
      return target::CreateTarget(deps_, *request, response);
    });
  }
  grpc::Status GetTarget(grpc::ServerContext* context, const v1::GetTargetRequest* request,
                         v1::Target* response) override {
    return gate_.Run(*context, "TargetService/GetTarget", *request, response, [&](const Caller& caller, AuditRecord&) {
      return target::GetTarget(deps_, caller, *request, response);
    });
  }
  grpc::Status ListTargets(grpc::ServerContext* context, const v1::ListTargetsRequest* request,
                           v1::ListTargetsResponse* response) override {
    return gate_.Run(
        *context, "TargetService/ListTargets", *request, response,
        [&](const Caller& caller, AuditRecord&) { return target::ListTargets(deps_, caller, *request, response); });
  }
  grpc::Status UpdateTarget(grpc::ServerContext* context, const v1::UpdateTargetRequest* request,
                            v1::Target* response) override {
    return gate_.Run(*context, "TargetService/UpdateTarget", *request, response, [&](const Caller&, AuditRecord& act) {
      act.set_target(request->target().name());
      return target::UpdateTarget(deps_, *request, response);
    });
  }
  grpc::Status DeleteTarget(grpc::ServerContext* context, const v1::DeleteTargetRequest* request,
                            v1::DeleteTargetResponse* response) override {
    return gate_.Run(*context, "TargetService/DeleteTarget", *request, response, [&](const Caller&, AuditRecord& act) {
      act.set_target(request->name());
      return target::DeleteTarget(deps_, *request);
    });
  }

 private:
  RpcGate& gate_;
  const target::TargetDeps& deps_;
};

class SessionRpc final : public v1::SessionService::Service {
 public:
  SessionRpc(RpcGate& gate, const session::SessionDeps& deps) : gate_(gate), deps_(deps) {}

  grpc::Status ListSessions(grpc::ServerContext* context, const v1::ListSessionsRequest* request,
                            v1::ListSessionsResponse* response) override {
    return gate_.Run(
        *context, "SessionService/ListSessions", *request, response,
        [&](const Caller& caller, AuditRecord&) { return session::ListSessions(deps_, caller, *request, response); });
  }
  grpc::Status GetSession(grpc::ServerContext* context, const v1::GetSessionRequest* request,
                          v1::Session* response) override {
    return gate_.Run(
        *context, "SessionService/GetSession", *request, response,
        [&](const Caller& caller, AuditRecord&) { return session::GetSession(deps_, caller, *request, response); });
  }
  grpc::Status ReplaySession(grpc::ServerContext* context, const v1::ReplaySessionRequest* request,
                             grpc::ServerWriter<v1::LoggedRecord>* writer) override {
    v1::LoggedRecord none;
    return gate_.Run(*context, "SessionService/ReplaySession", *request, &none, [&](const Caller&, AuditRecord&) {
      return session::ReplaySession(deps_, *request,
                                    [&](const v1::LoggedRecord& record) { return writer->Write(record); });
    });
  }
  grpc::Status KillSession(grpc::ServerContext* context, const v1::KillSessionRequest* request,
                           v1::Session* response) override {
    return gate_.Run(*context, "SessionService/KillSession", *request, response,
                     [&](const Caller& caller, AuditRecord& act) {
                       act.set_session_id(request->id());
                       return session::KillSession(deps_, caller, *request, response);
                     });
  }

 private:
  RpcGate& gate_;
  const session::SessionDeps& deps_;
};

class IdentityRpc final : public v1::IdentityService::Service {
 public:
  IdentityRpc(RpcGate& gate, const identity::IdentityDeps& deps) : gate_(gate), deps_(deps) {}

  grpc::Status WhoAmI(grpc::ServerContext* context, const v1::WhoAmIRequest* request,
                      v1::Principal* response) override {
    return gate_.Run(*context, "IdentityService/WhoAmI", *request, response,
                     [&](const Caller& caller, AuditRecord&) { return identity::WhoAmI(caller, response); });
  }
  grpc::Status CreateAccount(grpc::ServerContext* context, const v1::CreateAccountRequest* request,
                             v1::Account* response) override {
    return Change(context, "IdentityService/CreateAccount", request, response, identity::CreateAccount);
  }
  grpc::Status GetAccount(grpc::ServerContext* context, const v1::GetAccountRequest* request,
                          v1::Account* response) override {
    return Look(context, "IdentityService/GetAccount", request, response, identity::GetAccount);
  }
  grpc::Status ListAccounts(grpc::ServerContext* context, const v1::ListAccountsRequest* request,
                            v1::ListAccountsResponse* response) override {
    return Look(context, "IdentityService/ListAccounts", request, response, identity::ListAccounts);
  }
  grpc::Status UpdateAccount(grpc::ServerContext* context, const v1::UpdateAccountRequest* request,
                             v1::Account* response) override {
    return Change(context, "IdentityService/UpdateAccount", request, response, identity::UpdateAccount);
  }
  grpc::Status AddAccountKey(grpc::ServerContext* context, const v1::AddAccountKeyRequest* request,
                             v1::Account* response) override {
    return Change(context, "IdentityService/AddAccountKey", request, response, identity::AddAccountKey);
  }
  grpc::Status RemoveAccountKey(grpc::ServerContext* context, const v1::RemoveAccountKeyRequest* request,
                                v1::Account* response) override {
    return Change(context, "IdentityService/RemoveAccountKey", request, response, identity::RemoveAccountKey);
  }
  grpc::Status CreateIdentityProvider(grpc::ServerContext* context, const v1::CreateIdentityProviderRequest* request,
                                      v1::IdentityProvider* response) override {
    return Change(context, "IdentityService/CreateIdentityProvider", request, response,
                  identity::CreateIdentityProvider);
  }
  grpc::Status ListIdentityProviders(grpc::ServerContext* context, const v1::ListIdentityProvidersRequest* request,
                                     v1::ListIdentityProvidersResponse* response) override {
    return Look(context, "IdentityService/ListIdentityProviders", request, response, identity::ListIdentityProviders);
  }
  grpc::Status DeleteIdentityProvider(grpc::ServerContext* context, const v1::DeleteIdentityProviderRequest* request,
                                      v1::DeleteIdentityProviderResponse* response) override {
    return Change(context, "IdentityService/DeleteIdentityProvider", request, response,
                  identity::DeleteIdentityProvider);
  }
  grpc::Status CreateRoleBinding(grpc::ServerContext* context, const v1::CreateRoleBindingRequest* request,
                                 v1::RoleBinding* response) override {
    return Change(context, "IdentityService/CreateRoleBinding", request, response, identity::CreateRoleBinding);
  }
  grpc::Status ListRoleBindings(grpc::ServerContext* context, const v1::ListRoleBindingsRequest* request,
                                v1::ListRoleBindingsResponse* response) override {
    return Look(context, "IdentityService/ListRoleBindings", request, response, identity::ListRoleBindings);
  }
  grpc::Status DeleteRoleBinding(grpc::ServerContext* context, const v1::DeleteRoleBindingRequest* request,
                                 v1::DeleteRoleBindingResponse* response) override {
    return Change(context, "IdentityService/DeleteRoleBinding", request, response, identity::DeleteRoleBinding);
  }

 private:
  template <typename Request, typename Response>
  grpc::Status Look(grpc::ServerContext* context, std::string_view method, const Request* request, Response* response,
                    absl::Status (*function)(const identity::IdentityDeps&, const Request&, Response*)) {
    return gate_.Run(*context, method, *request, response,
                     [&](const Caller&, AuditRecord&) { return function(deps_, *request, response); });
  }
  template <typename Request, typename Response>
  grpc::Status Change(grpc::ServerContext* context, std::string_view method, const Request* request, Response* response,
                      absl::Status (*function)(const identity::IdentityDeps&, const Caller&, const Request&,
                                               Response*)) {
    return gate_.Run(*context, method, *request, response,
                     [&](const Caller& caller, AuditRecord&) { return function(deps_, caller, *request, response); });
  }

  RpcGate& gate_;
  const identity::IdentityDeps& deps_;
};

}  // namespace postern::server
