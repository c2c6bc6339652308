// GrpcUplink's maintenance thread: what must happen now and then, or again.
#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <grpcpp/client_context.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/crypto/certificate.h"
#include "common/crypto/ec_key.h"
#include "sidecar/uplink/grpc_uplink.h"

namespace postern::sidecar {

void GrpcUplink::RunMaintenance() {
  Backoff withdraw_backoff(options_.first_retry, options_.longest_retry, random_);
  Backoff renew_backoff(absl::Seconds(1), absl::Minutes(5), random_);
  absl::Time next_withdrawal = absl::InfinitePast();
  absl::Duration renew_in = RenewalTime() - clock_.Now();
  absl::Time next_renewal = absl::Now() + renew_in;
  while (true) {
    std::optional<Withdrawal> withdrawal;
    {
      absl::MutexLock lock(&mu_);
      // A stream that is silent is cancelled in time for a new one within the lease.
      absl::Time wake = std::min(next_renewal, absl::Now() + options_.silence / 3);
      if (!withdrawals_.empty()) wake = std::min(wake, next_withdrawal);
      if (!stopping_ && absl::Now() < wake) changed_.WaitWithDeadline(&mu_, wake);
      if (stopping_) return;
      const int64_t heard = heard_ns_.load(std::memory_order_acquire);
      if (heard >= 0 && clock_.Monotonic() - absl::Nanoseconds(heard) > options_.silence &&
          stream_context_ != nullptr) {
        stream_context_->TryCancel();
      }
      if (!withdrawals_.empty() && absl::Now() >= next_withdrawal) withdrawal = withdrawals_.front();
    }
    if (withdrawal.has_value()) {
      if (Withdraw(*withdrawal)) {
        absl::MutexLock lock(&mu_);
        withdrawals_.pop_front();
        withdraw_backoff.Reset();
      } else {
        next_withdrawal = absl::Now() + withdraw_backoff.Next();
      }
    }
    if (absl::Now() >= next_renewal) {
      if (Renew().ok()) {
        renew_backoff.Reset();
        next_renewal = absl::Now() + (RenewalTime() - clock_.Now());
      } else {
        next_renewal = absl::Now() + renew_backoff.Next();
      }
    }
  }
}

absl::Time GrpcUplink::RenewalTime() const {
  absl::StatusOr<crypto::CertificateInfo> info =
      crypto::ReadCertificate(connections_.Get()->identity.certificate_chain_pem);
  // A certificate that cannot be read is not worth waiting for.
  if (!info.ok()) return clock_.Now();
  return info->not_before + (info->not_after - info->not_before) / 2;
}

absl::Status GrpcUplink::Renew() {
  std::shared_ptr<const Connection> connection = connections_.Get();
  POSTERN_ASSIGN_OR_RETURN(crypto::EcPrivateKey key, crypto::EcPrivateKey::Generate());
  v1::RenewCertificateRequest request;
  POSTERN_ASSIGN_OR_RETURN(*request.mutable_csr_der(), crypto::MakeCsr(key, sidecar_id_));
  request.set_generation(connection->identity.generation);
  v1::JoinSidecarResponse response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(options_.call_deadline));
  if (!BeginCall(&context)) return absl::CancelledError();
  const grpc::Status status = connection->stub->RenewCertificate(&context, request, &response);
  EndCall(&context);
  POSTERN_RETURN_IF_ERROR(FromGrpc(status));

  SidecarIdentity identity;
  identity.address = connection->identity.address;
  identity.sidecar_id = sidecar_id_;
  identity.generation = response.generation();
  identity.key_pem = key.ToPem();
  identity.certificate_chain_pem = response.certificate_chain_pem();
  identity.ca_pem = connection->identity.ca_pem;
  // On the disk before it is used: once a stream was opened with it, the one before is void.
  POSTERN_RETURN_IF_ERROR(SaveIdentity(identity, options_.data_dir));
  connections_.Set(std::make_shared<const Connection>(std::move(identity)));
  absl::MutexLock lock(&mu_);
  if (stream_context_ != nullptr) {
    replacing_ = true;
    stream_context_->TryCancel();
  }
  return absl::OkStatus();
}

bool GrpcUplink::Withdraw(const Withdrawal& withdrawal) {
  if (absl::Now() >= withdrawal.give_up) return true;
  std::shared_ptr<const Connection> connection = connections_.Get();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(options_.call_deadline));
  v1::Approval approval;
  if (!BeginCall(&context)) return false;
  const grpc::Status status = connection->stub->WithdrawApproval(&context, withdrawal.request, &approval);
  EndCall(&context);
  // Any answer of the control plane's own means that the approval is withdrawn or over.
  return !absl::IsUnavailable(FromGrpc(status));
}

}  // namespace postern::sidecar
