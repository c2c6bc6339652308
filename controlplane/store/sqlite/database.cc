#include "controlplane/store/sqlite/database.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "fmt/format.h"

namespace postern::store {
namespace {

// Idle readers kept open; more than that are closed when given back.
constexpr size_t kIdleReaders = 8;
// Changes that share one commit. Bounds how long the first of them waits for the others to run.
constexpr size_t kBatchLimit = 256;
// Cached statements per connection. Rooms prepare a few dozen fixed texts; list queries vary a little.
constexpr size_t kIdleStatements = 128;

absl::Status Unavailable(std::string_view what) {
  return Error(absl::StatusCode::kUnavailable, "STORE_UNAVAILABLE", fmt::format("the store failed: {}", what),
               "look at the disk that holds the control plane's data folder");
}

// Creates the file with mode 0600 before SQLite would create it with the umask's; WAL and SHM files inherit the mode.
absl::Status CreatePrivate(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
  if (fd < 0) return Unavailable(fmt::format("cannot open {}: {}", path, std::strerror(errno)));
  close(fd);
  return absl::OkStatus();
}

}  // namespace

// --- Statement ---------------------------------------------------------------------------------------------------

Statement::Statement(Connection* connection, sqlite3_stmt* stmt, absl::Status status)
    : connection_(connection), stmt_(stmt), status_(std::move(status)) {}

Statement::Statement(Statement&& other) noexcept
    : connection_(other.connection_), stmt_(std::exchange(other.stmt_, nullptr)), status_(std::move(other.status_)) {}

Statement::~Statement() {
  if (stmt_ == nullptr) return;
  sqlite3_reset(stmt_);
  sqlite3_clear_bindings(stmt_);
  if (connection_->idle_.size() >= kIdleStatements) {
    sqlite3_finalize(stmt_);
  } else {
    connection_->idle_.emplace(sqlite3_sql(stmt_), stmt_);
  }
}

void Statement::Check(int code) {
  if (code != SQLITE_OK && status_.ok()) status_ = connection_->ErrorOf(code);
}

Statement& Statement::Bind(int index, std::string_view text) {
  if (status_.ok())
    Check(sqlite3_bind_text64(stmt_, index, text.data() == nullptr ? "" : text.data(), text.size(), SQLITE_TRANSIENT,
                              SQLITE_UTF8));
  return *this;
}

Statement& Statement::Bind(int index, store::Blob blob) {
  if (status_.ok())
    Check(sqlite3_bind_blob64(stmt_, index, blob.bytes.data() == nullptr ? "" : blob.bytes.data(), blob.bytes.size(),
                              SQLITE_TRANSIENT));
  return *this;
}

Statement& Statement::Bind(int index, absl::Time time) {
  if (time == kNoTime) return Bind(index, nullptr);
  return BindInt(index, absl::ToUnixMicros(time));
}

Statement& Statement::Bind(int index, std::nullptr_t) {
  if (status_.ok()) Check(sqlite3_bind_null(stmt_, index));
  return *this;
}

Statement& Statement::BindInt(int index, int64_t value) {
  if (status_.ok()) Check(sqlite3_bind_int64(stmt_, index, value));
  return *this;
}

bool Statement::Step() {
  if (!status_.ok()) return false;
  const int code = sqlite3_step(stmt_);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) status_ = connection_->ErrorOf(code);
  // A finished statement is reset at once: a reader that goes on to something else then holds no old snapshot.
  sqlite3_reset(stmt_);
  return false;
}

absl::Status Statement::Run() {
  while (Step()) {
  }
  return status_;
}

void Statement::Reset() {
  if (stmt_ == nullptr) return;
  sqlite3_reset(stmt_);
  sqlite3_clear_bindings(stmt_);
}

bool Statement::IsNull(int column) const { return sqlite3_column_type(stmt_, column) == SQLITE_NULL; }

