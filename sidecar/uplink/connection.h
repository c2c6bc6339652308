// The connection in use: an identity and a channel made of it. Replaced as a whole when the certificate is renewed.
#pragma once

#include <memory>
#include <utility>

#include <grpcpp/channel.h>

#include "absl/synchronization/mutex.h"
#include "postern/v1/sidecar.grpc.pb.h"
#include "sidecar/uplink/channel.h"
#include "sidecar/uplink/identity_file.h"

namespace postern::sidecar {

// Immutable; gRPC stubs are thread-safe.
struct Connection {
  explicit Connection(SidecarIdentity who)
      : identity(std::move(who)), channel(OpenChannel(identity)), stub(v1::SidecarService::NewStub(channel)) {}

  const SidecarIdentity identity;
  const std::shared_ptr<grpc::Channel> channel;
  const std::unique_ptr<v1::SidecarService::Stub> stub;
};

// Thread-safe. Calls that run keep the connection that they began with.
class ConnectionHolder {
 public:
  explicit ConnectionHolder(std::shared_ptr<const Connection> connection) : connection_(std::move(connection)) {}

  std::shared_ptr<const Connection> Get() const {
    absl::MutexLock lock(&mu_);
    return connection_;
  }
  void Set(std::shared_ptr<const Connection> connection) {
    absl::MutexLock lock(&mu_);
    connection_ = std::move(connection);
  }

 private:
  mutable absl::Mutex mu_;
  std::shared_ptr<const Connection> connection_ ABSL_GUARDED_BY(mu_);
};

}  // namespace postern::sidecar
