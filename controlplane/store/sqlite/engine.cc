// SQLite: one file in WAL mode.
#include "controlplane/store/engine.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "controlplane/store/sqlite/migrations.h"
#include "fmt/format.h"

namespace postern::store {
namespace {

constexpr char kSqliteSchemaTable[] =
    "CREATE TABLE IF NOT EXISTS schema_migrations ("
    "  version INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL,"
    "  applied_time INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER))) STRICT;";

absl::Status Unavailable(std::string_view what) {
  return Error(absl::StatusCode::kUnavailable, "STORE_UNAVAILABLE", fmt::format("the store failed: {}", what),
               "look at the disk that holds the control plane's data folder");
}

absl::Status ErrorOf(sqlite3* db, int code) {
  switch (code) {
    case SQLITE_OK:
      return absl::OkStatus();
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID:
      return Error(absl::StatusCode::kAlreadyExists, "ALREADY_EXISTS", "it exists already");
    default:
      break;
  }
  // sqlite3_errmsg names tables and columns, and may quote SQL text; it never holds bound values.
  const std::string what = sqlite3_errmsg(db);
  switch (code & 0xff) {
    case SQLITE_CONSTRAINT:
      return Error(absl::StatusCode::kFailedPrecondition, "STORE_CONSTRAINT",
                   fmt::format("the store refused: {}", what));
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT", fmt::format("the store is damaged: {}", what),
                   "restore the data folder from a backup");
    default:
      return Unavailable(what);
  }
}

class SqliteStatement : public EngineStatement {
 public:
  SqliteStatement(sqlite3* db, sqlite3_stmt* stmt) : db_(db), stmt_(stmt) {}
  ~SqliteStatement() override { sqlite3_finalize(stmt_); }
  SqliteStatement(const SqliteStatement&) = delete;
  SqliteStatement& operator=(const SqliteStatement&) = delete;

  absl::Status BindText(int index, std::string_view text) override {
    return ErrorOf(db_, sqlite3_bind_text64(stmt_, index, text.data() == nullptr ? "" : text.data(), text.size(),
                                            SQLITE_TRANSIENT, SQLITE_UTF8));
  }
  absl::Status BindBlob(int index, std::string_view bytes) override {
    return ErrorOf(db_, sqlite3_bind_blob64(stmt_, index, bytes.data() == nullptr ? "" : bytes.data(), bytes.size(),
                                            SQLITE_TRANSIENT));
  }
  absl::Status BindInt(int index, int64_t value) override {
    return ErrorOf(db_, sqlite3_bind_int64(stmt_, index, value));
  }
  absl::Status BindNull(int index) override { return ErrorOf(db_, sqlite3_bind_null(stmt_, index)); }

  absl::StatusOr<bool> Step() override {
    const int code = sqlite3_step(stmt_);
    if (code == SQLITE_ROW) return true;
    absl::Status status = code == SQLITE_DONE ? absl::OkStatus() : ErrorOf(db_, code);
    // A finished statement is reset at once: a reader that goes on to something else then holds no old snapshot.
    sqlite3_reset(stmt_);
    if (!status.ok()) return status;
    return false;
  }
  void Reset() override {
    sqlite3_reset(stmt_);
    sqlite3_clear_bindings(stmt_);
  }

  bool IsNull(int column) const override { return sqlite3_column_type(stmt_, column) == SQLITE_NULL; }
  int64_t Int(int column) const override { return sqlite3_column_int64(stmt_, column); }
  std::string Text(int column) const override {
    const auto* text = sqlite3_column_text(stmt_, column);
    if (text == nullptr) return {};
    return {reinterpret_cast<const char*>(text), static_cast<size_t>(sqlite3_column_bytes(stmt_, column))};
  }
  std::string Bytes(int column) const override {
    const auto* bytes = static_cast<const char*>(sqlite3_column_blob(stmt_, column));
    if (bytes == nullptr) return {};
    return {bytes, static_cast<size_t>(sqlite3_column_bytes(stmt_, column))};
  }

 private:
  sqlite3* const db_;
  sqlite3_stmt* const stmt_;
};

class SqliteConnection : public EngineConnection {
 public:
  static absl::StatusOr<std::unique_ptr<EngineConnection>> Open(const std::string& path, bool read_only,
                                                                absl::Duration busy_timeout) {
    auto connection = std::make_unique<SqliteConnection>();
    const int flags =
        (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    const int code = sqlite3_open_v2(path.c_str(), &connection->db_, flags, nullptr);
    if (code != SQLITE_OK) return Unavailable(fmt::format("cannot open {}: {}", path, sqlite3_errstr(code)));
    sqlite3_busy_timeout(connection->db_, static_cast<int>(absl::ToInt64Milliseconds(busy_timeout)));
    sqlite3_db_config(connection->db_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    sqlite3_db_config(connection->db_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
    POSTERN_RETURN_IF_ERROR(connection->Script(read_only ? "PRAGMA foreign_keys = ON; PRAGMA query_only = ON;"
                                                         : "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                                                           "PRAGMA foreign_keys = ON;"));
    return connection;
  }
  SqliteConnection() = default;
  ~SqliteConnection() override { sqlite3_close_v2(db_); }
  SqliteConnection(const SqliteConnection&) = delete;
  SqliteConnection& operator=(const SqliteConnection&) = delete;

  EngineKind kind() const override { return EngineKind::kSqlite; }
  absl::StatusOr<std::unique_ptr<EngineStatement>> Prepare(const std::string& sql) override {
    sqlite3_stmt* stmt = nullptr;
    POSTERN_RETURN_IF_ERROR(ErrorOf(db_, sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size() + 1),
                                                            SQLITE_PREPARE_PERSISTENT, &stmt, nullptr)));
    return std::make_unique<SqliteStatement>(db_, stmt);
  }
  absl::Status Script(const std::string& sql) override {
    return ErrorOf(db_, sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr));
  }
  int64_t changes() const override { return sqlite3_changes64(db_); }
  absl::Status BeginWrite() override { return Script("BEGIN IMMEDIATE"); }
  absl::Status BeginSnapshot() override { return Script("BEGIN"); }
  bool InTransaction() const override { return sqlite3_get_autocommit(db_) == 0; }
  bool alive() const override { return true; }

 private:
  sqlite3* db_ = nullptr;
};

class SqliteEngine : public Engine {
 public:
  SqliteEngine(std::string path, absl::Duration busy_timeout) : path_(std::move(path)), busy_timeout_(busy_timeout) {}
  EngineKind kind() const override { return EngineKind::kSqlite; }
  absl::StatusOr<std::unique_ptr<EngineConnection>> OpenWriter() override {
    return SqliteConnection::Open(path_, /*read_only=*/false, busy_timeout_);
  }
  absl::StatusOr<std::unique_ptr<EngineConnection>> OpenReader() override {
    return SqliteConnection::Open(path_, /*read_only=*/true, busy_timeout_);
  }
  const std::vector<Migration>& migrations() const override { return SqliteMigrations(); }
  std::string_view schema_table() const override { return kSqliteSchemaTable; }

 private:
  const std::string path_;
  const absl::Duration busy_timeout_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> NewSqliteEngine(const std::string& path, absl::Duration busy_timeout) {
  // With mode 0600 before SQLite would make it with the umask's; WAL and SHM files inherit the mode.
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
  if (fd < 0) return Unavailable(fmt::format("cannot open {}: {}", path, std::strerror(errno)));
  close(fd);
  return std::make_unique<SqliteEngine>(path, busy_timeout);
}

}  // namespace postern::store
