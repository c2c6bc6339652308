#include "sidecar/uplink/uploader.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <grpcpp/client_context.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace postern::sidecar {

Uploader::Uploader(const UploaderOptions& options, spool::Spool& spool, ConnectionHolder& connections, Random& random,
                   AlarmSink alarm)
    : options_(options),
      spool_(spool),
      connections_(connections),
      alarm_(std::move(alarm)),
      backoff_(options.first_retry, options.longest_retry, random) {}

Uploader::~Uploader() { Stop(); }

void Uploader::Start() {
  position_ = spool_.acknowledged();
  spool_.SetListener([this] {
    absl::MutexLock lock(&mu_);
    more_ = true;
    changed_.SignalAll();
  });
  thread_ = std::thread([this] { Run(); });
}

void Uploader::Stop() {
  if (!thread_.joinable()) return;
  spool_.SetListener(nullptr);
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
    if (context_ != nullptr) context_->TryCancel();
    changed_.SignalAll();
  }
  thread_.join();
}

void Uploader::Run() {
  while (true) {
    const absl::Status status = RunStream();
    Report(status);
    const absl::Time retry = absl::Now() + backoff_.Next();
    absl::MutexLock lock(&mu_);
    while (!stopping_ && absl::Now() < retry) changed_.WaitWithDeadline(&mu_, retry);
    if (stopping_) return;
  }
}

absl::Status Uploader::RunStream() {
  std::shared_ptr<const Connection> connection = connections_.Get();
  grpc::ClientContext context;
  {
    absl::MutexLock lock(&mu_);
    if (stopping_) return absl::OkStatus();
    context_ = &context;
  }
  auto stream = connection->stub->UploadAudit(&context);
  absl::Status sent = SendBatches(*stream);
  if (!sent.ok()) context.TryCancel();  // ours, not the stream's: it would wait for us for ever
  stream->WritesDone();
  const grpc::Status finished = stream->Finish();
  {
    absl::MutexLock lock(&mu_);
    context_ = nullptr;
  }
  return sent.ok() ? FromGrpc(finished) : sent;
}

// OK when the stream has broken, which Finish() then explains, or when stopping.
absl::Status Uploader::SendBatches(grpc::ClientReaderWriter<v1::UploadAuditRequest, v1::UploadAuditResponse>& stream) {
  while (true) {
    POSTERN_ASSIGN_OR_RETURN(v1::UploadAuditRequest batch, NextBatch());
    if (batch.records().empty()) return absl::OkStatus();
    v1::UploadAuditResponse answer;
    if (!stream.Write(batch) || !stream.Read(&answer)) return absl::OkStatus();
    const spool::Position committed{.epoch = answer.epoch(), .sequence = answer.committed_sequence()};
    POSTERN_RETURN_IF_ERROR(spool_.Acknowledge(committed));
    if (committed == position_) {
      return Error(absl::StatusCode::kUnavailable, "AUDIT_NOT_COMMITTED",
                   "the control plane took a batch and committed nothing of it");
    }
    position_ = committed;
    backoff_.Reset();
    refused_reason_.clear();
  }
}

absl::StatusOr<v1::UploadAuditRequest> Uploader::NextBatch() {
  while (true) {
    {
      absl::MutexLock lock(&mu_);
      while (!stopping_ && (!more_ || absl::Now() < next_allowed_)) {
        if (more_) {
          changed_.WaitWithDeadline(&mu_, next_allowed_);
        } else {
          changed_.Wait(&mu_);
        }
      }
      if (stopping_) return v1::UploadAuditRequest();
      more_ = false;  // before the reading: what comes meanwhile sets it again
    }
    absl::StatusOr<std::vector<v1::ChainedRecord>> records = spool_.Read(position_, options_.batch_bytes);
    if (absl::IsNotFound(records.status())) {
      // An epoch ended under us, or the position is older than the ledger: go on from what is safe.
      position_ = spool_.acknowledged();
      records = spool_.Read(position_, options_.batch_bytes);
    }
    if (!records.ok()) {
      absl::MutexLock lock(&mu_);
      more_ = true;
      return records.status();
    }
    if (records->empty()) continue;
    v1::UploadAuditRequest batch;
    for (v1::ChainedRecord& record : *records) *batch.add_records() = std::move(record);
    next_allowed_ = std::max(absl::Now(), next_allowed_) +
                    absl::Seconds(static_cast<double>(batch.ByteSizeLong()) / options_.bytes_per_second);
    absl::MutexLock lock(&mu_);
    more_ = true;  // there may be more than one batch
    return batch;
  }
}

void Uploader::Report(const absl::Status& status) {
  if (status.ok() || absl::IsUnavailable(status) || absl::IsResourceExhausted(status)) return;
  const std::string reason = ReasonOf(status);
  if (reason == refused_reason_) return;
  refused_reason_ = reason;
  alarm_("AUDIT_UPLOAD_REFUSED",
         fmt::format("audit records cannot be uploaded: {} ({})", std::string(status.message()), reason));
}

}  // namespace postern::sidecar
