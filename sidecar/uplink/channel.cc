#include "sidecar/uplink/channel.h"

#include <map>
#include <utility>

#include <grpc/grpc.h>
#include <grpcpp/grpcpp.h>

#include "common/base/errors.h"
#include "postern/v1/error.pb.h"

namespace postern::sidecar {
namespace {

// A dead peer is noticed within the sum of both, also while nothing is sent.
constexpr int kKeepaliveMs = 10'000;
constexpr int kKeepaliveTimeoutMs = 5'000;
constexpr int kMinReconnectMs = 100;
constexpr int kMaxReconnectMs = 2'000;
// A snapshot holds every policy and revocation that matters here.
constexpr int kMaxMessageBytes = 64 << 20;

std::shared_ptr<grpc::Channel> Open(const std::string& address, const grpc::SslCredentialsOptions& tls) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kMinReconnectMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kMaxReconnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxReconnectMs);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // The uplink goes where its identity says, never through a proxy of the environment.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Retries are ours: what is safe to repeat is known here, not in the transport.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(tls), arguments);
}

}  // namespace

std::shared_ptr<grpc::Channel> OpenAnonymousChannel(const std::string& address, const std::string& ca_pem) {
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = ca_pem;
  return Open(address, tls);
}

std::shared_ptr<grpc::Channel> OpenChannel(const SidecarIdentity& identity) {
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = identity.ca_pem;
  tls.pem_private_key = std::string(identity.key_pem.Expose());
  tls.pem_cert_chain = identity.certificate_chain_pem;
  return Open(identity.address, tls);
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  v1::ErrorStatus details;
  v1::ErrorInfo info;
  if (details.ParseFromString(status.error_details()) && details.details_size() > 0 &&
      info.ParseFromString(details.details(0).value()) && !info.reason().empty()) {
    std::map<std::string, std::string> metadata(info.metadata().begin(), info.metadata().end());
    const std::string hint = std::exchange(metadata["hint"], "");
    metadata.erase("hint");
    return Error(code, info.reason(), status.error_message(), hint, metadata);
  }
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::DEADLINE_EXCEEDED:
    case grpc::StatusCode::CANCELLED:
      return Error(absl::StatusCode::kUnavailable, "CONTROL_PLANE_UNREACHABLE", "the control plane does not answer",
                   "try again; if it lasts, look at the control plane");
    default:
      return Error(code, "CONTROL_PLANE_ERROR", status.error_message());
  }
}

}  // namespace postern::sidecar
