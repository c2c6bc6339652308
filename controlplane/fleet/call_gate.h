// The server's own steps around every RPC, as services that answer by callback use them.
#pragma once

#include <string_view>

#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controlplane/identity/caller.h"

namespace grpc {
class ServerContextBase;
}  // namespace grpc

namespace postern::fleet {

// Thread-safe.
class CallGate {
 public:
  virtual ~CallGate() = default;

  // Authenticates the caller and decides by the who-may-call table and the limits whether it may make this call.
  // `method` is "SidecarService/InviteSidecar". A caller by client certificate is a SIDECAR principal whose id is the
  // one in its certificate. JoinSidecar admits callers without any identity.
  virtual absl::StatusOr<identity::Caller> Admit(const grpc::ServerContextBase& context, std::string_view method) = 0;

  // How a failure goes over the wire, with its reason and hint.
  virtual grpc::Status ToGrpc(const absl::Status& status) = 0;
};

}  // namespace postern::fleet
