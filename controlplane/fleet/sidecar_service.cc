#include "controlplane/fleet/sidecar_service.h"

#include <utility>

#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "controlplane/fleet/fleet_errors.h"
#include "controlplane/fleet/sync_reactor.h"

namespace postern::fleet {
namespace {

constexpr int kWorkers = 4;
constexpr int kUploadWorkers = 2;

// The client's certificate, which TLS has verified; empty without one.
std::string PeerCertificate(const grpc::ServerContextBase& context) {
  std::shared_ptr<const grpc::AuthContext> auth = context.auth_context();
  if (auth == nullptr || !auth->IsPeerAuthenticated()) return "";
  const std::vector<grpc::string_ref> certificates = auth->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (certificates.size() != 1) return "";
  return std::string(certificates[0].data(), certificates[0].size());
}

}  // namespace

SidecarService::SidecarService(const Options& options, EnrolmentDeps enrolment, RequestDeps requests,
                               Catalogs& catalogs, CallGate& gate)
    : options_(options),
      enrolment_(std::move(enrolment)),
      requests_(requests),
      catalogs_(catalogs),
      gate_(gate),
      workers_(kWorkers),
      upload_workers_(kUploadWorkers) {}

SidecarService::~SidecarService() { Stop(); }

void SidecarService::Stop() {
  enrolment_.hub.Stop();
  open_uploads_.CancelAll();
  upload_workers_.Stop();
  workers_.Stop();
}

grpc::ServerUnaryReactor* SidecarService::Run(grpc::CallbackServerContext* context, std::string_view method,
                                              std::function<absl::Status(const identity::Caller&)> handler) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  // The context lives until the reactor is finished.
  workers_.Post([this, context, reactor, method, handler = std::move(handler)] {
    absl::StatusOr<identity::Caller> caller = gate_.Admit(*context, method);
    reactor->Finish(gate_.ToGrpc(caller.ok() ? handler(*caller) : caller.status()));
  });
  return reactor;
}

absl::StatusOr<SidecarCaller> SidecarService::AdmitSidecarCall(const grpc::ServerContextBase& context,
                                                               std::string_view method) {
  POSTERN_ASSIGN_OR_RETURN(identity::Caller caller, gate_.Admit(context, method));
  if (!caller.IsSidecar()) {
    return Error(absl::StatusCode::kPermissionDenied, "PERMISSION_DENIED", "only sidecars may make this call");
  }
  return AdmitSidecar(enrolment_.store, caller.id(), PeerCertificate(context), enrolment_.clock.Now());
}

grpc::ServerUnaryReactor* SidecarService::RunForSidecar(grpc::CallbackServerContext* context, std::string_view method,
                                                        std::function<absl::Status(const SidecarCaller&)> handler) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  workers_.Post([this, context, reactor, method, handler = std::move(handler)] {
    absl::StatusOr<SidecarCaller> caller = AdmitSidecarCall(*context, method);
    reactor->Finish(gate_.ToGrpc(caller.ok() ? handler(*caller) : caller.status()));
  });
  return reactor;
}

grpc::ServerUnaryReactor* SidecarService::InviteSidecar(grpc::CallbackServerContext* context,
                                                        const v1::InviteSidecarRequest* request,
                                                        v1::InviteSidecarResponse* response) {
  return Run(context, "SidecarService/InviteSidecar", [this, request, response](const identity::Caller& caller) {
    return fleet::InviteSidecar(enrolment_, caller, *request, response);
  });
}

grpc::ServerUnaryReactor* SidecarService::ListSidecars(grpc::CallbackServerContext* context,
                                                       const v1::ListSidecarsRequest* request,
                                                       v1::ListSidecarsResponse* response) {
  return Run(context, "SidecarService/ListSidecars", [this, request, response](const identity::Caller&) {
    return fleet::ListSidecars(enrolment_, *request, response);
  });
}

grpc::ServerUnaryReactor* SidecarService::RevokeSidecar(grpc::CallbackServerContext* context,
                                                        const v1::RevokeSidecarRequest* request,
                                                        v1::Sidecar* response) {
  return Run(context, "SidecarService/RevokeSidecar", [this, request, response](const identity::Caller& caller) {
    return fleet::RevokeSidecar(enrolment_, caller, *request, response);
  });
}

