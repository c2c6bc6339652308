// PostgreSQL by libpq. Values travel in binary, statements are prepared once on each connection, results are read whole
// (the rooms page).
#include "controlplane/store/engine.h"

#include <charconv>
#include <cstring>
#include <utility>

#include <endian.h>
#include <libpq-fe.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "controlplane/store/postgres/migrations.h"
#include "fmt/format.h"

namespace postern::store {
namespace {

// "postern" in ASCII: the key of the advisory lock that a writer holds.
constexpr int64_t kWriterLock = 0x706f737465726e;

constexpr char kPostgresSchemaTable[] =
    "CREATE TABLE IF NOT EXISTS schema_migrations ("
    "  version BIGINT PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL,"
    "  applied_time BIGINT NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)";

struct FreeResult {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Result = std::unique_ptr<PGresult, FreeResult>;

absl::Status Unavailable(std::string_view what) {
  return Error(absl::StatusCode::kUnavailable, "STORE_UNAVAILABLE", fmt::format("the store failed: {}", what),
               "look at the PostgreSQL server that `store` names");
}

// The server's primary message and SQLSTATE; never its DETAIL, which quotes values.
absl::Status ErrorOf(PGconn* conn, const Result& result) {
  switch (PQresultStatus(result.get())) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_EMPTY_QUERY:
      return absl::OkStatus();
    default:
      break;
  }
  const char* field = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
  const std::string_view state = field == nullptr ? "" : field;
  if (state.empty() || PQstatus(conn) != CONNECTION_OK) return Unavailable("the connection to the server was lost");
  if (state == "23505") return Error(absl::StatusCode::kAlreadyExists, "ALREADY_EXISTS", "it exists already");
  const char* message = PQresultErrorField(result.get(), PG_DIAG_MESSAGE_PRIMARY);
  const std::string what = fmt::format("{} ({})", message == nullptr ? "error" : message, state);
  if (state.substr(0, 2) == "23") {
    return Error(absl::StatusCode::kFailedPrecondition, "STORE_CONSTRAINT", fmt::format("the store refused: {}", what));
  }
  if (state.substr(0, 2) == "XX") {
    return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT", fmt::format("the store is damaged: {}", what),
                 "restore the database from a backup");
  }
  return Unavailable(what);
}

// `?` and `?N` become `$N`. Our texts hold no question mark in a string or an operator.
std::string NumberParameters(const std::string& sql) {
  std::string out;
  int next = 0;
  for (size_t i = 0; i < sql.size(); ++i) {
    if (sql[i] != '?') {
      out += sql[i];
      continue;
    }
    int number = 0;
    const auto [end, error] = std::from_chars(sql.data() + i + 1, sql.data() + sql.size(), number);
    if (error == std::errc()) {
      i = static_cast<size_t>(end - sql.data()) - 1;
    } else {
      number = ++next;
    }
    out += fmt::format("${}", number);
  }
  return out;
}

class PostgresConnection;

class PostgresStatement : public EngineStatement {
 public:
  PostgresStatement(PostgresConnection& connection, std::string name, int parameters)
      : connection_(connection), name_(std::move(name)), values_(static_cast<size_t>(parameters)) {}

  // Integers go as text, which any integer type takes; texts and bytes are their own binary form.
  absl::Status BindText(int index, std::string_view text) override { return Set(index, std::string(text), 1); }
  absl::Status BindBlob(int index, std::string_view bytes) override { return Set(index, std::string(bytes), 1); }
  absl::Status BindInt(int index, int64_t value) override { return Set(index, std::to_string(value), 0); }
  absl::Status BindNull(int index) override {
    POSTERN_RETURN_IF_ERROR(Set(index, "", 1));
    values_[static_cast<size_t>(index) - 1].null = true;
    return absl::OkStatus();
  }
  absl::StatusOr<bool> Step() override;
  void Reset() override {
    result_.reset();
    for (Value& value : values_) value = {};
  }

