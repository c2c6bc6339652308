// The gRPC server: TLS, limits, health, and an orderly end.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/crypto/secret.h"

namespace grpc {
class Server;
class Service;
}  // namespace grpc

namespace postern::server {

struct TlsIdentity {
  // Leaf first.
  std::string certificate_chain_pem;
  crypto::Secret key_pem;
  // Client certificates are asked for and verified against this, but a client need not have one.
  std::string client_ca_pem;
};

class RpcServer {
 public:
  // Serves on `address` (host:port; port 0 takes a free one). The services outlive the server.
  //   UNAVAILABLE/LISTEN_FAILED.
  static absl::StatusOr<std::unique_ptr<RpcServer>> Start(const std::string& address, const TlsIdentity& tls,
                                                          const std::vector<grpc::Service*>& services);
  ~RpcServer();

  int port() const { return port_; }

  // Takes no new calls, gives those that run `grace` to end, then cuts them. Idempotent.
  void Shutdown(absl::Duration grace);

 private:
  RpcServer() = default;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace postern::server