grpc::ServerUnaryReactor* SidecarService::GetCatalog(grpc::CallbackServerContext* context,
                                                     const v1::GetCatalogRequest* request,
                                                     v1::CatalogSnapshot* response) {
  return Run(context, "SidecarService/GetCatalog", [this, request, response](const identity::Caller&) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(*response, catalogs_.Get(request->target(), request->database()));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* SidecarService::JoinSidecar(grpc::CallbackServerContext* context,
                                                      const v1::JoinSidecarRequest* request,
                                                      v1::JoinSidecarResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (waiting_joins_.fetch_add(1) >= options_.max_waiting_joins) {
    waiting_joins_.fetch_sub(1);
    reactor->Finish(gate_.ToGrpc(Error(absl::StatusCode::kResourceExhausted, "TOO_MANY_JOINS",
                                       "too many joins are being refused at the moment", "try again in a minute")));
    return reactor;
  }
  workers_.Post([this, context, reactor, request, response] {
    absl::StatusOr<identity::Caller> caller = gate_.Admit(*context, "SidecarService/JoinSidecar");
    const absl::Status status =
        caller.ok() ? fleet::JoinSidecar(enrolment_, context->peer(), *request, response) : caller.status();
    auto finish = [this, reactor, status] {
      waiting_joins_.fetch_sub(1);
      reactor->Finish(gate_.ToGrpc(status));
    };
    if (status.ok()) {
      finish();
    } else {
      workers_.PostAfter(options_.join_penalty, std::move(finish));
    }
  });
  return reactor;
}

grpc::ServerUnaryReactor* SidecarService::RenewCertificate(grpc::CallbackServerContext* context,
                                                           const v1::RenewCertificateRequest* request,
                                                           v1::JoinSidecarResponse* response) {
  return RunForSidecar(context, "SidecarService/RenewCertificate",
                       [this, request, response](const SidecarCaller& caller) {
                         return fleet::RenewCertificate(enrolment_, caller, *request, response);
                       });
}

grpc::ServerBidiReactor<v1::SyncRequest, v1::SyncResponse>* SidecarService::Sync(grpc::CallbackServerContext* context) {
  return StartSync({.options = {.hello_deadline = options_.hello_deadline},
                    .hub = enrolment_.hub,
                    .store = enrolment_.store,
                    .backend = requests_.backend,
                    .catalogs = catalogs_,
                    .clock = enrolment_.clock,
                    .gate = gate_,
                    .workers = workers_},
                   context, [this, context] { return AdmitSidecarCall(*context, "SidecarService/Sync"); });
}

grpc::ServerBidiReactor<v1::UploadAuditRequest, v1::UploadAuditResponse>* SidecarService::UploadAudit(
    grpc::CallbackServerContext* context) {
  return StartUpload({.backend = requests_.backend, .gate = gate_, .workers = upload_workers_, .open = open_uploads_},
                     context, [this, context] { return AdmitSidecarCall(*context, "SidecarService/UploadAudit"); });
}

grpc::ServerUnaryReactor* SidecarService::ReleaseCredential(grpc::CallbackServerContext* context,
                                                            const v1::ReleaseCredentialRequest* request,
                                                            v1::ReleaseCredentialResponse* response) {
  return RunForSidecar(context, "SidecarService/ReleaseCredential",
                       [this, request, response](const SidecarCaller& caller) {
                         return fleet::ReleaseCredential(requests_, caller, *request, response);
                       });
}

grpc::ServerUnaryReactor* SidecarService::RequestStatementApproval(grpc::CallbackServerContext* context,
                                                                   const v1::RequestStatementApprovalRequest* request,
                                                                   v1::Approval* response) {
  return RunForSidecar(context, "SidecarService/RequestStatementApproval",
                       [this, request, response](const SidecarCaller& caller) {
                         return fleet::RequestStatementApproval(requests_, caller, *request, response);
                       });
}

grpc::ServerUnaryReactor* SidecarService::ClaimApproval(grpc::CallbackServerContext* context,
                                                        const v1::ClaimApprovalRequest* request,
                                                        v1::Approval* response) {
  return RunForSidecar(context, "SidecarService/ClaimApproval",
                       [this, request, response](const SidecarCaller& caller) -> absl::Status {
                         POSTERN_ASSIGN_OR_RETURN(*response, requests_.backend.ClaimApproval(caller.id, *request));
                         return absl::OkStatus();
                       });
}

grpc::ServerUnaryReactor* SidecarService::WithdrawApproval(grpc::CallbackServerContext* context,
                                                           const v1::WithdrawApprovalRequest* request,
                                                           v1::Approval* response) {
  return RunForSidecar(context, "SidecarService/WithdrawApproval",
                       [this, request, response](const SidecarCaller& caller) -> absl::Status {
                         POSTERN_ASSIGN_OR_RETURN(*response, requests_.backend.WithdrawApproval(caller.id, *request));
                         return absl::OkStatus();
                       });
}

grpc::ServerUnaryReactor* SidecarService::AttachPreview(grpc::CallbackServerContext* context,
                                                        const v1::AttachPreviewRequest* request,
                                                        v1::AttachPreviewResponse*) {
  return RunForSidecar(context, "SidecarService/AttachPreview", [this, request](const SidecarCaller& caller) {
    return requests_.backend.AttachPreview(caller.id, *request);
  });
}

}  // namespace postern::fleet
