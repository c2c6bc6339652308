#include "tests/support/postgres_server.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>

#include <libpq-fe.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fmt/format.h"

namespace postern::test {
namespace {

[[noreturn]] void Fail(const std::string& why) {
  fmt::print(stderr, "no PostgreSQL for this test: {}\n", why);
  std::abort();
}

// Free now; nobody but this test is likely to take it in the moment before the server does.
int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    Fail("no free port");
  }
  close(fd);
  return ntohs(address.sin_port);
}

std::string BinFolder() {
  const char* folder = std::getenv("POSTERN_TEST_POSTGRES_BIN");
  return folder == nullptr ? "/usr/lib/postgresql/15/bin" : folder;
}

void Execute(const std::string& uri, const std::string& sql) {
  const std::unique_ptr<PGconn, decltype(&PQfinish)> conn(PQconnectdb(uri.c_str()), &PQfinish);
  const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(conn.get(), sql.c_str()), &PQclear);
  if (PQresultStatus(result.get()) != PGRES_COMMAND_OK) Fail(PQerrorMessage(conn.get()));
}

}  // namespace

void PostgresServer::Run(const std::string& command) const {
  // initdb and the server refuse to be root.
  const std::string shell = geteuid() == 0 ? "runuser -u postgres -- sh" : "sh";
  const std::string line = fmt::format("cd {0} && {1} -ec '{2}' >{0}/output 2>&1 || {{ cat {0}/output >&2; false; }}",
                                       directory_, shell, command);
  if (std::system(line.c_str()) != 0) Fail(command);
}

PostgresServer::PostgresServer() : port_(FreePort()) {
  char name[] = "/tmp/postern-test-postgres-XXXXXX";
  if (mkdtemp(name) == nullptr) Fail("no temporary folder");
  directory_ = name;
  if (std::system(fmt::format("chmod 755 {0} && touch {0}/output{1}", directory_,
                              geteuid() == 0 ? fmt::format(" && chown -R postgres {}", directory_) : "")
                      .c_str()) != 0) {
    Fail("cannot hand the folder over to postgres");
  }
  Run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost "
      "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout server.key -out server.crt");
  Run(BinFolder() + "/initdb -D data -U postgres -A trust -E UTF8 --locale=C");
  // Both exist already, so that they stay the server's own.
  std::ofstream(directory_ + "/data/pg_hba.conf")
      << "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
  std::ofstream(directory_ + "/data/postgresql.auto.conf") << fmt::format(
      "listen_addresses = '127.0.0.1'\nport = {1}\nunix_socket_directories = '{0}'\nssl = on\n"
      "ssl_cert_file = '{0}/server.crt'\nssl_key_file = '{0}/server.key'\nfsync = off\n",
      directory_, port_);
  // The server keeps the log open, so it must not inherit `output`.
  Run(BinFolder() + "/pg_ctl -D data -l server.log -w start");
  const std::string super = fmt::format("host={} port={} user=postgres dbname=postgres", directory_, port_);
  Execute(super, fmt::format("CREATE DATABASE {}", kDatabase));
  Execute(super, fmt::format("CREATE ROLE {0} NOLOGIN; CREATE ROLE {1} LOGIN PASSWORD '{2}'; GRANT {0} TO {1}", kRole,
                             kLogin, kPassword));
}

PostgresServer::~PostgresServer() {
  Run(BinFolder() + "/pg_ctl -D data -m immediate -w stop");
  if (std::system(fmt::format("rm -rf {}", directory_).c_str()) != 0) {
    fmt::print(stderr, "left behind: {}\n", directory_);
  }
}

std::string PostgresServer::ca_pem() const {
  std::ifstream file(directory_ + "/server.crt", std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string PostgresServer::admin_uri() const {
  return fmt::format("host={} port={} user=postgres dbname={}", directory_, port_, kDatabase);
}

std::string PostgresServer::CreateDatabase() {
  const std::string name = fmt::format("fresh_{}", ++databases_);
  Execute(admin_uri(), fmt::format("CREATE DATABASE {}", name));
  return fmt::format("postgresql://postgres@/{}?host={}&port={}", name, directory_, port_);
}

}  // namespace postern::test