int64_t Statement::Int(int column) const { return sqlite3_column_int64(stmt_, column); }

std::string Statement::Text(int column) const {
  const auto* text = sqlite3_column_text(stmt_, column);
  if (text == nullptr) return {};
  return {reinterpret_cast<const char*>(text), static_cast<size_t>(sqlite3_column_bytes(stmt_, column))};
}

std::string Statement::Bytes(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(stmt_, column));
  if (bytes == nullptr) return {};
  return {bytes, static_cast<size_t>(sqlite3_column_bytes(stmt_, column))};
}

absl::Time Statement::Time(int column) const { return IsNull(column) ? kNoTime : absl::FromUnixMicros(Int(column)); }

// --- Connection --------------------------------------------------------------------------------------------------

absl::StatusOr<std::unique_ptr<Connection>> Connection::Open(const std::string& path, bool read_only,
                                                             absl::Duration busy_timeout) {
  std::unique_ptr<Connection> connection(new Connection());
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

Connection::~Connection() {
  for (auto& [sql, stmt] : idle_) sqlite3_finalize(stmt);
  sqlite3_close_v2(db_);
}

absl::Status Connection::ErrorOf(int code) const {
  switch (code) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID:
      return Error(absl::StatusCode::kAlreadyExists, "ALREADY_EXISTS", "it exists already");
    default:
      break;
  }
  // sqlite3_errmsg names tables and columns, and may quote SQL text; it never holds bound values.
  const std::string what = sqlite3_errmsg(db_);
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

Statement Connection::Prepare(std::string_view sql) {
  std::string text(sql);
  if (auto it = idle_.find(text); it != idle_.end()) {
    sqlite3_stmt* stmt = it->second;
    idle_.erase(it);
    return Statement(this, stmt, absl::OkStatus());
  }
  sqlite3_stmt* stmt = nullptr;
  const int code = sqlite3_prepare_v3(db_, text.data(), static_cast<int>(text.size() + 1), SQLITE_PREPARE_PERSISTENT,
                                      &stmt, nullptr);
  return Statement(this, stmt, code == SQLITE_OK ? absl::OkStatus() : ErrorOf(code));
}

absl::Status Connection::Script(const std::string& sql) {
  const int code = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : ErrorOf(code);
}

int64_t Connection::changes() const { return sqlite3_changes64(db_); }

int64_t Connection::last_insert_rowid() const { return sqlite3_last_insert_rowid(db_); }

// --- Transaction -------------------------------------------------------------------------------------------------

Transaction::Transaction(Transaction&& other) noexcept
    : database_(std::exchange(other.database_, nullptr)), connection_(other.connection_) {}

// The writer lock travels with the object from Begin() to here or to Commit(), which thread analysis cannot follow.
Transaction::~Transaction() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (database_ == nullptr) return;
  // A failed ROLLBACK means that SQLite has rolled back already.
  sqlite3_exec(connection_->db_, "ROLLBACK", nullptr, nullptr, nullptr);
  database_->writer_mu_.Unlock();
}

absl::Status Transaction::Commit() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  const absl::Status status = connection_->Script("COMMIT");
  if (!status.ok()) sqlite3_exec(connection_->db_, "ROLLBACK", nullptr, nullptr, nullptr);
  std::exchange(database_, nullptr)->writer_mu_.Unlock();
  return status;
}

// --- Database ----------------------------------------------------------------------------------------------------

struct Database::Waiting {
  const std::function<absl::Status(Connection&)>* change;
  absl::Status status;
  bool done = false;  // guarded by writer_mu_
};

absl::StatusOr<std::unique_ptr<Database>> Database::Open(const std::string& path, DatabaseOptions options) {
  POSTERN_RETURN_IF_ERROR(CreatePrivate(path));
  std::unique_ptr<Database> database(new Database(path, std::move(options)));
  POSTERN_ASSIGN_OR_RETURN(database->writer_,
                           Connection::Open(path, /*read_only=*/false, database->options_.busy_timeout));
  POSTERN_RETURN_IF_ERROR(database->Migrate());
  return database;
}

