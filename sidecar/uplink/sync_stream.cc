// GrpcUplink's sync thread and the writer that runs beside each stream.
#include <optional>
#include <utility>
#include <vector>

#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include "sidecar/uplink/grpc_uplink.h"

namespace postern::sidecar {

void GrpcUplink::RunSync() {
  Backoff backoff(options_.first_retry, options_.longest_retry, random_);
  while (true) {
    if (RunStream()) backoff.Reset();
    const absl::Time retry = absl::Now() + backoff.Next();
    absl::MutexLock lock(&mu_);
    if (std::exchange(replacing_, false)) continue;
    heard_ns_.store(-1, std::memory_order_release);
    while (!stopping_ && absl::Now() < retry) changed_.WaitWithDeadline(&mu_, retry);
    if (stopping_) return;
  }
}

bool GrpcUplink::RunStream() {
  std::shared_ptr<const Connection> connection = connections_.Get();
  grpc::ClientContext context;
  {
    absl::MutexLock lock(&mu_);
    if (stopping_) return false;
    stream_context_ = &context;
    writer_stop_ = false;
  }
  std::unique_ptr<SyncStream> stream = connection->stub->Sync(&context);
  bool synced = false;
  if (stream->Write(MakeHello())) {
    std::thread writer([this, &stream] { WriteReports(*stream); });
    v1::SyncResponse message;
    while (stream->Read(&message)) {
      heard_ns_.store(absl::ToInt64Nanoseconds(clock_.Monotonic()), std::memory_order_release);
      if (!Handle(message)) {
        context.TryCancel();
        break;
      }
      synced = true;
    }
    {
      absl::MutexLock lock(&mu_);
      writer_stop_ = true;
      changed_.SignalAll();
    }
    // A write that the control plane does not read would hold the writer for ever.
    context.TryCancel();
    writer.join();
  }
  stream->Finish();
  absl::MutexLock lock(&mu_);
  stream_context_ = nullptr;
  return synced;
}

v1::SyncRequest GrpcUplink::MakeHello() {
  v1::SyncRequest request;
  v1::SyncRequest::Hello& hello = *request.mutable_hello();
  hello.set_version(options_.version);
  hello.set_advertise_host(options_.advertise_host);
  hello.set_advertise_port(options_.advertise_port);
  hello.set_client_ca_pem(options_.client_ca_pem);
  absl::MutexLock lock(&mu_);
  for (const auto& [id, session] : reports_) *hello.add_live_sessions() = session;
  // What hello says need not be said twice; catalogs are said again, since nobody confirms them.
  unsent_reports_.clear();
  told_revision_ = 0;
  for (const auto& [key, catalog] : catalogs_) unsent_catalogs_.insert(key);
  return request;
}

void GrpcUplink::WriteReports(SyncStream& stream) {
  while (true) {
    v1::SyncRequest request;
    {
      absl::MutexLock lock(&mu_);
      while (!stopping_ && !writer_stop_ && unsent_reports_.empty() && unsent_catalogs_.empty() &&
             told_revision_ == applied_revision_) {
        changed_.Wait(&mu_);
      }
      if (stopping_ || writer_stop_) return;
      if (!unsent_reports_.empty()) {
        auto report = reports_.find(unsent_reports_.front());
        unsent_reports_.pop_front();
        if (report == reports_.end()) continue;
        *request.mutable_session() = report->second;
      } else if (told_revision_ != applied_revision_) {
        told_revision_ = applied_revision_;
        request.mutable_applied()->set_policy_revision(applied_revision_);
      } else {
        *request.mutable_catalog() = catalogs_[*unsent_catalogs_.begin()];
        unsent_catalogs_.erase(unsent_catalogs_.begin());
      }
    }
    if (!stream.Write(request)) return;  // the reader sees the end too; hello says it all again
  }
}

bool GrpcUplink::Handle(const v1::SyncResponse& message) {
  // Everything else changes what the snapshot said.
  if (builder_.state() == nullptr && !message.has_snapshot()) return message.has_lease();
  switch (message.item_case()) {
    case v1::SyncResponse::kSnapshot:
      HandleSnapshot(message.snapshot());
      break;
    case v1::SyncResponse::kLease:
      TakeLease(message.lease());
      break;
    case v1::SyncResponse::kPolicy:
      builder_.Apply(message.policy());
      PublishState();
      break;
    case v1::SyncResponse::kTokenKeys:
      builder_.Apply(message.token_keys());
      PublishState();
      break;
    case v1::SyncResponse::kTargets:
      builder_.Apply(message.targets());
      PublishState();
      break;
    case v1::SyncResponse::kRevocation: {
      const v1::Revocation& revocation = message.revocation();
      const bool news = builder_.Apply(revocation);
      state_.store(builder_.state(), std::memory_order_release);
      if (news && listener_ != nullptr) listener_->OnRevoked(revocation.grant_id(), revocation.reason());
      break;
    }
    case v1::SyncResponse::kKillSession:
      if (listener_ != nullptr) {
        listener_->OnKillSession(message.kill_session().session_id(), message.kill_session().reason());
      }
      break;
    case v1::SyncResponse::kApproval:
      HandleApproval(message.approval());
      break;
    case v1::SyncResponse::kSessionSaved:
      HandleSaved(message.session_saved());
      break;
    case v1::SyncResponse::ITEM_NOT_SET:
      // A newer control plane says something that this version does not know.
      break;
  }
  return true;
}

void GrpcUplink::HandleSnapshot(const v1::SyncResponse::Snapshot& snapshot) {
  const std::vector<v1::Revocation> revoked = builder_.Apply(snapshot);
  state_.store(builder_.state(), std::memory_order_release);
  // After the state, so that no target is looked up in the state before.
  TakeLease(snapshot.lease());
  if (listener_ != nullptr) {
    for (const v1::Revocation& revocation : revoked) {
      listener_->OnRevoked(revocation.grant_id(), revocation.reason());
    }
  }
  PublishState();
  AskAgain();
}

void GrpcUplink::PublishState() {
  std::shared_ptr<const ControlState> state = builder_.state();
  state_.store(state, std::memory_order_release);
  {
    absl::MutexLock lock(&mu_);
    applied_revision_ = state->policy_revision;
    changed_.SignalAll();
  }
  if (listener_ != nullptr) listener_->OnStateChanged();
}

void GrpcUplink::TakeLease(const v1::SyncResponse::Lease& lease) {
  lease_.Renew(clock_.Monotonic(), absl::Seconds(lease.lease_seconds()));
  if (lease.has_checkpoint()) witness_.See(lease.checkpoint());
}

void GrpcUplink::HandleSaved(const v1::SyncResponse::SessionSaved& saved) {
  absl::MutexLock lock(&mu_);
  auto report = reports_.find(saved.session_id());
  // An answer to an earlier report of a session that has changed since says nothing about the change. Live ones are
  // kept: each new stream begins with all of them.
  if (report == reports_.end() || report->second.state() != saved.state()) return;
  if (saved.state() == v1::SESSION_ENDED) reports_.erase(report);
}

void GrpcUplink::AskAgain() {
  std::vector<v1::RequestStatementApprovalRequest> requests;
  {
    absl::MutexLock lock(&mu_);
    for (const auto& [id, request] : awaited_) requests.push_back(request);
  }
  for (const v1::RequestStatementApprovalRequest& request : requests) {
    // The same request id: the answer is the approval that it made, as it stands now.
    Call<v1::RequestStatementApprovalRequest, v1::Approval>(&AsyncStub::RequestStatementApproval, request,
                                                            [this](absl::StatusOr<v1::Approval> answer) {
                                                              if (answer.ok()) HandleApproval(*answer);
                                                            });
  }
}

}  // namespace postern::sidecar
