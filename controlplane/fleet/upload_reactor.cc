#include "controlplane/fleet/upload_reactor.h"

#include <utility>
#include <vector>

#include <grpcpp/server_context.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace postern::fleet {
namespace {

// At any time exactly one thing is under way: a read, the ingest of what was read, or the write of its answer. So the
// reactor needs no lock, and cannot be done while a worker uses it: the worker is what starts the next operation.
class UploadReactor final : public grpc::ServerBidiReactor<v1::UploadAuditRequest, v1::UploadAuditResponse> {
 public:
  UploadReactor(const UploadDeps& deps, grpc::CallbackServerContext* context,
                std::function<absl::StatusOr<SidecarCaller>()> admit)
      : deps_(deps), context_(context), admit_(std::move(admit)) {
    if (deps_.open.Add(context_)) {
      StartRead(&request_);
    } else {
      Finish(grpc::Status(grpc::StatusCode::UNAVAILABLE, "the control plane is stopping"));
    }
  }

  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    deps_.workers.Post([this] {
      const absl::Status status = Ingest();
      if (status.ok()) {
        StartWrite(&response_);
      } else {
        Finish(deps_.gate.ToGrpc(status));
      }
    });
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::CANCELLED);
    StartRead(&request_);
  }

  void OnDone() override {
    deps_.open.Remove(context_);
    delete this;
  }

 private:
  absl::Status Ingest() {
    POSTERN_ASSIGN_OR_RETURN(SidecarCaller caller, admit_());
    std::vector<v1::ChainedRecord> records;
    records.reserve(request_.records_size());
    for (v1::ChainedRecord& record : *request_.mutable_records()) {
      if (record.writer() != caller.id) {
        return Error(absl::StatusCode::kPermissionDenied, "AUDIT_WRONG_WRITER",
                     "a sidecar uploads its own records only");
      }
      records.push_back(std::move(record));
    }
    POSTERN_ASSIGN_OR_RETURN(Ingested ingested, deps_.backend.IngestAudit(caller.id, records));
    response_.set_epoch(ingested.epoch);
    response_.set_committed_sequence(ingested.committed_sequence);
    return absl::OkStatus();
  }

  const UploadDeps deps_;
  grpc::CallbackServerContext* const context_;
  const std::function<absl::StatusOr<SidecarCaller>()> admit_;
  v1::UploadAuditRequest request_;
  v1::UploadAuditResponse response_;
};

}  // namespace

bool OpenUploads::Add(grpc::CallbackServerContext* context) {
  absl::MutexLock lock(&mu_);
  if (stopping_) return false;
  contexts_.insert(context);
  return true;
}

void OpenUploads::Remove(grpc::CallbackServerContext* context) {
  absl::MutexLock lock(&mu_);
  contexts_.erase(context);
}

void OpenUploads::CancelAll() {
  // Under the lock: a context lives until its Remove() has returned.
  absl::MutexLock lock(&mu_);
  stopping_ = true;
  for (grpc::CallbackServerContext* context : contexts_) context->TryCancel();
}

grpc::ServerBidiReactor<v1::UploadAuditRequest, v1::UploadAuditResponse>* StartUpload(
    const UploadDeps& deps, grpc::CallbackServerContext* context,
    std::function<absl::StatusOr<SidecarCaller>()> admit) {
  return new UploadReactor(deps, context, std::move(admit));
}

}  // namespace postern::fleet
