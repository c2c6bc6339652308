// ApprovalService over gRPC. Watching answers by callback, so that a thousand watchers cost no thread.
#pragma once

#include "controlplane/approval/approvals.h"
#include "controlplane/fleet/worker_pool.h"
#include "controlplane/server/rpc_gate.h"
#include "controlplane/webhook/dispatcher.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "postern/v1/approval.grpc.pb.h"

namespace postern::server {

class ApprovalRpc final : public v1::ApprovalService::WithCallbackMethod_WatchApprovals<v1::ApprovalService::Service> {
 public:
  // Nothing is owned; all outlive the service.
  ApprovalRpc(RpcGate& gate, approval::Approvals& approvals, webhook::Dispatcher& dispatcher)
      : gate_(gate), approvals_(approvals), dispatcher_(dispatcher), workers_(2) {}

  grpc::Status ListApprovals(grpc::ServerContext* context, const v1::ListApprovalsRequest* request,
                             v1::ListApprovalsResponse* response) override;
  grpc::Status GetApproval(grpc::ServerContext* context, const v1::GetApprovalRequest* request,
                           v1::Approval* response) override;
  grpc::Status ApproveApproval(grpc::ServerContext* context, const v1::DecideApprovalRequest* request,
                               v1::Approval* response) override;
  grpc::Status DenyApproval(grpc::ServerContext* context, const v1::DecideApprovalRequest* request,
                            v1::Approval* response) override;
  grpc::Status CancelApproval(grpc::ServerContext* context, const v1::CancelApprovalRequest* request,
                              v1::Approval* response) override;
  grpc::Status BreakGlass(grpc::ServerContext* context, const v1::BreakGlassRequest* request,
                          v1::Approval* response) override;
  grpc::Status ReviewApproval(grpc::ServerContext* context, const v1::ReviewApprovalRequest* request,
                              v1::Approval* response) override;
  grpc::Status CreateDelegation(grpc::ServerContext* context, const v1::CreateDelegationRequest* request,
                                v1::Delegation* response) override;
  grpc::Status ListDelegations(grpc::ServerContext* context, const v1::ListDelegationsRequest* request,
                               v1::ListDelegationsResponse* response) override;
  grpc::Status DeleteDelegation(grpc::ServerContext* context, const v1::DeleteDelegationRequest* request,
                                v1::DeleteDelegationResponse* response) override;
  grpc::Status ListTemplates(grpc::ServerContext* context, const v1::ListTemplatesRequest* request,
                             v1::ListTemplatesResponse* response) override;
  grpc::Status RevokeTemplate(grpc::ServerContext* context, const v1::RevokeTemplateRequest* request,
                              v1::ApprovalTemplate* response) override;
  grpc::Status ListWebhookDeliveries(grpc::ServerContext* context, const v1::ListWebhookDeliveriesRequest* request,
                                     v1::ListWebhookDeliveriesResponse* response) override;
  grpc::Status RetryWebhookDelivery(grpc::ServerContext* context, const v1::RetryWebhookDeliveryRequest* request,
                                    v1::WebhookDelivery* response) override;
  grpc::ServerWriteReactor<v1::Approval>* WatchApprovals(grpc::CallbackServerContext* context,
                                                         const v1::WatchApprovalsRequest* request) override;

 private:
  RpcGate& gate_;
  approval::Approvals& approvals_;
  webhook::Dispatcher& dispatcher_;
  // Opening a watch authenticates and reads the store, which gRPC's callback threads must not wait for.
  fleet::WorkerPool workers_;
};

}  // namespace postern::server
