#include "controlplane/store/database.h"

#include <utility>

#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace postern::store {
namespace {

// Idle readers kept open; more than that are closed when given back.
constexpr size_t kIdleReaders = 8;
// Changes that share one commit. Bounds how long the first of them waits for the others to run.
constexpr size_t kBatchLimit = 256;
// Cached statements per connection. Rooms prepare a few dozen fixed texts; list queries vary a little.
constexpr size_t kIdleStatements = 128;

}  // namespace

// --- Statement ---------------------------------------------------------------------------------------------------

Statement::Statement(Connection* connection, std::string sql, absl::StatusOr<std::unique_ptr<EngineStatement>> prepared)
    : connection_(connection), sql_(std::move(sql)), status_(prepared.status()) {
  if (prepared.ok()) engine_ = *std::move(prepared);
}

Statement::Statement(Statement&& other) noexcept = default;

Statement::~Statement() {
  if (engine_ == nullptr) return;
  engine_->Reset();
  if (connection_->idle_.size() < kIdleStatements) connection_->idle_.emplace(std::move(sql_), std::move(engine_));
}

Statement& Statement::Bind(int index, std::string_view text) {
  if (status_.ok()) status_ = engine_->BindText(index, text);
  return *this;
}

Statement& Statement::Bind(int index, store::Blob blob) {
  if (status_.ok()) status_ = engine_->BindBlob(index, blob.bytes);
  return *this;
}

Statement& Statement::Bind(int index, absl::Time time) {
  if (time == kNoTime) return Bind(index, nullptr);
  return BindInt(index, absl::ToUnixMicros(time));
}

Statement& Statement::Bind(int index, std::nullptr_t) {
  if (status_.ok()) status_ = engine_->BindNull(index);
  return *this;
}

Statement& Statement::BindInt(int index, int64_t value) {
  if (status_.ok()) status_ = engine_->BindInt(index, value);
  return *this;
}

bool Statement::Step() {
  if (!status_.ok()) return false;
  absl::StatusOr<bool> row = engine_->Step();
  if (!row.ok()) status_ = row.status();
  return row.ok() && *row;
}

absl::Status Statement::Run() {
  while (Step()) {
  }
  return status_;
}

void Statement::Reset() {
  if (engine_ != nullptr) engine_->Reset();
}

bool Statement::IsNull(int column) const { return engine_->IsNull(column); }

int64_t Statement::Int(int column) const { return engine_->Int(column); }

std::string Statement::Text(int column) const { return engine_->Text(column); }

std::string Statement::Bytes(int column) const { return engine_->Bytes(column); }

absl::Time Statement::Time(int column) const { return IsNull(column) ? kNoTime : absl::FromUnixMicros(Int(column)); }

// --- Connection --------------------------------------------------------------------------------------------------

Statement Connection::Prepare(std::string_view sql) {
  std::string text(sql);
  if (auto it = idle_.find(text); it != idle_.end()) {
    std::unique_ptr<EngineStatement> idle = std::move(it->second);
    idle_.erase(it);
    return {this, std::move(text), std::move(idle)};
  }
  absl::StatusOr<std::unique_ptr<EngineStatement>> prepared = engine_->Prepare(text);
  return {this, std::move(text), std::move(prepared)};
}

// --- Transaction -------------------------------------------------------------------------------------------------

Transaction::Transaction(Transaction&& other) noexcept
    : database_(std::exchange(other.database_, nullptr)), connection_(other.connection_) {}

// The writer lock travels with the object from Begin() to here or to Commit(), which thread analysis cannot follow.
Transaction::~Transaction() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (database_ == nullptr) return;
  // A ROLLBACK that fails means that the engine has rolled back already, or that the server is gone.
  connection_->Script("ROLLBACK").IgnoreError();
  database_->writer_mu_.Unlock();
}

absl::Status Transaction::Commit() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  const absl::Status status = connection_->Script("COMMIT");
  if (!status.ok() && connection_->engine_->InTransaction()) connection_->Script("ROLLBACK").IgnoreError();
  std::exchange(database_, nullptr)->writer_mu_.Unlock();
  return status;
}

