#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include <libpq-fe.h>
#include <openssl/crypto.h>
#include <openssl/x509.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "fmt/format.h"
#include "sidecar/catalog/catalog_loader.h"

namespace postern::sidecar {
namespace {

constexpr int16_t kReadable = POLLIN;
constexpr int16_t kWritable = POLLOUT;

absl::Status Unreachable(std::string_view why) {
  return Error(absl::StatusCode::kUnavailable, "CATALOG_UNREACHABLE", why,
               "Check that the target is up and lets its login role in.");
}

// libpq ends its messages with newlines, and has several lines of them.
std::string OneLine(std::string_view message) {
  std::string line(message);
  while (line.ends_with('\n')) line.pop_back();
  for (char& c : line) {
    if (c == '\n' || c == '\t') c = ' ';
  }
  return line;
}

// The CA as a file that is in memory only; -1 without one.
absl::StatusOr<int> MakeCaFile(const std::string& pem) {
  if (pem.empty()) return -1;
  const int fd = memfd_create("target-ca", MFD_CLOEXEC);
  if (fd < 0) return Unreachable(fmt::format("no memory file for the target's CA: {}", std::strerror(errno)));
  for (size_t at = 0; at < pem.size();) {
    const ssize_t written = write(fd, pem.data() + at, pem.size() - at);
    if (written < 0) {
      close(fd);
      return Unreachable(fmt::format("cannot keep the target's CA in memory: {}", std::strerror(errno)));
    }
    at += static_cast<size_t>(written);
  }
  return fd;
}

// Every parameter that PG* variables and files in the home folder could otherwise slip in is named here.
pg_conn* Start(const ConnectionParameters& parameters, int ca_fd) {
  const std::string port = fmt::format("{}", parameters.port);
  const std::string ca = ca_fd >= 0 ? fmt::format("/proc/self/fd/{}", ca_fd) : X509_get_default_cert_file();
  const std::pair<const char*, const char*> settings[] = {
      {"host", parameters.host.c_str()},
      {"hostaddr", ""},
      {"port", port.c_str()},
      {"dbname", parameters.database.c_str()},
      {"user", parameters.user.c_str()},
      {"password", parameters.password.c_str()},
      {"passfile", "/dev/null/none"},
      {"sslmode", parameters.tls_mode.c_str()},
      {"sslrootcert", ca.c_str()},
      {"sslcert", "/dev/null/none"},
      {"sslkey", "/dev/null/none"},
      {"sslcrl", ""},
      {"ssl_min_protocol_version", "TLSv1.2"},
      {"gssencmode", "disable"},
      {"target_session_attrs", "any"},
      {"client_encoding", "UTF8"},
      {"application_name", "postern catalog"},
      {"options", "-c standard_conforming_strings=on -c default_transaction_read_only=on"},
      {"keepalives_idle", "30"},
  };
  std::vector<const char*> keys;
  std::vector<const char*> values;
  for (const auto& [key, value] : settings) {
    keys.push_back(key);
    values.push_back(value);
  }
  keys.push_back(nullptr);
  values.push_back(nullptr);
  return PQconnectStartParams(keys.data(), values.data(), 0);
}

std::string QuoteIdentifier(std::string_view name) {
  std::string quoted = "\"";
  for (const char c : name) {
    if (c == '"') quoted.push_back('"');
    quoted.push_back(c);
  }
  return quoted + "\"";
}

}  // namespace

ConnectionParameters::~ConnectionParameters() { OPENSSL_cleanse(password.data(), password.size()); }

void CatalogConnection::ResultDeleter::operator()(pg_result* result) const { PQclear(result); }
void CatalogConnection::ConnDeleter::operator()(pg_conn* conn) const { PQfinish(conn); }

CatalogConnection::CatalogConnection(pg_conn* conn, int ca_fd, int stop_fd, absl::Duration timeout)
    : conn_(conn), ca_fd_(ca_fd), stop_fd_(stop_fd), timeout_(timeout) {}

CatalogConnection::~CatalogConnection() {
  conn_.reset();
  if (ca_fd_ >= 0) close(ca_fd_);
}

absl::StatusOr<std::unique_ptr<CatalogConnection>> CatalogConnection::Open(const ConnectionParameters& parameters,
                                                                           int stop_fd) {
  POSTERN_ASSIGN_OR_RETURN(const int ca_fd, MakeCaFile(parameters.tls_ca_pem));
  std::unique_ptr<CatalogConnection> connection(
      new CatalogConnection(Start(parameters, ca_fd), ca_fd, stop_fd, parameters.timeout));
  POSTERN_RETURN_IF_ERROR(connection->Connect());
  if (!parameters.role.empty()) {
    POSTERN_RETURN_IF_ERROR(connection->Run("SET ROLE " + QuoteIdentifier(parameters.role)).status());
  }
  return connection;
}

absl::Status CatalogConnection::Broken(std::string_view doing) const {
  return Unreachable(
      fmt::format("{}: {}", doing, conn_ == nullptr ? "out of memory" : OneLine(PQerrorMessage(conn_.get()))));
}

absl::Status CatalogConnection::WaitFor(int16_t events, absl::Duration deadline) {
  pollfd fds[2] = {{PQsocket(conn_.get()), events, 0}, {stop_fd_, POLLIN, 0}};
  for (;;) {
    const int64_t left = absl::ToInt64Milliseconds(deadline - Clock::System().Monotonic());
    if (left <= 0) return Unreachable("the target does not answer in time");
    const int ready = poll(fds, stop_fd_ >= 0 ? 2 : 1, static_cast<int>(std::min<int64_t>(left, INT32_MAX)));
    if (ready < 0 && errno != EINTR) return Unreachable(std::strerror(errno));
    if (fds[1].revents != 0) return absl::CancelledError("the catalog is no longer wanted");
    if (ready > 0) return absl::OkStatus();
  }
}

absl::Status CatalogConnection::Connect() {
  if (conn_ == nullptr || PQstatus(conn_.get()) == CONNECTION_BAD) return Broken("cannot connect");
  const absl::Duration deadline = Clock::System().Monotonic() + timeout_;
  PostgresPollingStatusType state = PGRES_POLLING_WRITING;
  while (state == PGRES_POLLING_READING || state == PGRES_POLLING_WRITING) {
    POSTERN_RETURN_IF_ERROR(WaitFor(state == PGRES_POLLING_READING ? kReadable : kWritable, deadline));
    state = PQconnectPoll(conn_.get());
  }
  if (state != PGRES_POLLING_OK || PQsetnonblocking(conn_.get(), 1) != 0) return Broken("cannot connect");
  return absl::OkStatus();
}

absl::StatusOr<CatalogConnection::Result> CatalogConnection::Run(std::string_view sql) {
  if (PQsendQuery(conn_.get(), std::string(sql).c_str()) != 1) return Broken("cannot ask");
  return Receive();
}

absl::StatusOr<CatalogConnection::Rows> CatalogConnection::Query(std::string_view sql) {
  POSTERN_ASSIGN_OR_RETURN(const Result result, Run(sql));
  return ReadRows(result.get());
}

absl::StatusOr<CatalogConnection::Rows> CatalogConnection::Query(std::string_view sql, const Values& values) {
  std::vector<const char*> bytes;
  std::vector<int> lengths;
  for (const std::optional<std::string>& value : values.values) {
    bytes.push_back(value.has_value() ? value->c_str() : nullptr);
    lengths.push_back(value.has_value() ? static_cast<int>(value->size()) : 0);
  }
  std::vector<Oid> types(values.types.begin(), values.types.end());
  types.resize(bytes.size(), 0);
  const int sent = PQsendQueryParams(conn_.get(), std::string(sql).c_str(), static_cast<int>(bytes.size()),
                                     types.data(), bytes.data(), lengths.data(), values.formats.data(), 0);
  if (sent != 1) return Broken("cannot ask");
  POSTERN_ASSIGN_OR_RETURN(const Result result, Receive());
  return ReadRows(result.get());
}

CatalogConnection::Rows CatalogConnection::ReadRows(const pg_result* result) {
  Rows rows;
  const int columns = PQnfields(result);
  for (int column = 0; column < columns; ++column) {
    rows.names.emplace_back(PQfname(result, column));
    rows.origins.push_back({PQftable(result, column), static_cast<int16_t>(PQftablecol(result, column))});
  }
  for (int i = 0; i < PQntuples(result); ++i) {
    auto& cells = rows.cells.emplace_back();
    for (int column = 0; column < columns; ++column) {
      auto& cell = cells.emplace_back();
      if (PQgetisnull(result, i, column) == 1) continue;
      cell.emplace(PQgetvalue(result, i, column), static_cast<size_t>(PQgetlength(result, i, column)));
    }
  }
  return rows;
}

absl::StatusOr<CatalogConnection::Result> CatalogConnection::Receive() {
  const absl::Duration deadline = Clock::System().Monotonic() + timeout_;
  for (int flushed = PQflush(conn_.get()); flushed != 0; flushed = PQflush(conn_.get())) {
    if (flushed < 0) return Broken("cannot ask");
    POSTERN_RETURN_IF_ERROR(WaitFor(kReadable | kWritable, deadline));
    if (PQconsumeInput(conn_.get()) != 1) return Broken("no answer");
  }
  // The last result counts; nullptr comes after it.
  Result last;
  for (;;) {
    while (PQisBusy(conn_.get()) == 1) {
      POSTERN_RETURN_IF_ERROR(WaitFor(kReadable, deadline));
      if (PQconsumeInput(conn_.get()) != 1) return Broken("no answer");
    }
    Result next(PQgetResult(conn_.get()));
    if (next == nullptr) break;
    if (last == nullptr || PQresultStatus(last.get()) != PGRES_FATAL_ERROR) last = std::move(next);
  }
  const ExecStatusType status = last == nullptr ? PGRES_FATAL_ERROR : PQresultStatus(last.get());
  if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return last;
  return Unreachable(
      fmt::format("the server refuses: {}", last == nullptr ? "" : OneLine(PQresultErrorMessage(last.get()))));
}

absl::StatusOr<v1::CatalogContents> CatalogConnection::Load() {
  CatalogBuilder builder;
  POSTERN_RETURN_IF_ERROR(Run(kCatalogBegin).status());
  std::vector<std::optional<std::string_view>> row;
  for (const CatalogQuery& query : CatalogQueries()) {
    POSTERN_ASSIGN_OR_RETURN(const Result result, Run(query.sql));
    if (PQnfields(result.get()) != query.columns) {
      return Error(absl::StatusCode::kInternal, "CATALOG_ROW_UNEXPECTED",
                   fmt::format("the catalog query for {} returns other columns than it should", query.name));
    }
    row.resize(static_cast<size_t>(query.columns));
    for (int i = 0; i < PQntuples(result.get()); ++i) {
      for (int column = 0; column < query.columns; ++column) {
        auto& field = row[static_cast<size_t>(column)];
        field.reset();
        if (PQgetisnull(result.get(), i, column) == 1) continue;
        field.emplace(PQgetvalue(result.get(), i, column), static_cast<size_t>(PQgetlength(result.get(), i, column)));
      }
      POSTERN_RETURN_IF_ERROR((builder.*query.consume)(row));
    }
  }
  POSTERN_RETURN_IF_ERROR(Run(kCatalogEnd).status());
  return builder.Take();
}

absl::StatusOr<std::string> CatalogConnection::Probe() {
  POSTERN_ASSIGN_OR_RETURN(const Result result, Run(kCatalogProbe));
  if (PQntuples(result.get()) != 1 || PQnfields(result.get()) != 1) return Unreachable("the probe has no answer");
  return std::string(PQgetvalue(result.get(), 0, 0), static_cast<size_t>(PQgetlength(result.get(), 0, 0)));
}

}  // namespace postern::sidecar
