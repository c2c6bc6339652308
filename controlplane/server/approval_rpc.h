// ApprovalService over gRPC. Watching answers by callback, so that a thousand watchers cost no thread.
#pragma once

#include "controlplane/approval/approvals.h"
#include "controlplane/fleet/worker_pool.h"
#include "controlplane/server/rpc_gate.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "postern/v1/approval.grpc.pb.h"

namespace postern::server {

class ApprovalRpc final : public v1::ApprovalService::WithCallbackMethod_WatchApprovals<v1::ApprovalService::Service> {
 public:
  // Nothing is owned; all outlive the service.
  ApprovalRpc(RpcGate& gate, approval::Approvals& approvals) : gate_(gate), approvals_(approvals), workers_(2) {}

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
  grpc::ServerWriteReactor<v1::Approval>* WatchApprovals(grpc::CallbackServerContext* context,
                                                         const v1::WatchApprovalsRequest* request) override;

 private:
  RpcGate& gate_;
  approval::Approvals& approvals_;
  // Opening a watch authenticates and reads the store, which gRPC's callback threads must not wait for.
  fleet::WorkerPool workers_;
};

}  // namespace postern::server