  bool IsNull(int column) const override { return PQgetisnull(result_.get(), row_, column) != 0; }
  int64_t Int(int column) const override;
  std::string Text(int column) const override { return Bytes(column); }
  std::string Bytes(int column) const override {
    return {PQgetvalue(result_.get(), row_, column), static_cast<size_t>(PQgetlength(result_.get(), row_, column))};
  }

 private:
  struct Value {
    std::string bytes;
    int format = 1;
    bool null = true;
  };
  absl::Status Set(int index, std::string bytes, int format) {
    if (index < 1 || static_cast<size_t>(index) > values_.size()) return Unavailable("there is no such parameter");
    values_[static_cast<size_t>(index) - 1] = {std::move(bytes), format, false};
    return absl::OkStatus();
  }
  absl::Status Execute();

  PostgresConnection& connection_;
  const std::string name_;
  std::vector<Value> values_;
  Result result_;
  int row_ = -1;
};

class PostgresConnection : public EngineConnection {
 public:
  static absl::StatusOr<std::unique_ptr<EngineConnection>> Open(const std::string& uri, absl::Duration busy_timeout,
                                                                bool read_only);
  explicit PostgresConnection(PGconn* conn) : conn_(conn) {}
  ~PostgresConnection() override { PQfinish(conn_); }
  PostgresConnection(const PostgresConnection&) = delete;
  PostgresConnection& operator=(const PostgresConnection&) = delete;

