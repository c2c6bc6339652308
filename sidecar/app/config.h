// The sidecar's configuration: one YAML file. Keys that are not listed here refuse the start.
//
//   listen: [127.0.0.1:6432]            # host:port of the Postgres port; required unless unix_socket_dir is given
//   unix_socket_dir: /run/postern       # folder of the socket .s.PGSQL.<port>
//   data_dir: /var/lib/postern-sidecar  # identity and audit spool; required
//   tls:                                # towards clients; without it only loopback and the socket are served
//     certificate: /etc/postern/sidecar.crt
//     key: /etc/postern/sidecar.key
//     ca: /etc/postern/sidecar-ca.crt   # what clients should trust; shown by the control plane
//   auth:                               # how clients hand over their token; each may choose by the start-up setting
//     method: password                  # postern.auth: password, or oauthbearer (RFC 7628; libpq 18)
//     issuer: https://idp.example.com   # told to OAUTHBEARER clients without a token: where to get one
//     scope: postern
//   advertise: {host: db.example.com, port: 6432}   # where clients reach this sidecar
//   threads: 2                          # event loops; default: one for every two cores, at least one
//   limits:
//     sessions: 1000
//     sessions_per_agent: 50
//     startup: 10s                      # from connect to password
//     upstream: 10s                     # the server's log-in
//     max_message: 67108864             # bytes of one client message
//     hold_outage: 15s                  # how long the control plane may be away before held statements fail (57P03)
//   warm:                               # connections kept for the next session of the same role (session/warm_pool.h)
//     connections: 8                    # of one event loop; 0: each session opens its own
//     idle: 30s                         # how long one waits; DROP DATABASE may have to wait for it
//     age: 10m                          # none is used for longer
//   spool: {max_bytes: 1073741824}      # statements are refused when this much waits for the control plane
//   metrics: 127.0.0.1:9465             # plain HTTP; absent: none
//   log_level: info                     # debug, info, warning, error
//   drain: 10s                          # how long SIGTERM waits for transactions to end
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/obs/log.h"
#include "sidecar/session/gateway.h"

namespace postern::sidecar_app {

struct Config {
  session::GatewayOptions gateway;
  std::string data_dir;
  std::string client_ca_file;
  std::string advertise_host;
  int advertise_port = 0;  // 0: the port that was bound
  int64_t spool_max_bytes = int64_t{1} << 30;
  std::string metrics_address;
  obs::Level log_level = obs::Level::kInfo;
  absl::Duration drain = absl::Seconds(10);
};

// INVALID_ARGUMENT/CONFIG_INVALID with the line and what would be right.
absl::StatusOr<Config> ParseConfig(std::string_view yaml, std::string_view file_name);
// NOT_FOUND/CONFIG_UNREADABLE, and as above.
absl::StatusOr<Config> LoadConfig(const std::string& path);

}  // namespace postern::sidecar_app
