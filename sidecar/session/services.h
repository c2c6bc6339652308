// What sessions stand on. All of it is shared, thread-safe, and outlives every session.
#pragma once

#include <cstddef>
#include <functional>

#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "sidecar/catalog/catalog_service.h"
#include "sidecar/preview/previewer.h"
#include "sidecar/session/approval_board.h"
#include "sidecar/session/enforcer_registry.h"
#include "sidecar/session/oauthbearer.h"
#include "sidecar/session/registry.h"
#include "sidecar/session/startup_parameters.h"
#include "sidecar/session/tls.h"
#include "sidecar/spool/spool.h"
#include "sidecar/uplink/uplink.h"

namespace postern::session {

struct SessionLimits {
  absl::Duration startup_deadline = absl::Seconds(10);
  absl::Duration upstream_timeout = absl::Seconds(10);
  // How long the control plane may be away before held statements fail; a restart of it is no reason to ask anew.
  absl::Duration hold_outage = absl::Seconds(15);
  // A client's message above this ends the session; SQL has its own, lower limit.
  size_t max_message_bytes = 64 << 20;
  // A pipeline is judged and forwarded as far as it goes when it has this much without Sync or Flush.
  size_t max_batch_bytes = 8 << 20;
  // Reading on one side stops while this much waits to be sent on the other.
  size_t max_pending_bytes = 256 << 10;
};

// How clients hand over their tokens, where they do not choose by postern.auth.
struct ClientAuth {
  AuthMethod method = AuthMethod::kPassword;
  OauthDiscovery discovery;
};

struct Services {
  const Clock& clock;
  Random& random;
  sidecar::Uplink& uplink;
  spool::Spool& spool;
  sidecar::CatalogService& catalogs;
  EnforcerRegistry& enforcers;
  Registry& registry;
  ApprovalBoard& approvals;
  preview::Previewer& previews;
  UpstreamTls& upstream_tls;
  // nullptr: no TLS with clients, so only loopback and unix sockets are served.
  const ClientTls* client_tls = nullptr;
  std::string sidecar_id;
  SessionLimits limits;
  ClientAuth auth;
};

}  // namespace postern::session
