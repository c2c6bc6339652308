// The store's database: connections, statements, transactions, migrations. The stores of each room sit on it and speak
// the SQL that both engines read alike (SQLite and PostgreSQL; engine.h says what they do differently).
//
// What Commit() or Write() answered OK to is on the disk. One writer at a time; readers run beside it, each on a
// snapshot of its own.
//
//   database->Write([&](Connection& db) {                       // one atomic, durable change
//     return db.Run("INSERT INTO t(id, body) VALUES (?, ?)", id, Blob{bytes});
//   });
//
//   POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database->Read());
//   Statement rows = reader->Prepare("SELECT body FROM t WHERE id = ?");
//   rows.Bind(1, id);
//   while (rows.Step()) bodies.push_back(rows.Bytes(0));
//   POSTERN_RETURN_IF_ERROR(rows.status());
//
// Errors, in every function here:
//   ALREADY_EXISTS/ALREADY_EXISTS           a unique or primary key is taken
//   FAILED_PRECONDITION/STORE_CONSTRAINT    a foreign key or check does not hold
//   DATA_LOSS/STORE_CORRUPT                 it is not a sound database
//   UNAVAILABLE/STORE_UNAVAILABLE           anything else: disk full, I/O error, server gone, locked for longer than
//                                           the busy timeout
// Messages name the failure, never bound values.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "controlplane/store/engine.h"

namespace postern::store {

// Marks bytes that are bound as a BLOB; a plain string_view is bound as TEXT.
struct Blob {
  std::string_view bytes;
};

// Times are INTEGER columns of microseconds since 1970; a time that is not set (absl::InfinitePast()) is NULL.
inline constexpr absl::Time kNoTime = absl::InfinitePast();

class Connection;

// A prepared statement, leased from its connection's cache and given back by the destructor. Not thread-safe. Errors
// are sticky: after the first one every Bind is ignored and Step returns false; ask status() at the end.
class Statement {
 public:
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&&) = delete;
  ~Statement();

  // Parameters count from 1. Text and blobs are copied.
  Statement& Bind(int index, std::string_view text);
  Statement& Bind(int index, const char* text) { return Bind(index, std::string_view(text)); }
  Statement& Bind(int index, Blob blob);
  Statement& Bind(int index, absl::Time time);
  Statement& Bind(int index, std::nullptr_t);
  template <typename Int>
  requires(std::is_integral_v<Int> || std::is_enum_v<Int>) Statement& Bind(int index, Int value) {
    return BindInt(index, static_cast<int64_t>(value));
  }
  template <typename T>
  Statement& Bind(int index, const std::optional<T>& value) {
    return value.has_value() ? Bind(index, *value) : Bind(index, nullptr);
  }
  // Binds from parameter 1 on.
  template <typename... Values>
  Statement& BindAll(const Values&... values) {
    int index = 0;
    (Bind(++index, values), ...);
    return *this;
  }

  // Moves to the next row. False at the end and on an error; inside a PostgreSQL transaction an error also fails every
  // later statement up to the end of the change, so a change that meets one gives it back.
  bool Step();
  // Steps to the end, ignoring rows.
  absl::Status Run();
  // Makes it ready to be bound and stepped again; clears bindings, keeps an error.
  void Reset();
  const absl::Status& status() const { return status_; }

  // The current row; columns count from 0. Valid after Step() was true. NULL reads as 0, "" or kNoTime.
  bool IsNull(int column) const;
  int64_t Int(int column) const;
  bool Bool(int column) const { return Int(column) != 0; }
  std::string Text(int column) const;
  // A BLOB column.
  std::string Bytes(int column) const;
  absl::Time Time(int column) const;

 private:
  friend class Connection;
  Statement(Connection* connection, std::string sql, absl::StatusOr<std::unique_ptr<EngineStatement>> prepared);
  Statement& BindInt(int index, int64_t value);

  Connection* connection_;
  std::string sql_;
  std::unique_ptr<EngineStatement> engine_;
  absl::Status status_;
};

// One connection. Not thread-safe: whoever holds the Reader or Transaction that it belongs to uses it alone.
class Connection {
 public:
  explicit Connection(std::unique_ptr<EngineConnection> engine) : engine_(std::move(engine)) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Compiles `sql` (one statement) or takes it from the cache. A failure shows in the statement's status().
  Statement Prepare(std::string_view sql);

  // Prepare, bind, run.
  template <typename... Values>
  absl::Status Run(std::string_view sql, const Values&... values) {
    return Prepare(sql).BindAll(values...).Run();
  }

  // Runs a script of several statements without parameters.
  absl::Status Script(const std::string& sql) { return engine_->Script(sql); }

