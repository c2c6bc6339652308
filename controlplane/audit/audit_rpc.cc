#include "controlplane/audit/audit_rpc.h"

#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "common/base/errors.h"

namespace postern::audit {
namespace {

constexpr int kTailBatch = 100;

// One tail. Reads a batch on a worker, writes it record by record, and waits for the log to grow when it has caught up.
class TailReactor final : public grpc::ServerWriteReactor<v1::LoggedRecord> {
 public:
  TailReactor(fleet::CallGate& gate, AuditLog& log, fleet::WorkerPool& workers, const v1::TailAuditRequest& request)
      : gate_(gate), log_(log), workers_(workers), filter_(request.filter()), after_leaf_(request.after_leaf()) {}

  // Starts for an admitted caller, or ends with an error. Once, on a worker.
  void Open(const absl::Status& admitted) {
    absl::Status status = admitted;
    if (status.ok() && after_leaf_ < -1) {
      status = Error(absl::StatusCode::kInvalidArgument, "INVALID_ARGUMENT", "after_leaf is -1 or a leaf's index");
    }
    if (status.ok()) {
      // Subscribed first: what is committed from here on is told, and "now" is not after it.
      subscription_ = log_.Subscribe([this] { OnGrown(); });
    }
    absl::MutexLock lock(&mu_);
    next_leaf_ = after_leaf_ == -1 ? log_.size() : after_leaf_ + 1;
    opened_ = true;
    if (!status.ok()) end_ = gate_.ToGrpc(status);
    Advance();
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mu_);
    busy_ = false;
    queue_.pop_front();
    if (!ok && !end_.has_value()) end_ = grpc::Status::CANCELLED;
    Advance();
  }

  void OnCancel() override {
    absl::MutexLock lock(&mu_);
    if (!end_.has_value()) end_ = grpc::Status::CANCELLED;
    Advance();
  }

  void OnDone() override {
    // Waits for an OnGrown() that runs.
    subscription_.reset();
    delete this;
  }

 private:
  // On the thread that committed.
  void OnGrown() {
    absl::MutexLock lock(&mu_);
    behind_ = true;
    Advance();
  }

  // Starts the next thing to do, when nothing is under way.
  void Advance() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (!opened_ || busy_ || finished_) return;
    if (end_.has_value()) {
      finished_ = true;
      Finish(*end_);
    } else if (!queue_.empty()) {
      busy_ = true;
      StartWrite(&queue_.front());
    } else if (behind_) {
      busy_ = true;
      behind_ = false;
      workers_.Post([this] { ReadMore(); });
    }
  }

  void ReadMore() {
    int64_t from = 0;
    {
      absl::MutexLock lock(&mu_);
      from = next_leaf_;
    }
    const int64_t end = log_.size();
    auto batch = log_.Scan(filter_, from, end, kTailBatch);
    absl::MutexLock lock(&mu_);
    busy_ = false;
    if (!batch.ok()) {
      if (!end_.has_value()) end_ = gate_.ToGrpc(batch.status());
    } else {
      for (v1::LoggedRecord& record : batch->records) queue_.push_back(std::move(record));
      next_leaf_ = batch->next_leaf;
      if (next_leaf_ < end) behind_ = true;
    }
    Advance();
  }

  fleet::CallGate& gate_;
  AuditLog& log_;
  fleet::WorkerPool& workers_;
  const v1::AuditFilter filter_;
  const int64_t after_leaf_;
  // Set by Open() before anybody reads it.
  std::unique_ptr<AuditReader::Subscription> subscription_;

  absl::Mutex mu_;
  bool opened_ ABSL_GUARDED_BY(mu_) = false;
  // A write or a read is under way.
  bool busy_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  // There may be more in the log than was read.
  bool behind_ ABSL_GUARDED_BY(mu_) = true;
  int64_t next_leaf_ ABSL_GUARDED_BY(mu_) = 0;
  std::optional<grpc::Status> end_ ABSL_GUARDED_BY(mu_);
  // The front is the one being written.
  std::deque<v1::LoggedRecord> queue_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

grpc::Status AuditRpc::QueryAudit(grpc::ServerContext* context, const v1::QueryAuditRequest* request,
                                  v1::QueryAuditResponse* response) {
  if (const auto caller = gate_.Admit(*context, "AuditService/QueryAudit"); !caller.ok()) {
    return gate_.ToGrpc(caller.status());
  }
  auto page = log_.Query(*request);
  if (!page.ok()) return gate_.ToGrpc(page.status());
  *response = *std::move(page);
  return grpc::Status::OK;
}

grpc::Status AuditRpc::ExportAudit(grpc::ServerContext* context, const v1::ExportAuditRequest* request,
                                   grpc::ServerWriter<v1::ExportAuditResponse>* writer) {
  if (const auto caller = gate_.Admit(*context, "AuditService/ExportAudit"); !caller.ok()) {
    return gate_.ToGrpc(caller.status());
  }
  const absl::Status exported =
      log_.Export(request->from_leaf(), [writer](const v1::ExportAuditResponse& item) { return writer->Write(item); });
  return exported.ok() ? grpc::Status::OK : gate_.ToGrpc(exported);
}

grpc::Status AuditRpc::GetCheckpoint(grpc::ServerContext* context, const v1::GetCheckpointRequest* /*request*/,
                                     v1::Checkpoint* response) {
  if (const auto caller = gate_.Admit(*context, "AuditService/GetCheckpoint"); !caller.ok()) {
    return gate_.ToGrpc(caller.status());
  }
  *response = log_.checkpoint();
  return grpc::Status::OK;
}

grpc::ServerWriteReactor<v1::LoggedRecord>* AuditRpc::TailAudit(grpc::CallbackServerContext* context,
                                                                const v1::TailAuditRequest* request) {
  auto* reactor = new TailReactor(gate_, log_, workers_, *request);
  // The reactor, and with it the context, lives until it finishes, which it does not before Open() has run.
  workers_.Post([this, reactor, context] { reactor->Open(gate_.Admit(*context, "AuditService/TailAudit").status()); });
  return reactor;
}

}  // namespace postern::audit
