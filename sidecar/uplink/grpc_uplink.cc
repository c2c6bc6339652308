#include "sidecar/uplink/grpc_uplink.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include <grpcpp/client_context.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/obs/log.h"

namespace postern::sidecar {
namespace {

constexpr size_t kMaxEarlyApprovals = 256;
// Beyond this nobody can be waiting any more: an approval's own clock has run out.
constexpr absl::Duration kWithdrawFor = absl::Hours(1);

absl::Status Unreachable() {
  return Error(absl::StatusCode::kUnavailable, "CONTROL_PLANE_UNREACHABLE", "the control plane does not answer",
               "try again; if it lasts, look at the control plane");
}

// A call under way, with everything that gRPC writes to while it runs.
template <typename Request, typename Response>
struct PendingCall {
  std::shared_ptr<const Connection> connection;
  grpc::ClientContext context;
  Request request;
  Response response;
  std::function<void(absl::StatusOr<Response>)> done;
};

}  // namespace

absl::StatusOr<std::unique_ptr<UplinkClient>> UplinkClient::Create(const UplinkOptions& options, spool::Spool& spool,
                                                                   const Clock& clock, Random& random) {
  POSTERN_ASSIGN_OR_RETURN(SidecarIdentity identity, LoadIdentity(options.data_dir));
  return std::make_unique<GrpcUplink>(options, std::move(identity), spool, clock, random);
}

GrpcUplink::GrpcUplink(const UplinkOptions& options, SidecarIdentity identity, spool::Spool& spool, const Clock& clock,
                       Random& random)
    : options_(options),
      sidecar_id_(identity.sidecar_id),
      spool_(spool),
      clock_(clock),
      random_(random),
      connections_(std::make_shared<const Connection>(std::move(identity))),
      builder_(clock, MakeAlarm()),
      witness_(options.data_dir, MakeAlarm()),
      uploader_(options.upload, spool, connections_, random, MakeAlarm()) {}

GrpcUplink::~GrpcUplink() { Stop(); }

AlarmSink GrpcUplink::MakeAlarm() {
  return [this](std::string_view reason, std::string_view text) {
    v1::AuditRecord record;
    record.set_kind(v1::ALARM);
    record.set_reason_code(std::string(reason));
    record.set_reason(std::string(text));
    record.set_action("uplink");
    // An alarm is a fact, which the spool keeps even while its disk fails; if its reserve is full too, sessions are
    // being ended already and there is nowhere left to write that down.
    spool_.Append(record, spool::Durability::kStrict).IgnoreError();
  };
}

void GrpcUplink::Start() {
  {
    absl::MutexLock lock(&mu_);
    if (started_ || stopping_) return;
    started_ = true;
  }
  sync_thread_ = std::thread([this] { RunSync(); });
  maintenance_thread_ = std::thread([this] { RunMaintenance(); });
  uploader_.Start();
}

void GrpcUplink::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
    if (stream_context_ != nullptr) stream_context_->TryCancel();
    for (grpc::ClientContext* context : calls_) context->TryCancel();
    changed_.SignalAll();
  }
  uploader_.Stop();
  if (sync_thread_.joinable()) sync_thread_.join();
  if (maintenance_thread_.joinable()) maintenance_thread_.join();
  absl::MutexLock lock(&mu_);
  while (!calls_.empty()) changed_.Wait(&mu_);
}

bool GrpcUplink::connected() const {
  const int64_t heard = heard_ns_.load(std::memory_order_acquire);
  return heard >= 0 && clock_.Monotonic() - absl::Nanoseconds(heard) < options_.silence;
}

template <typename Request, typename Response>
void GrpcUplink::Call(AsyncMethod<Request, Response> method, const Request& request,
                      std::function<void(absl::StatusOr<Response>)> done) {
  using Pending = PendingCall<Request, Response>;
  // shared_ptr because std::function, which gRPC takes, must be copyable.
  auto call = std::make_shared<Pending>();
  call->connection = connections_.Get();
  call->request = request;
  call->done = std::move(done);
  call->context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(options_.call_deadline));
  if (!BeginCall(&call->context)) return call->done(Unreachable());
  AsyncStub* stub = call->connection->stub->async();
  (stub->*method)(&call->context, &call->request, &call->response, [this, call](grpc::Status status) {
    if (status.ok()) {
      call->done(std::move(call->response));
    } else {
      call->done(FromGrpc(status));
    }
    EndCall(&call->context);
  });
}

bool GrpcUplink::BeginCall(grpc::ClientContext* context) {
  absl::MutexLock lock(&mu_);
  if (stopping_) return false;
  calls_.insert(context);
  return true;
}

