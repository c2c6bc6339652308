// What the store's database asks of an engine, and the two that there are. Rooms never see this: they use database.h.
//
// SQL that both read alike, which is all that the rooms write: `?` for parameters (numbered by place, or `?1`), texts,
// integers of 64 bits and bytes; ON CONFLICT with its columns named; columns of the old row qualified by their table in
// a DO UPDATE; no LIMIT below zero. What they read differently stands behind EngineConnection::kind().
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace postern::store {

enum class EngineKind { kSqlite, kPostgres };

// A numbered schema change, embedded at build time from <engine>/migrations/NNNN_name.sql.
struct Migration {
  int version;
  std::string_view name;
  std::string_view sql;
};

// A prepared statement. Parameters count from 1, columns from 0. Values are copied. Outlived by its connection; used by
// one thread at a time. Errors are those that database.h lists.
class EngineStatement {
 public:
  virtual ~EngineStatement() = default;
  virtual absl::Status BindText(int index, std::string_view text) = 0;
  virtual absl::Status BindBlob(int index, std::string_view bytes) = 0;
  virtual absl::Status BindInt(int index, int64_t value) = 0;
  virtual absl::Status BindNull(int index) = 0;
  // Whether there is a row. After the last one the statement holds no snapshot.
  virtual absl::StatusOr<bool> Step() = 0;
  // Ready to be bound anew; bindings are cleared.
  virtual void Reset() = 0;
  // The current row. NULL reads as 0 and as the empty string.
  virtual bool IsNull(int column) const = 0;
  virtual int64_t Int(int column) const = 0;
  virtual std::string Text(int column) const = 0;
  virtual std::string Bytes(int column) const = 0;
};

// One connection, used by one thread at a time.
class EngineConnection {
 public:
  virtual ~EngineConnection() = default;
  virtual EngineKind kind() const = 0;
  virtual absl::StatusOr<std::unique_ptr<EngineStatement>> Prepare(const std::string& sql) = 0;
  virtual absl::Status Script(const std::string& sql) = 0;
  virtual int64_t changes() const = 0;
  // A transaction that reads and writes; its COMMIT is durable.
  virtual absl::Status BeginWrite() = 0;
  // A transaction whose statements all see the same state.
  virtual absl::Status BeginSnapshot() = 0;
  // Whether a transaction is open, failed or not.
  virtual bool InTransaction() const = 0;
  // False once the server is gone: the connection is of no more use.
  virtual bool alive() const = 0;
};

// Thread-safe.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual EngineKind kind() const = 0;
  virtual absl::StatusOr<std::unique_ptr<EngineConnection>> OpenWriter() = 0;
  virtual absl::StatusOr<std::unique_ptr<EngineConnection>> OpenReader() = 0;
  // In ascending order of version.
  virtual const std::vector<Migration>& migrations() const = 0;
  // CREATE TABLE IF NOT EXISTS of schema_migrations (version, name, sha256, applied_time).
  virtual std::string_view schema_table() const = 0;
};

// One file in WAL mode with synchronous=FULL, made with mode 0600.
absl::StatusOr<std::unique_ptr<Engine>> NewSqliteEngine(const std::string& path, absl::Duration busy_timeout);

// The schema `postern` of a PostgreSQL database (14 or later), by libpq. `uri` as libpq reads it, password included or
// left to PGPASSFILE; no error quotes it. A writer holds an advisory lock for as long as it lives, so that two control
// planes never share a store.
absl::StatusOr<std::unique_ptr<Engine>> NewPostgresEngine(const std::string& uri, absl::Duration busy_timeout);

// Whether a configured location names a PostgreSQL database.
bool IsPostgresUri(std::string_view location);

}  // namespace postern::store
