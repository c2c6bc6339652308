// A PostgreSQL of a test's own: a fresh cluster on a free loopback port, with TLS and SCRAM on TCP, and trust on its
// unix socket. Gone, with its files, when the object goes.
#pragma once

#include <string>

namespace postern::test {

class PostgresServer {
 public:
  // Creates database kDatabase, the login role kLogin with kPassword, and kRole, which it is a member of. Ends the
  // process with the server's own words if any of it fails.
  PostgresServer();
  ~PostgresServer();
  PostgresServer(const PostgresServer&) = delete;
  PostgresServer& operator=(const PostgresServer&) = delete;

  int port() const { return port_; }
  // Folder of the unix socket.
  const std::string& directory() const { return directory_; }
  // PEM of the server's certificate for localhost and 127.0.0.1, which is its own CA.
  std::string ca_pem() const;
  // libpq parameters of a superuser, over the socket.
  std::string admin_uri() const;

  // A new, empty database: its postgresql:// URI for a superuser, over the socket.
  std::string CreateDatabase();

  static constexpr const char* kLogin = "postern_login";
  static constexpr const char* kPassword = "upstream secret";
  static constexpr const char* kRole = "app_agent";
  static constexpr const char* kDatabase = "shop";

 private:
  // Runs a shell command in the server's folder, as the user postgres when this is root.
  void Run(const std::string& command) const;

  std::string directory_;
  int port_ = 0;
  int databases_ = 0;
};

}  // namespace postern::test
