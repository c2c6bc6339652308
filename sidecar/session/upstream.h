// Opening the connection to the server, and cancelling what runs on it.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/random.h"
#include "common/crypto/secret.h"
#include "postern/v1/target.pb.h"
#include "sidecar/reactor/stream.h"
#include "sidecar/reactor/task.h"
#include "sidecar/session/tls.h"

namespace postern::session {

// Run-time parameters by name, in the order sent.
using Parameters = std::vector<std::pair<std::string, std::string>>;
// What a server reports of them at log-in. All sessions of a server hear much the same, so they share it.
using SharedParameters = std::shared_ptr<const Parameters>;

struct UpstreamRequest {
  v1::Target target;
  std::string database;
  std::string user;
  crypto::Secret password;
  // All but user and database.
  Parameters parameters;
  absl::Duration timeout = absl::Seconds(10);
};

// An authenticated session, up to its first ReadyForQuery.
struct UpstreamConnection {
  std::unique_ptr<reactor::Stream> stream;
  // Of the server; empty when it sent none. Never shown to the client.
  uint32_t process_id = 0;
  std::string secret_key;
  SharedParameters parameters;
  // NoticeResponse messages, whole, to be scrubbed.
  std::vector<std::string> notices;
  // Bytes that followed ReadyForQuery.
  std::string rest;

  // Who it is logged in as, and the role that it runs as.
  std::string user;
  std::string role;
  // When it was opened, of Clock::Monotonic().
  absl::Duration opened;
  // Of WarmPool::KeyOf(); empty: it is closed with its session.
  std::string warm_key;
};

// Connects, negotiates TLS as the target says, and logs in. SCRAM-SHA-256 with channel binding where the server offers
// it; a cleartext password only under verified TLS; MD5 never.
//   UNAVAILABLE/CONNECT_FAILED, TLS_HANDSHAKE, UPSTREAM_PROTOCOL, UPSTREAM_TIMEOUT.
//   UNAUTHENTICATED/UPSTREAM_SCRAM, UPSTREAM_AUTH.
//   FAILED_PRECONDITION/UPSTREAM_REFUSED: the server's own ErrorResponse; metadata has "sqlstate" and "message".
reactor::Task<absl::StatusOr<UpstreamConnection>> OpenUpstream(reactor::EventLoop& loop, UpstreamTls& tls,
                                                               UpstreamRequest request, Random& random);

// Sends a CancelRequest on a connection of its own, under the same TLS rules, and waits until the server has closed it:
// then the signal is on its way. Failures are dropped: there is nobody to tell.
reactor::Task<void> CancelUpstream(reactor::EventLoop& loop, UpstreamTls& tls, v1::Target target, uint32_t process_id,
                                   std::string secret_key);

}  // namespace postern::session
