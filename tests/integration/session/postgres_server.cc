#include "tests/integration/session/postgres_server.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fmt/format.h"

namespace postern::session_test {
namespace {

constexpr const char* kSchema = R"(
create role app_agent nologin;
create role postern_login login password 'upstream secret';
grant app_agent to postern_login;
create schema app;
create table app.customers (id int primary key, name text not null, email text, phone text);
insert into app.customers select i, 'name ' || i, 'user' || i || '@example.com', '+49 30 1234' || i from generate_series(1, 20) i;
create table app.orders (id int primary key, customer_id int, status text, total numeric);
insert into app.orders select i, i % 20 + 1, 'open', i * 1.5 from generate_series(1, 50) i;
grant usage on schema app to app_agent;
grant select, insert, update, delete on all tables in schema app to app_agent;
alter database shop set search_path = app, public;
)";

int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  bind(fd, reinterpret_cast<sockaddr*>(&address), size);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  close(fd);
  return ntohs(address.sin_port);
}

void Run(const std::string& command) {
  if (std::system(command.c_str()) == 0) return;
  fmt::print(stderr, "failed: {}\n", command);
  std::abort();
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void MakeCertificate(const std::string& stem) {
  Run(
      fmt::format("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost "
                  "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout {0}.key -out {0}.crt 2>/dev/null",
                  stem));
}

// initdb and the server refuse to run as root.
std::string AsPostgres() { return geteuid() == 0 ? "runuser -u postgres -- " : ""; }

constexpr const char* kBin = "/usr/lib/postgresql/15/bin";

}  // namespace

PostgresServer::PostgresServer() : port_(FreePort()) {
  char name[] = "/tmp/postern-pg-XXXXXX";
  if (mkdtemp(name) == nullptr) std::abort();
  directory_ = name;
  MakeCertificate(directory_ + "/server");
  MakeCertificate(directory_ + "/client_facing");
  std::ofstream(directory_ + "/schema.sql") << kSchema;
  if (geteuid() == 0) Run(fmt::format("chown -R postgres {}", directory_));
  Run(fmt::format("chmod 600 {0}/server.key && chmod 755 {0}", directory_));
  const std::string as = AsPostgres();
  Run(
      fmt::format("cd {0} && {1}{2}/initdb -D {0}/data -U postgres -A trust -E UTF8 --locale=C >{0}/log 2>&1 || (cat "
                  "{0}/log; false)",
                  directory_, as, kBin));
  std::ofstream(directory_ + "/data/pg_hba.conf")
      << "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
  std::ofstream(directory_ + "/data/postgresql.auto.conf") << fmt::format(
      "listen_addresses='127.0.0.1'\nport={1}\nunix_socket_directories='{0}'\nssl=on\nssl_cert_file='{0}/server.crt'\n"
      "ssl_key_file='{0}/server.key'\nfsync=off\npassword_encryption='scram-sha-256'\nmax_connections=50\n",
      directory_, port_);
  Run(
      fmt::format("cd {0} && {1}{2}/pg_ctl -D {0}/data -l {0}/server.log -w start >{0}/log 2>&1 || (cat {0}/log "
                  "{0}/server.log; false)",
                  directory_, as, kBin));
  Run(fmt::format(
      "psql -q -h {0} -p {1} -U postgres -c 'create database shop' && psql -q -h {0} -p {1} -U postgres -d shop "
      "-v ON_ERROR_STOP=1 -f {0}/schema.sql",
      directory_, port_));
}

PostgresServer::~PostgresServer() {
  const std::string command =
      fmt::format("cd / && {0}{1}/pg_ctl -D {2}/data -m immediate -w stop >/dev/null 2>&1; rm -rf {2}", AsPostgres(),
                  kBin, directory_);
  if (std::system(command.c_str()) != 0) fmt::print(stderr, "left behind: {}\n", directory_);
}

std::string PostgresServer::ca_pem() const { return ReadFile(directory_ + "/server.crt"); }

std::string PostgresServer::admin_uri() const {
  return fmt::format("host={} port={} user=postgres dbname={}", directory_, port_, kDatabase);
}

}  // namespace postern::session_test
