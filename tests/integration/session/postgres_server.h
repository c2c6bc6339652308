// A PostgreSQL of the test's own: a fresh cluster on a free loopback port, with TLS, SCRAM and a small schema. Gone,
// with its files, when the object goes.
#pragma once

#include <string>

namespace postern::session_test {

class PostgresServer {
 public:
  // Ends the process with the server's own words if it cannot be started.
  PostgresServer();
  ~PostgresServer();
  PostgresServer(const PostgresServer&) = delete;
  PostgresServer& operator=(const PostgresServer&) = delete;

  int port() const { return port_; }
  // PEM of the server's certificate, which is its own CA.
  std::string ca_pem() const;
  // libpq parameters of a superuser, straight to the server over its socket.
  std::string admin_uri() const;
  // Certificate and key that the gateway may show to its clients.
  std::string certificate_file() const { return directory_ + "/client_facing.crt"; }
  std::string key_file() const { return directory_ + "/client_facing.key"; }
  std::string directory() const { return directory_; }

  static constexpr const char* kLogin = "postern_login";
  static constexpr const char* kPassword = "upstream secret";
  static constexpr const char* kRole = "app_agent";
  static constexpr const char* kDatabase = "shop";

 private:
  std::string directory_;
  int port_ = 0;
};

}  // namespace postern::session_test