  EngineKind kind() const override { return EngineKind::kPostgres; }
  absl::StatusOr<std::unique_ptr<EngineStatement>> Prepare(const std::string& sql) override;
  absl::Status Script(const std::string& sql) override { return ErrorOf(conn_, Result(PQexec(conn_, sql.c_str()))); }
  int64_t changes() const override { return changes_; }
  absl::Status BeginWrite() override { return Script("BEGIN"); }
  absl::Status BeginSnapshot() override { return Script("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); }
  bool InTransaction() const override {
    const PGTransactionStatusType status = PQtransactionStatus(conn_);
    return status == PQTRANS_INTRANS || status == PQTRANS_INERROR;
  }
  // Reads what came unasked, so that a server that said goodbye while nobody listened is noticed here.
  bool alive() const override { return PQconsumeInput(conn_) == 1 && PQstatus(conn_) == CONNECTION_OK; }
  // One writer at a time, of all control planes.
  absl::Status LockWriter();

 private:
  friend class PostgresStatement;
  PGconn* const conn_;
  int64_t changes_ = 0;
  int64_t prepared_ = 0;
};

absl::Status PostgresStatement::Execute() {
  std::vector<const char*> values;
  std::vector<int> lengths;
  std::vector<int> formats;
  for (const Value& value : values_) {
    values.push_back(value.null ? nullptr : value.bytes.c_str());
    lengths.push_back(static_cast<int>(value.bytes.size()));
    formats.push_back(value.format);
  }
  result_.reset(PQexecPrepared(connection_.conn_, name_.c_str(), static_cast<int>(values.size()), values.data(),
                               lengths.data(), formats.data(), /*resultFormat=*/1));
  POSTERN_RETURN_IF_ERROR(ErrorOf(connection_.conn_, result_));
  const std::string_view rows = PQcmdTuples(result_.get());
  connection_.changes_ = 0;
  std::from_chars(rows.data(), rows.data() + rows.size(), connection_.changes_);
  row_ = -1;
  return absl::OkStatus();
}

absl::StatusOr<bool> PostgresStatement::Step() {
  if (result_ == nullptr) {
    if (absl::Status status = Execute(); !status.ok()) {
      result_.reset();
      return status;
    }
  }
  if (++row_ < PQntuples(result_.get())) return true;
  result_.reset();
  return false;
}

int64_t PostgresStatement::Int(int column) const {
  const char* bytes = PQgetvalue(result_.get(), row_, column);
  switch (PQgetlength(result_.get(), row_, column)) {
    case 1:  // boolean
      return bytes[0];
    case 4: {
      uint32_t big = 0;
      std::memcpy(&big, bytes, sizeof big);
      return static_cast<int32_t>(be32toh(big));
    }
    case 8: {
      uint64_t big = 0;
      std::memcpy(&big, bytes, sizeof big);
      return static_cast<int64_t>(be64toh(big));
    }
    default:
      return 0;
  }
}

absl::StatusOr<std::unique_ptr<EngineStatement>> PostgresConnection::Prepare(const std::string& sql) {
  const std::string name = fmt::format("s{}", ++prepared_);
  POSTERN_RETURN_IF_ERROR(
      ErrorOf(conn_, Result(PQprepare(conn_, name.c_str(), NumberParameters(sql).c_str(), 0, nullptr))));
  const Result described(PQdescribePrepared(conn_, name.c_str()));
  POSTERN_RETURN_IF_ERROR(ErrorOf(conn_, described));
  return std::make_unique<PostgresStatement>(*this, name, PQnparams(described.get()));
}

absl::Status PostgresConnection::LockWriter() {
  // It waits for as long as lock_timeout says: a writer that has just gone gives its lock back when its server process
  // notices.
  const Result locked(PQexec(conn_, fmt::format("SELECT pg_advisory_lock({})", kWriterLock).c_str()));
  const char* state = PQresultErrorField(locked.get(), PG_DIAG_SQLSTATE);
  if (state == nullptr || std::string_view(state) != "55P03") return ErrorOf(conn_, locked);
  return Error(absl::StatusCode::kFailedPrecondition, "STORE_IN_USE",
               "another control plane uses this PostgreSQL database as its store",
               "stop it first, or give this one a database of its own");
}

absl::StatusOr<std::unique_ptr<EngineConnection>> PostgresConnection::Open(const std::string& uri,
                                                                           absl::Duration busy_timeout,
                                                                           bool read_only) {
  // The URI comes first, so that what is set here stands.
  const char* keywords[] = {"dbname", "application_name", "client_encoding", "connect_timeout", nullptr};
  const char* values[] = {uri.c_str(), "postern-controlplane", "UTF8", "10", nullptr};
  auto connection = std::make_unique<PostgresConnection>(PQconnectdbParams(keywords, values, /*expand_dbname=*/1));
  // libpq's message may hold the host and the user, never the password.
  if (!connection->alive()) return Unavailable(PQerrorMessage(connection->conn_));
  POSTERN_RETURN_IF_ERROR(connection->Script(
      fmt::format("SET client_min_messages = warning; SET search_path = postern; SET synchronous_commit = on;"
                  "SET lock_timeout = {}",
                  absl::ToInt64Milliseconds(busy_timeout))));
  if (read_only) {
    POSTERN_RETURN_IF_ERROR(connection->Script("SET default_transaction_read_only = on"));
  } else {
    POSTERN_RETURN_IF_ERROR(connection->LockWriter());
    POSTERN_RETURN_IF_ERROR(connection->Script("CREATE SCHEMA IF NOT EXISTS postern"));
  }
  return connection;
}

class PostgresEngine : public Engine {
 public:
  PostgresEngine(std::string uri, absl::Duration busy_timeout) : uri_(std::move(uri)), busy_timeout_(busy_timeout) {}
  EngineKind kind() const override { return EngineKind::kPostgres; }
  absl::StatusOr<std::unique_ptr<EngineConnection>> OpenWriter() override {
    return PostgresConnection::Open(uri_, busy_timeout_, /*read_only=*/false);
  }
  absl::StatusOr<std::unique_ptr<EngineConnection>> OpenReader() override {
    return PostgresConnection::Open(uri_, busy_timeout_, /*read_only=*/true);
  }
  const std::vector<Migration>& migrations() const override { return PostgresMigrations(); }
  std::string_view schema_table() const override { return kPostgresSchemaTable; }

 private:
  const std::string uri_;
  const absl::Duration busy_timeout_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> NewPostgresEngine(const std::string& uri, absl::Duration busy_timeout) {
  return std::make_unique<PostgresEngine>(uri, busy_timeout);
}

bool IsPostgresUri(std::string_view location) {
  return location.substr(0, 13) == "postgresql://" || location.substr(0, 11) == "postgres://";
}

}  // namespace postern::store