// --- Database ----------------------------------------------------------------------------------------------------

struct Database::Waiting {
  const std::function<absl::Status(Connection&)>* change;
  absl::Status status;
  bool done = false;  // guarded by writer_mu_
};

absl::StatusOr<std::unique_ptr<Database>> Database::Open(const std::string& location, DatabaseOptions options) {
  POSTERN_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, IsPostgresUri(location)
                                                               ? NewPostgresEngine(location, options.busy_timeout)
                                                               : NewSqliteEngine(location, options.busy_timeout));
  std::unique_ptr<Database> database(new Database(std::move(engine), std::move(options)));
  {
    absl::MutexLock lock(&database->writer_mu_);
    POSTERN_RETURN_IF_ERROR(database->OpenWriter());
  }
  POSTERN_RETURN_IF_ERROR(database->Migrate());
  return database;
}

Database::~Database() = default;

absl::Status Database::OpenWriter() {
  // The old one goes first: it may still hold the lock that keeps other control planes away.
  writer_.reset();
  POSTERN_ASSIGN_OR_RETURN(std::unique_ptr<EngineConnection> engine, engine_->OpenWriter());
  writer_ = std::make_unique<Connection>(std::move(engine));
  return absl::OkStatus();
}

absl::StatusOr<Database::Reader> Database::Read() {
  {
    absl::MutexLock lock(&readers_mu_);
    while (!readers_.empty()) {
      std::unique_ptr<Connection> connection = std::move(readers_.back());
      readers_.pop_back();
      if (connection->engine_->alive()) return Reader(this, std::move(connection));
    }
  }
  POSTERN_ASSIGN_OR_RETURN(std::unique_ptr<EngineConnection> engine, engine_->OpenReader());
  return Reader(this, std::make_unique<Connection>(std::move(engine)));
}

Database::Reader::~Reader() {
  if (connection_ == nullptr) return;
  if (snapshot_) connection_->Script("ROLLBACK").IgnoreError();
  database_->GiveBack(std::move(connection_));
}

absl::Status Database::Reader::Snapshot() {
  POSTERN_RETURN_IF_ERROR(connection_->engine_->BeginSnapshot());
  snapshot_ = true;
  // BEGIN alone is lazy: the snapshot is that of the first read.
  return connection_->Prepare("SELECT 1 FROM schema_migrations LIMIT 1").Run();
}

void Database::GiveBack(std::unique_ptr<Connection> connection) {
  if (!connection->engine_->alive()) return;
  absl::MutexLock lock(&readers_mu_);
  if (readers_.size() < kIdleReaders) readers_.push_back(std::move(connection));
}

absl::Status Database::BeginLocked() {
  if (options_.before_write) POSTERN_RETURN_IF_ERROR(options_.before_write());
  if (writer_ == nullptr || !writer_->engine_->alive()) POSTERN_RETURN_IF_ERROR(OpenWriter());
  return writer_->engine_->BeginWrite();
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
    if (!writer_->engine_->InTransaction()) {
      // A full disk or an I/O error makes SQLite roll back the whole transaction by itself; a server may be gone.
      shared = waiting->status.ok() ? Error(absl::StatusCode::kUnavailable, "STORE_UNAVAILABLE",
                                            "the store failed: the transaction was rolled back")
                                    : waiting->status;
    } else {
      shared = writer_->Script(waiting->status.ok() ? "RELEASE change" : "ROLLBACK TO change; RELEASE change");
    }
  }
  if (shared.ok()) shared = writer_->Script("COMMIT");
  if (!shared.ok() && writer_ != nullptr && writer_->engine_->InTransaction()) {
    writer_->Script("ROLLBACK").IgnoreError();
  }
  for (Waiting* waiting : batch) {
    if (!shared.ok() && waiting->status.ok()) waiting->status = shared;
    waiting->done = true;
  }
}

}  // namespace postern::store
