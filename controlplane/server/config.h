// The control plane's configuration file: YAML, every key listed here, unknown keys refuse the start.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace postern::server {

struct Config {
  // origin: the control plane's name, e.g. postern.example.com. Issuer of tokens, audience of assertions, part of
  // every sidecar's certificate. Cannot be changed later. Required.
  std::string origin;

  // listen: address of the gRPC port, host:port. Port 0 takes a free one. Default 127.0.0.1:7443.
  std::string listen = "127.0.0.1:7443";

  // advertise: where sidecars and the CLI reach that port, host:port; goes into join lines. Default: `listen`.
  std::string advertise;

  // data_dir: folder of the store and of ca.pem. Made with mode 0700 if it is not there. Required.
  std::string data_dir;

  // store: where everything but the key-encryption key and ca.pem is kept. `sqlite`: the file postern.db in data_dir. A
  // postgresql:// URI: the schema `postern` of that database (PostgreSQL 14 or later), which its user must be able to
  // create; give the password through a PGPASSFILE or keep this file at mode 0600. Default sqlite.
  std::string store = "sqlite";

  // kek_file: file with the key-encryption key that everything secret in the store is sealed under. Keep it on another
  // disk than the backups of data_dir. `init` makes it (mode 0600) if it is not there. Required.
  std::string kek_file;

  // tls_hosts: DNS names and IP addresses in the server's certificate. Default: the hosts of `listen` and `advertise`.
  std::vector<std::string> tls_hosts;

  // metrics: address of the Prometheus endpoint, host:port; loopback unless a proxy guards it. Empty: none. Default
  // empty.
  std::string metrics;

  // log_level: debug, info, warning or error. Default info.
  std::string log_level = "info";

  struct Limits {
    // limits.calls_per_second: calls that one caller may make on average; 0: no limit. Default 200.
    double calls_per_second = 200;
    // limits.burst: calls that one caller may make at once. Default 400.
    double burst = 400;
    // limits.largest_request_bytes: of one request of the API, streams apart. 1 KiB to 16 MiB. Default 4 MiB.
    int64_t largest_request_bytes = int64_t{4} << 20;
  } limits;

  // webhooks: receivers that are told what happens to approvals; docs/webhooks.md. Default none.
  struct Webhook {
    // name: in lists and logs. Required, unique.
    std::string name;
    // url: https://…, or http:// on a loopback address with allow_loopback_http. Required.
    std::string url;
    // shape: postern, slack, teams or pagerduty. Default postern.
    std::string shape = "postern";
    // secret_file: file with the key that signs deliveries, 32 bytes or more. Required for shape postern.
    std::string secret_file;
    // routing_key_file: file with the routing key. Required for shape pagerduty.
    std::string routing_key_file;
    // events: of docs/webhooks.md. Default all.
    std::vector<std::string> events;
    // groups: only approvals that one of these groups may decide. Default all.
    std::vector<std::string> groups;
    // link: where people are sent, {id} standing for the approval's id. Default: they are told the command.
    std::string link;
    // ca_file: PEM of the CAs that the receiver's certificate must come from. Default: the system's.
    std::string ca_file;
    // allow_loopback_http: true allows http:// to 127.0.0.1, [::1] and localhost. Default false.
    bool allow_loopback_http = false;
  };
  std::vector<Webhook> webhooks;
};

// What store::Database::Open() takes for `config.store`; `file` is the SQLite file's path.
std::string StoreLocation(const Config& config, const std::string& file);

// INVALID_ARGUMENT/CONFIG_INVALID with `path`:line and what is wrong. Defaults are filled in.
absl::StatusOr<Config> ParseConfig(std::string_view yaml, std::string_view path);

// The same for a file. NOT_FOUND/CONFIG_MISSING if it cannot be read.
absl::StatusOr<Config> LoadConfig(const std::string& path);

// Splits host:port; a host in brackets is IPv6. INVALID_ARGUMENT/CONFIG_INVALID.
struct HostPort {
  std::string host;
  int port = 0;
};
absl::StatusOr<HostPort> ParseHostPort(std::string_view text);

}  // namespace postern::server
