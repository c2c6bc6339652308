// The sidecar's door: listens, spreads connections over event loops, and ends sessions when the control plane says so.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "sidecar/reactor/event_loop.h"
#include "sidecar/session/approval_board.h"
#include "sidecar/session/enforcer_registry.h"
#include "sidecar/session/registry.h"
#include "sidecar/session/services.h"
#include "sidecar/session/tls.h"
#include "sidecar/session/warm_pool.h"
#include "sidecar/uplink/uplink.h"

namespace postern::session {

struct GatewayOptions {
  // "host:port" each.
  std::vector<std::string> listen;
  // Folder for the socket .s.PGSQL.<port of the first TCP address, or unix_port>; empty: none.
  std::string unix_socket_dir;
  int unix_port = 6432;
  // PEM files for clients; empty: no TLS, and only loopback and unix sockets are served.
  std::string tls_certificate_file;
  std::string tls_key_file;
  int threads = 2;
  RegistryLimits sessions;
  SessionLimits limits;
  ClientAuth auth;
  WarmLimits warm;
  std::string sidecar_id;
  absl::Duration catalog_poll_interval = absl::Seconds(5);
};

class Gateway : public sidecar::UplinkListener {
 public:
  // Binds all addresses; nothing is accepted before Start(). `uplink`, `spool`, `clock` and `random` are not owned and
  // outlive the gateway. The caller makes the gateway the uplink's listener before it starts the uplink.
  //   Errors of listening, certificates and threads, as their functions say.
  static absl::StatusOr<std::unique_ptr<Gateway>> Create(GatewayOptions options, sidecar::Uplink& uplink,
                                                         spool::Spool& spool, const Clock& clock, Random& random);
  // Ends what still runs. The uplink must have been stopped before: its answers come to our loops.
  ~Gateway() override;

  void Start();
  // Stops listening and ends sessions as they become idle; the rest is cut after `deadline`. Blocks until none is left.
  void Drain(absl::Duration deadline);
  // Reads the certificate for clients again; on an error the old one stays.
  absl::Status ReloadCertificate();

  // Port of the first TCP address.
  int port() const { return port_; }
  size_t sessions() const { return registry_.size(); }

  // sidecar::UplinkListener
  void OnRevoked(const std::string& grant_id, const std::string& reason) override;
  void OnKillSession(const std::string& session_id, const std::string& reason) override;
  void OnApproval(const v1::Approval& approval) override;
  void OnStateChanged() override;

 private:
  class Listener;
  struct Thread;

  Gateway(GatewayOptions options, sidecar::Uplink& uplink, const Clock& clock, Random& random);
  absl::Status Bind();
  absl::Status MakeThreads();
  void Accept(int listener, bool unix_socket);
  // Ends sessions whose lease has run out; arms itself again.
  void WatchLeases();
  void StopThreads();

  const GatewayOptions options_;
  sidecar::Uplink& uplink_;
  const Clock& clock_;
  EnforcerRegistry enforcers_;
  Registry registry_;
  ApprovalBoard approvals_;
  preview::Previewer previews_;
  UpstreamTls upstream_tls_;
  std::unique_ptr<ClientTls> client_tls_;
  std::unique_ptr<sidecar::CatalogService> catalogs_;
  std::unique_ptr<Services> services_;
  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  size_t next_thread_ = 0;
  int port_ = 0;
  std::string unix_path_;
  absl::Mutex live_mu_;
  int live_ ABSL_GUARDED_BY(live_mu_) = 0;  // connections, from accept to their last byte
};

}  // namespace postern::session
