// AuditService over gRPC. All of its calls only read. Tailing answers by callback, so that a thousand readers cost no
// thread.
#pragma once

#include "controlplane/audit/audit_log.h"
#include "controlplane/fleet/call_gate.h"
#include "controlplane/fleet/worker_pool.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "grpcpp/support/sync_stream.h"
#include "postern/v1/audit.grpc.pb.h"

namespace postern::audit {

class AuditRpc final : public v1::AuditService::WithCallbackMethod_TailAudit<v1::AuditService::Service> {
 public:
  // Nothing is owned; all outlive the service, which outlives the server.
  AuditRpc(fleet::CallGate& gate, AuditLog& log) : gate_(gate), log_(log), workers_(2) {}

  grpc::Status QueryAudit(grpc::ServerContext* context, const v1::QueryAuditRequest* request,
                          v1::QueryAuditResponse* response) override;
  grpc::Status ExportAudit(grpc::ServerContext* context, const v1::ExportAuditRequest* request,
                           grpc::ServerWriter<v1::ExportAuditResponse>* writer) override;
  grpc::Status GetCheckpoint(grpc::ServerContext* context, const v1::GetCheckpointRequest* request,
                             v1::Checkpoint* response) override;
  grpc::ServerWriteReactor<v1::LoggedRecord>* TailAudit(grpc::CallbackServerContext* context,
                                                        const v1::TailAuditRequest* request) override;

 private:
  fleet::CallGate& gate_;
  AuditLog& log_;
  // Reads the store for tails, which gRPC's callback threads must not wait for.
  fleet::WorkerPool workers_;
};

}  // namespace postern::audit