Database::~Database() = default;

absl::StatusOr<Database::Reader> Database::Read() {
  {
    absl::MutexLock lock(&readers_mu_);
    if (!readers_.empty()) {
      std::unique_ptr<Connection> connection = std::move(readers_.back());
      readers_.pop_back();
      return Reader(this, std::move(connection));
    }
  }
  POSTERN_ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection,
                           Connection::Open(path_, /*read_only=*/true, options_.busy_timeout));
  return Reader(this, std::move(connection));
}

Database::Reader::~Reader() {
  if (connection_ == nullptr) return;
  if (snapshot_) sqlite3_exec(connection_->db_, "ROLLBACK", nullptr, nullptr, nullptr);
  database_->GiveBack(std::move(connection_));
}

absl::Status Database::Reader::Snapshot() {
  POSTERN_RETURN_IF_ERROR(connection_->Script("BEGIN"));
  snapshot_ = true;
  // BEGIN alone is lazy: the snapshot is that of the first read.
  return connection_->Prepare("SELECT 1 FROM sqlite_schema LIMIT 1").Run();
}

void Database::GiveBack(std::unique_ptr<Connection> connection) {
  absl::MutexLock lock(&readers_mu_);
  if (readers_.size() < kIdleReaders) readers_.push_back(std::move(connection));
}

absl::Status Database::BeginLocked() {
  if (options_.before_write) POSTERN_RETURN_IF_ERROR(options_.before_write());
  return writer_->Script("BEGIN IMMEDIATE");
}

absl::StatusOr<Transaction> Database::Begin() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  writer_mu_.Lock();
  if (absl::Status status = BeginLocked(); !status.ok()) {
    writer_mu_.Unlock();
    return status;
  }
  return Transaction(this, writer_.get());
}

absl::Status Database::Write(const std::function<absl::Status(Connection&)>& change) {
  Waiting mine{.change = &change, .status = absl::OkStatus()};
  {
    absl::MutexLock lock(&queue_mu_);
    queue_.push_back(&mine);
  }
  // Whoever gets the lock first does the work of all who wait; the others find theirs done. A batch takes the oldest
  // first and each holder of the lock runs one, so a change left over by the limit is run by its own caller at latest.
  absl::MutexLock lock(&writer_mu_);
  while (!mine.done) RunBatch();
  return mine.status;
}

void Database::RunBatch() {
  std::vector<Waiting*> batch;
  {
    absl::MutexLock lock(&queue_mu_);
    while (!queue_.empty() && batch.size() < kBatchLimit) {
      batch.push_back(queue_.front());
      queue_.pop_front();
    }
  }
  absl::Status shared = BeginLocked();
  for (Waiting* waiting : batch) {
    if (!shared.ok()) break;
    shared = writer_->Script("SAVEPOINT change");
    if (!shared.ok()) break;
    waiting->status = (*waiting->change)(*writer_);
    if (sqlite3_get_autocommit(writer_->db_) != 0) {
      // A full disk or an I/O error makes SQLite roll back the whole transaction by itself.
      shared = waiting->status.ok() ? Unavailable("the transaction was rolled back") : waiting->status;
    } else {
      shared = writer_->Script(waiting->status.ok() ? "RELEASE change" : "ROLLBACK TO change; RELEASE change");
    }
  }
  if (shared.ok()) shared = writer_->Script("COMMIT");
  if (!shared.ok() && sqlite3_get_autocommit(writer_->db_) == 0) {
    sqlite3_exec(writer_->db_, "ROLLBACK", nullptr, nullptr, nullptr);
  }
  for (Waiting* waiting : batch) {
    if (!shared.ok() && waiting->status.ok()) waiting->status = shared;
    waiting->done = true;
  }
}

}  // namespace postern::store