  // Rows changed by the statement that ran last.
  int64_t changes() const { return engine_->changes(); }

  EngineKind kind() const { return engine_->kind(); }

 private:
  friend class Database;
  friend class Statement;
  friend class Transaction;

  std::unique_ptr<EngineConnection> engine_;
  // Idle statements by text. A statement in use is not in here, so the same text may be in use twice. Freed before the
  // connection that they belong to.
  std::unordered_multimap<std::string, std::unique_ptr<EngineStatement>> idle_;
};

class Database;

// The right to write, from Begin() until Commit() or the destructor, which rolls back. Holds the database's writer
// lock: keep it short, and never call Begin() or Write() while holding one.
class Transaction {
 public:
  Transaction(Transaction&& other) noexcept;
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();

  Connection& operator*() const { return *connection_; }
  Connection* operator->() const { return connection_; }

  // Durable once OK. On an error nothing was changed; UNAVAILABLE from the disk itself leaves it unknown: read again.
  absl::Status Commit();

 private:
  friend class Database;
  Transaction(Database* database, Connection* connection) : database_(database), connection_(connection) {}
  Database* database_;
  Connection* connection_;
};

struct DatabaseOptions {
  // How long a statement waits for a lock that somebody else holds.
  absl::Duration busy_timeout = absl::Seconds(5);
  // Asked before each transaction begins; an error fails it. Tests make the real store fail by it.
  std::function<absl::Status()> before_write;
};

// Thread-safe. Outlives its readers and transactions.
class Database {
 public:
  // `location` is the path of an SQLite file, opened or created with mode 0600, or a postgresql:// URI of a database in
  // which the tables are kept in the schema `postern`. Applies the migrations that it lacks.
  //   FAILED_PRECONDITION/STORE_SCHEMA_NEWER: it was written by a newer version; nothing was changed.
  //   FAILED_PRECONDITION/STORE_SCHEMA_MISMATCH: a migration that was applied differs from the one in this binary.
  //   FAILED_PRECONDITION/STORE_IN_USE: another control plane writes to that PostgreSQL database.
  static absl::StatusOr<std::unique_ptr<Database>> Open(const std::string& location, DatabaseOptions options = {});
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // A read-only connection on loan. Reads that must agree with each other go inside one Snapshot().
  class Reader {
   public:
    Reader(Reader&& other) noexcept = default;
    Reader& operator=(Reader&&) = delete;
    ~Reader();
    Connection& operator*() const { return *connection_; }
    Connection* operator->() const { return connection_.get(); }

    // From here until the reader is given back, every statement sees the same state.
    absl::Status Snapshot();

   private:
    friend class Database;
    Reader(Database* database, std::unique_ptr<Connection> connection)
        : database_(database), connection_(std::move(connection)) {}
    Database* database_;
    std::unique_ptr<Connection> connection_;
    bool snapshot_ = false;
  };
  // Never waits: opens another connection when all are on loan.
  absl::StatusOr<Reader> Read();

  // Begins to write, after waiting for the writer lock.
  absl::StatusOr<Transaction> Begin();

  // Runs `change` atomically and durably. Changes that wait at the same time share one commit, so that many small ones
  // cost few flushes: `change` may run on another caller's thread, holds the writer lock, and must not call Begin() or
  // Write(). If it returns an error, what it did is undone and Write returns that error. If the shared commit fails
  // every change in it fails.
  absl::Status Write(const std::function<absl::Status(Connection&)>& change);

  EngineKind kind() const { return engine_->kind(); }
  // Of the engine in use.
  const std::vector<Migration>& migrations() const { return engine_->migrations(); }

 private:
  friend class Transaction;
  struct Waiting;

  Database(std::unique_ptr<Engine> engine, DatabaseOptions options)
      : engine_(std::move(engine)), options_(std::move(options)) {}
  absl::Status Migrate();
  // Opens the writer, also in place of one whose server went away.
  absl::Status OpenWriter() ABSL_EXCLUSIVE_LOCKS_REQUIRED(writer_mu_);
  absl::Status BeginLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(writer_mu_);
  void GiveBack(std::unique_ptr<Connection> connection);
  // Runs everything that waits in one transaction.
  void RunBatch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(writer_mu_);

  const std::unique_ptr<Engine> engine_;
  const DatabaseOptions options_;

  absl::Mutex writer_mu_;
  std::unique_ptr<Connection> writer_;  // used under writer_mu_

  absl::Mutex queue_mu_;
  std::deque<Waiting*> queue_ ABSL_GUARDED_BY(queue_mu_);

  absl::Mutex readers_mu_;
  std::vector<std::unique_ptr<Connection>> readers_ ABSL_GUARDED_BY(readers_mu_);
};

}  // namespace postern::store
