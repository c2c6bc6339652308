// Channels to the control plane, and what its errors mean here.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "sidecar/uplink/identity_file.h"

namespace grpc {
class Channel;
class Status;
}  // namespace grpc

namespace postern::sidecar {

// A channel that trusts `ca_pem` only and shows no certificate: for joining.
std::shared_ptr<grpc::Channel> OpenAnonymousChannel(const std::string& address, const std::string& ca_pem);

// A channel that shows the sidecar's certificate. A connection of its own: two channels never share one, so a new
// certificate means a new handshake.
std::shared_ptr<grpc::Channel> OpenChannel(const SidecarIdentity& identity);

// With the reason, hint and facts that the control plane gave. What the transport itself reports (no connection, a
// deadline, a cancelled call) is UNAVAILABLE/CONTROL_PLANE_UNREACHABLE.
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace postern::sidecar
