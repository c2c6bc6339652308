// How the catalog of a target database is read.
//
// CatalogQueries() and CatalogBuilder know what to ask and how to understand the answer, whatever carries them.
// CatalogConnection is the carrier that CatalogService uses: libpq on a thread that may wait. It is not the wire path.
//
// What is read is readable by every role: pg_catalog only, in one REPEATABLE READ READ ONLY transaction with a pinned
// search_path, so that view definitions come out fully qualified.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/sql/catalog.h"
#include "postern/v1/sidecar.pb.h"

struct pg_conn;
struct pg_result;

namespace postern::sidecar {

// One row in text format; nullopt is NULL. Views live for the call only.
using CatalogRow = std::span<const std::optional<std::string_view>>;

// Builds CatalogContents out of rows. Not thread-safe.
class CatalogBuilder {
 public:
  // INTERNAL/CATALOG_ROW_UNEXPECTED: the row is not what its query promises. The builder is then useless.
  absl::Status AddServer(CatalogRow row);
  absl::Status AddSchema(CatalogRow row);
  absl::Status AddRelation(CatalogRow row);
  absl::Status AddColumn(CatalogRow row);
  absl::Status AddType(CatalogRow row);
  absl::Status AddParent(CatalogRow row);
  absl::Status AddFunction(CatalogRow row);
  absl::Status AddOperatorSchema(CatalogRow row);

  v1::CatalogContents Take() { return std::move(contents_); }

 private:
  v1::CatalogContents contents_;
  std::unordered_map<uint32_t, v1::CatalogContents::Relation*> relations_;
};

struct CatalogQuery {
  std::string_view name;
  std::string_view sql;
  int columns = 0;
  absl::Status (CatalogBuilder::*consume)(CatalogRow row) = nullptr;
};

// To be run in this order between kCatalogBegin and kCatalogEnd, each row going to its query's `consume`.
std::span<const CatalogQuery> CatalogQueries();
extern const std::string_view kCatalogBegin;
extern const std::string_view kCatalogEnd;
// One row, one text: different whenever something that CatalogQueries() reads may have changed. A fraction of a load.
extern const std::string_view kCatalogProbe;

// Where and as whom to connect. Wipes its password when destroyed.
struct ConnectionParameters {
  std::string host;  // name, address, or folder of a unix socket
  int port = 5432;
  std::string tls_mode = "verify-full";
  std::string tls_ca_pem;  // empty: the system's
  std::string user;
  std::string password;  // secret; memory only
  std::string database;
  std::string role;                            // SET ROLE after connecting; empty: none
  absl::Duration timeout = absl::Seconds(15);  // of connecting, and of each query

  ConnectionParameters() = default;
  ConnectionParameters(const ConnectionParameters&) = default;
  ConnectionParameters(ConnectionParameters&&) = default;
  ConnectionParameters& operator=(const ConnectionParameters&) = default;
  ConnectionParameters& operator=(ConnectionParameters&&) = default;
  ~ConnectionParameters();
};

// One libpq connection. Not thread-safe; calls wait, but return CANCELLED soon after `stop_fd` becomes readable.
class CatalogConnection {
 public:
  // `stop_fd` is not owned; -1: never stops.
  //   UNAVAILABLE/CATALOG_UNREACHABLE: no connection; the server's message without the password.
  static absl::StatusOr<std::unique_ptr<CatalogConnection>> Open(const ConnectionParameters& parameters, int stop_fd);
  ~CatalogConnection();
  CatalogConnection(const CatalogConnection&) = delete;
  CatalogConnection& operator=(const CatalogConnection&) = delete;

  // An answer in text format. The last of several, for a text of several statements.
  struct Rows {
    std::vector<std::string> names;
    // Table and column behind each, as the server says; zeros for expressions.
    std::vector<sql::ColumnId> origins;
    std::vector<std::vector<std::optional<std::string>>> cells;
  };
  // Parameters as a client sent them.
  struct Values {
    std::vector<std::optional<std::string>> values;
    std::vector<int> formats;  // one for each value
    std::vector<uint32_t> types;
  };
  //   UNAVAILABLE/CATALOG_UNREACHABLE: no answer, or the server refuses, in which case the connection is still good.
  absl::StatusOr<Rows> Query(std::string_view sql);
  absl::StatusOr<Rows> Query(std::string_view sql, const Values& values);

  //   UNAVAILABLE/CATALOG_UNREACHABLE: the connection is of no further use.
  absl::StatusOr<v1::CatalogContents> Load();
  absl::StatusOr<std::string> Probe();

 private:
  struct ResultDeleter {
    void operator()(pg_result* result) const;
  };
  using Result = std::unique_ptr<pg_result, ResultDeleter>;
  struct ConnDeleter {
    void operator()(pg_conn* conn) const;
  };

  CatalogConnection(pg_conn* conn, int ca_fd, int stop_fd, absl::Duration timeout);
  absl::Status Connect();
  absl::StatusOr<Result> Run(std::string_view sql);
  // Waits for what was sent.
  absl::StatusOr<Result> Receive();
  static Rows ReadRows(const pg_result* result);
  // `deadline` by the monotonic clock.
  absl::Status WaitFor(int16_t events, absl::Duration deadline);
  absl::Status Broken(std::string_view doing) const;

  std::unique_ptr<pg_conn, ConnDeleter> conn_;
  int ca_fd_;  // memfd with the CA, which libpq wants as a file
  int stop_fd_;
  absl::Duration timeout_;
};

}  // namespace postern::sidecar
