#include "controlplane/server/rpc_server.h"

#include <chrono>

#include "absl/time/time.h"
#include "common/base/errors.h"
#include "fmt/format.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/resource_quota.h"

namespace postern::server {
namespace {

// Above what any RPC may send: uploads and held statements come in messages of up to 16 MiB. The gate knows each RPC's
// own limit.
constexpr int kLargestMessage = 16 << 20;
// Threads for calls that block. Streams live on callbacks and take none.
constexpr int kMostThreads = 64;
constexpr size_t kMostMemory = size_t{512} << 20;

}  // namespace

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Start(const std::string& address, const TlsIdentity& tls,
                                                            const std::vector<grpc::Service*>& services) {
  grpc::SslServerCredentialsOptions options(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = tls.client_ca_pem;
  options.pem_key_cert_pairs.push_back({std::string(tls.key_pem.Expose()), tls.certificate_chain_pem});

  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  std::unique_ptr<RpcServer> server(new RpcServer());
  builder.AddListeningPort(address, grpc::SslServerCredentials(options), &server->port_);
  for (grpc::Service* service : services) builder.RegisterService(service);
  builder.SetMaxReceiveMessageSize(kLargestMessage);
  grpc::ResourceQuota quota("postern-controlplane");
  quota.SetMaxThreads(kMostThreads);
  quota.Resize(kMostMemory);
  builder.SetResourceQuota(quota);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Sidecars ping to notice a dead path; these allow them to.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);

  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr || server->port_ == 0) {
    return Error(absl::StatusCode::kUnavailable, "LISTEN_FAILED", fmt::format("cannot serve on {}", address),
                 "is the address this host's, and is the port free?");
  }
  return server;
}

RpcServer::~RpcServer() { Shutdown(absl::ZeroDuration()); }

void RpcServer::Shutdown(absl::Duration grace) {
  if (server_ == nullptr) return;
  server_->Shutdown(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(grace));
  server_->Wait();
  server_.reset();
}

}  // namespace postern::server
