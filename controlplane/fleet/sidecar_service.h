// SidecarService over gRPC: enrolment, the sync stream, audit upload, and what sessions ask for. Handlers run on worker
// threads of the service, streams on gRPC's callbacks, so a thousand quiet sidecars cost no thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include <grpcpp/support/server_callback.h>

#include "common/base/clock.h"
#include "controlplane/fleet/call_gate.h"
#include "controlplane/fleet/catalogs.h"
#include "controlplane/fleet/control_sources.h"
#include "controlplane/fleet/enrolment.h"
#include "controlplane/fleet/hub.h"
#include "controlplane/fleet/requests.h"
#include "controlplane/fleet/upload_reactor.h"
#include "controlplane/fleet/worker_pool.h"
#include "postern/v1/sidecar.grpc.pb.h"

namespace postern::fleet {

class SidecarService final : public v1::SidecarService::CallbackService {
 public:
  struct Options {
    // How long a refused join waits for its answer, and how many may wait at once; more are refused without a look.
    absl::Duration join_penalty = absl::Seconds(1);
    int max_waiting_joins = 16;
    // A stream that has not said hello by then is ended.
    absl::Duration hello_deadline = absl::Seconds(10);
  };

  // Nothing is owned; all outlive the service.
  SidecarService(const Options& options, EnrolmentDeps enrolment, RequestDeps requests, Catalogs& catalogs,
                 CallGate& gate);
  ~SidecarService() override;

  // Ends all streams and finishes the calls that run. Call it just before grpc::Server::Shutdown, which otherwise waits
  // for the streams; destroy the service after the server. Idempotent.
  void Stop();

  grpc::ServerUnaryReactor* InviteSidecar(grpc::CallbackServerContext* context, const v1::InviteSidecarRequest* request,
                                          v1::InviteSidecarResponse* response) override;
  grpc::ServerUnaryReactor* ListSidecars(grpc::CallbackServerContext* context, const v1::ListSidecarsRequest* request,
                                         v1::ListSidecarsResponse* response) override;
  grpc::ServerUnaryReactor* RevokeSidecar(grpc::CallbackServerContext* context, const v1::RevokeSidecarRequest* request,
                                          v1::Sidecar* response) override;
  grpc::ServerUnaryReactor* GetCatalog(grpc::CallbackServerContext* context, const v1::GetCatalogRequest* request,
                                       v1::CatalogSnapshot* response) override;
  grpc::ServerUnaryReactor* JoinSidecar(grpc::CallbackServerContext* context, const v1::JoinSidecarRequest* request,
                                        v1::JoinSidecarResponse* response) override;
  grpc::ServerUnaryReactor* RenewCertificate(grpc::CallbackServerContext* context,
                                             const v1::RenewCertificateRequest* request,
                                             v1::JoinSidecarResponse* response) override;
  grpc::ServerBidiReactor<v1::SyncRequest, v1::SyncResponse>* Sync(grpc::CallbackServerContext* context) override;
  grpc::ServerBidiReactor<v1::UploadAuditRequest, v1::UploadAuditResponse>* UploadAudit(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* ReleaseCredential(grpc::CallbackServerContext* context,
                                              const v1::ReleaseCredentialRequest* request,
                                              v1::ReleaseCredentialResponse* response) override;
  grpc::ServerUnaryReactor* RequestStatementApproval(grpc::CallbackServerContext* context,
                                                     const v1::RequestStatementApprovalRequest* request,
                                                     v1::Approval* response) override;
  grpc::ServerUnaryReactor* ClaimApproval(grpc::CallbackServerContext* context, const v1::ClaimApprovalRequest* request,
                                          v1::Approval* response) override;
  grpc::ServerUnaryReactor* WithdrawApproval(grpc::CallbackServerContext* context,
                                             const v1::WithdrawApprovalRequest* request,
                                             v1::Approval* response) override;
  grpc::ServerUnaryReactor* AttachPreview(grpc::CallbackServerContext* context, const v1::AttachPreviewRequest* request,
                                          v1::AttachPreviewResponse* response) override;

 private:
  // Runs `handler` on a worker for a caller that the gate admits.
  grpc::ServerUnaryReactor* Run(grpc::CallbackServerContext* context, std::string_view method,
                                std::function<absl::Status(const identity::Caller&)> handler);
  // The same for a sidecar, whose certificate must be on record.
  grpc::ServerUnaryReactor* RunForSidecar(grpc::CallbackServerContext* context, std::string_view method,
                                          std::function<absl::Status(const SidecarCaller&)> handler);
  absl::StatusOr<SidecarCaller> AdmitSidecarCall(const grpc::ServerContextBase& context, std::string_view method);

  const Options options_;
  const EnrolmentDeps enrolment_;
  const RequestDeps requests_;
  Catalogs& catalogs_;
  CallGate& gate_;
  std::atomic<int> waiting_joins_{0};
  WorkerPool workers_;
  // Uploads have threads of their own: a backlog must not delay a release or an approval.
  WorkerPool upload_workers_;
  OpenUploads open_uploads_;
};

}  // namespace postern::fleet
