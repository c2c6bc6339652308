// The uplink over gRPC: one mTLS channel to the control plane, four threads.
//
//   sync         keeps the Sync stream up and builds the ControlState from it
//   (its writer) sends session reports and catalogs on that stream
//   maintenance  renews the certificate at half of its life, repeats withdrawals, cancels a stream that fell silent
//   uploader     brings audit records home (uploader.h)
//
// Requests of sessions are gRPC callback calls; their callbacks come on gRPC's threads.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "sidecar/spool/spool.h"
#include "sidecar/uplink/connection.h"
#include "sidecar/uplink/lease.h"
#include "sidecar/uplink/state_builder.h"
#include "sidecar/uplink/uplink.h"
#include "sidecar/uplink/uplink_client.h"
#include "sidecar/uplink/uploader.h"
#include "sidecar/uplink/witness.h"

namespace postern::sidecar {

// Thread-safe.
class GrpcUplink final : public UplinkClient {
 public:
  GrpcUplink(const UplinkOptions& options, SidecarIdentity identity, spool::Spool& spool, const Clock& clock,
             Random& random);
  ~GrpcUplink() override;

  void Start() override;
  void Stop() override;
  const std::string& sidecar_id() const override { return sidecar_id_; }

  std::shared_ptr<const ControlState> state() const override { return state_.load(std::memory_order_acquire); }
  bool connected() const override;
  absl::Duration lease_ends(const std::string& target) const override { return lease_.EndsOn(state().get(), target); }
  void SetListener(UplinkListener* listener) override { listener_ = listener; }
  void ReleaseCredential(const v1::ReleaseCredentialRequest& request,
                         std::function<void(absl::StatusOr<v1::ReleaseCredentialResponse>)> done) override;
  void RequestApproval(const v1::RequestStatementApprovalRequest& request,
                       std::function<void(absl::StatusOr<v1::Approval>)> done) override;
  void ClaimApproval(const v1::ClaimApprovalRequest& request,
                     std::function<void(absl::StatusOr<v1::Approval>)> done) override;
  void WithdrawApproval(const v1::WithdrawApprovalRequest& request) override;
  void AttachPreview(const v1::AttachPreviewRequest& request) override;
  void ReportSession(const v1::Session& session) override;
  void PublishCatalog(const v1::CatalogSnapshot& snapshot) override;

 private:
  using SyncStream = grpc::ClientReaderWriter<v1::SyncRequest, v1::SyncResponse>;
  struct Withdrawal {
    v1::WithdrawApprovalRequest request;
    absl::Time give_up;
  };

  // --- grpc_uplink.cc: calls ---
  using AsyncStub = v1::SidecarService::StubInterface::async_interface;
  template <typename Request, typename Response>
  using AsyncMethod = void (AsyncStub::*)(grpc::ClientContext*, const Request*, Response*,
                                          std::function<void(grpc::Status)>);
  template <typename Request, typename Response>
  void Call(AsyncMethod<Request, Response> method, const Request& request,
            std::function<void(absl::StatusOr<Response>)> done);
  void OnAsked(const v1::RequestStatementApprovalRequest& request, const v1::Approval& answer);
  void ForgetApproval(const std::string& id);
  AlarmSink MakeAlarm();

  // --- sync_stream.cc: the sync thread and its writer ---
  void RunSync();
  // One stream, from Hello until it breaks. True if a snapshot came.
  bool RunStream();
  v1::SyncRequest MakeHello();
  void WriteReports(SyncStream& stream);
  // False: the stream says what it must not.
  bool Handle(const v1::SyncResponse& message);
  void HandleSnapshot(const v1::SyncResponse::Snapshot& snapshot);
  void HandleApproval(const v1::Approval& approval);
  void HandleSaved(const v1::SyncResponse::SessionSaved& saved);
  void TakeLease(const v1::SyncResponse::Lease& lease);
  void PublishState();
  // After a snapshot: what changed of the approvals that are waited for while nobody told us.
  void AskAgain();

  // --- maintenance.cc ---
  void RunMaintenance();
  absl::Time RenewalTime() const;
  absl::Status Renew();
  // True if it need not be repeated.
  bool Withdraw(const Withdrawal& withdrawal);
  // Makes `context` one that Stop() cancels, for the calls of the maintenance thread. False: stopping.
  bool BeginCall(grpc::ClientContext* context);
  void EndCall(grpc::ClientContext* context);

  const UplinkOptions options_;
  const std::string sidecar_id_;
  spool::Spool& spool_;
  const Clock& clock_;
  Random& random_;
  UplinkListener* listener_ = nullptr;  // set before Start

  ConnectionHolder connections_;
  StateBuilder builder_;  // the sync thread's
  Witness witness_;       // the sync thread's
  std::atomic<std::shared_ptr<const ControlState>> state_;
  Lease lease_;
  // Clock::Monotonic() of the last message of the stream that is up; negative: none is.
  std::atomic<int64_t> heard_ns_{-1};

  absl::Mutex mu_;
  absl::CondVar changed_;
  bool started_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  // The stream that is up, for whoever has to cancel it.
  grpc::ClientContext* stream_context_ ABSL_GUARDED_BY(mu_) = nullptr;
  bool writer_stop_ ABSL_GUARDED_BY(mu_) = false;
  // The stream is being replaced on purpose: the control plane is as reachable as before.
  bool replacing_ ABSL_GUARDED_BY(mu_) = false;
  // Calls under way, ours and the sessions'.
  std::set<grpc::ClientContext*> calls_ ABSL_GUARDED_BY(mu_);

  // What the writer sends. The latest report of each session, until the session has ended and the control plane has
  // said that it knows.
  std::map<std::string, v1::Session> reports_ ABSL_GUARDED_BY(mu_);
  std::deque<std::string> unsent_reports_ ABSL_GUARDED_BY(mu_);
  std::map<std::pair<std::string, std::string>, v1::CatalogSnapshot> catalogs_ ABSL_GUARDED_BY(mu_);
  std::set<std::pair<std::string, std::string>> unsent_catalogs_ ABSL_GUARDED_BY(mu_);
  int64_t applied_revision_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t told_revision_ ABSL_GUARDED_BY(mu_) = 0;

  // Approvals that sessions wait for, by id, as they were asked for.
  std::map<std::string, v1::RequestStatementApprovalRequest> awaited_ ABSL_GUARDED_BY(mu_);
  // Changes that came before the answer that tells us the id. Bounded; oldest dropped.
  std::deque<v1::Approval> early_ ABSL_GUARDED_BY(mu_);
  std::deque<Withdrawal> withdrawals_ ABSL_GUARDED_BY(mu_);

  Uploader uploader_;
  std::thread sync_thread_;
  std::thread maintenance_thread_;
};

}  // namespace postern::sidecar
