// Outgoing connections and listeners.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "sidecar/reactor/event_loop.h"
#include "sidecar/reactor/stream.h"
#include "sidecar/reactor/task.h"

namespace postern::reactor {

// Connects to host:port, or to the unix socket of a Postgres server when `host` begins with '/'. Names are resolved on
// a thread of their own. Each address is tried in turn within `timeout`.
//   UNAVAILABLE/CONNECT_FAILED.
Task<absl::StatusOr<std::unique_ptr<Stream>>> Connect(EventLoop& loop, std::string host, int port,
                                                      absl::Duration timeout);

// A listening TCP socket on "host:port" ("[::1]:6432" for IPv6; port 0 for any). Sets `*bound_port`.
//   INVALID_ARGUMENT/LISTEN_ADDRESS, UNAVAILABLE/LISTEN_FAILED.
absl::StatusOr<UniqueFd> ListenTcp(const std::string& address, int* bound_port);
// A listening unix socket at `path`, mode 0660. A socket file that nobody listens on is replaced.
absl::StatusOr<UniqueFd> ListenUnix(const std::string& path);

}  // namespace postern::reactor