void GrpcUplink::EndCall(grpc::ClientContext* context) {
  absl::MutexLock lock(&mu_);
  calls_.erase(context);
  changed_.SignalAll();
}

void GrpcUplink::ReleaseCredential(const v1::ReleaseCredentialRequest& request,
                                   std::function<void(absl::StatusOr<v1::ReleaseCredentialResponse>)> done) {
  Call<v1::ReleaseCredentialRequest, v1::ReleaseCredentialResponse>(&AsyncStub::ReleaseCredential, request,
                                                                    std::move(done));
}

void GrpcUplink::RequestApproval(const v1::RequestStatementApprovalRequest& request,
                                 std::function<void(absl::StatusOr<v1::Approval>)> done) {
  Call<v1::RequestStatementApprovalRequest, v1::Approval>(
      &AsyncStub::RequestStatementApproval, request,
      [this, request, done = std::move(done)](absl::StatusOr<v1::Approval> answer) {
        done(answer);
        if (answer.ok()) OnAsked(request, *answer);
      });
}

void GrpcUplink::OnAsked(const v1::RequestStatementApprovalRequest& request, const v1::Approval& answer) {
  std::vector<v1::Approval> news;
  {
    absl::MutexLock lock(&mu_);
    awaited_.insert_or_assign(answer.id(), request);
    // A push may have overtaken the answer. It counts only if it says something else.
    for (auto early = early_.begin(); early != early_.end();) {
      if (early->id() != answer.id()) {
        ++early;
        continue;
      }
      if (early->etag() != answer.etag()) news.push_back(std::move(*early));
      early = early_.erase(early);
    }
    if (stopping_) return;
  }
  for (const v1::Approval& approval : news) {
    if (listener_ != nullptr) listener_->OnApproval(approval);
  }
}

void GrpcUplink::HandleApproval(const v1::Approval& approval) {
  {
    absl::MutexLock lock(&mu_);
    auto awaited = awaited_.find(approval.id());
    if (awaited == awaited_.end()) {
      early_.push_back(approval);
      if (early_.size() > kMaxEarlyApprovals) early_.pop_front();
      return;
    }
    // Approved ones are still awaited: they may expire unused.
    if (approval.state() != v1::APPROVAL_PENDING && approval.state() != v1::APPROVAL_APPROVED) awaited_.erase(awaited);
  }
  if (listener_ != nullptr) listener_->OnApproval(approval);
}

void GrpcUplink::ClaimApproval(const v1::ClaimApprovalRequest& request,
                               std::function<void(absl::StatusOr<v1::Approval>)> done) {
  Call<v1::ClaimApprovalRequest, v1::Approval>(
      &AsyncStub::ClaimApproval, request,
      [this, id = request.id(), done = std::move(done)](absl::StatusOr<v1::Approval> answer) {
        // Once claimed, or known to be unusable, nothing about it is news any more.
        if (!absl::IsUnavailable(answer.status())) ForgetApproval(id);
        done(std::move(answer));
      });
}

void GrpcUplink::ForgetApproval(const std::string& id) {
  absl::MutexLock lock(&mu_);
  awaited_.erase(id);
}

void GrpcUplink::WithdrawApproval(const v1::WithdrawApprovalRequest& request) {
  absl::MutexLock lock(&mu_);
  awaited_.erase(request.id());
  if (stopping_) return;
  withdrawals_.push_back({.request = request, .give_up = absl::Now() + kWithdrawFor});
  changed_.SignalAll();
}

void GrpcUplink::AttachPreview(const v1::AttachPreviewRequest& request) {
  Call<v1::AttachPreviewRequest, v1::AttachPreviewResponse>(
      &AsyncStub::AttachPreview, request, [](const absl::StatusOr<v1::AttachPreviewResponse>& answer) {
        if (!answer.ok()) obs::LogStatus(obs::Level::kInfo, "a preview was not taken", answer.status());
      });
}

void GrpcUplink::ReportSession(const v1::Session& session) {
  absl::MutexLock lock(&mu_);
  reports_.insert_or_assign(session.id(), session);
  unsent_reports_.push_back(session.id());
  changed_.SignalAll();
}

void GrpcUplink::PublishCatalog(const v1::CatalogSnapshot& snapshot) {
  absl::MutexLock lock(&mu_);
  std::pair<std::string, std::string> key(snapshot.target(), snapshot.database());
  catalogs_.insert_or_assign(key, snapshot);
  unsent_catalogs_.insert(std::move(key));
  changed_.SignalAll();
}

}  // namespace postern::sidecar
