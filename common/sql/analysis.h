// Statement analysis: given a statement, the session's state and the catalog, say exactly what it would read, write,
// change and reveal; say "unanalysable" about everything else.
//
// The analyser knows nothing of policy or of the wire. What is sensitive comes from policy; here every flow is reported
// and common/policy and sidecar/enforce judge it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/sql/catalog.h"

namespace postern::sql {

// What is done. The verbs of policy (`do:`) are these names in lower case with underscores: OperationName().
// Those from kSetRole on are "named permissions": no group (read, write, ddl, all) contains them.
enum class Operation : uint8_t {
  // Reads and writes of rows.
  kSelect,
  kInsert,
  kUpdate,
  kDelete,
  kTruncate,
  kLock,      // LOCK TABLE, SELECT … FOR UPDATE/SHARE
  kCopyOut,   // COPY … TO STDOUT, beside the select effect
  kCopyIn,    // COPY … FROM STDIN, beside the insert effect
  kMaintain,  // VACUUM, ANALYZE, CLUSTER, REINDEX, REFRESH MATERIALIZED VIEW, CHECKPOINT
  kCall,      // a function or procedure that is not known to be harmless
  kExplain,   // EXPLAIN itself; its statement's effects come beside it
  // Schema.
  kCreate,
  kAlter,
  kDrop,
  kComment,
  kGrant,  // GRANT, REVOKE, ALTER DEFAULT PRIVILEGES
  // The session.
  kSet,  // a setting that is harmless to change; object is its name
  kShow,
  kTransaction,  // BEGIN, COMMIT, ROLLBACK, SAVEPOINT…
  kPrepare,      // PREPARE, DEALLOCATE
  kCursor,       // DECLARE, FETCH, MOVE, CLOSE
  kListen,       // LISTEN, UNLISTEN
  kNotify,
  kDiscard,
  // Named permissions.
  kSetRole,       // SET ROLE, SET SESSION AUTHORIZATION and their RESET
  kSetProtected,  // a setting that changes how SQL is read or checked
  kCopyFile,
  kCopyProgram,
  kLoad,
  kAlterSystem,
  kCreateFunction,  // CREATE/ALTER FUNCTION, PROCEDURE, AGGREGATE, OPERATOR, CAST, TRIGGER, RULE, LANGUAGE, event
                    // triggers
  kDoBlock,
  kExtension,
  kReplication,     // publications, subscriptions, slots
  kFunctionCall,    // FunctionCall messages
  kUnsafeFunction,  // SQL from text, files, other servers, other backends, large objects: object is its name
  kTwoPhase,        // PREPARE TRANSACTION, COMMIT/ROLLBACK PREPARED
  kRoleAdmin,       // CREATE/ALTER/DROP ROLE, REASSIGN/DROP OWNED, SECURITY LABEL
  kForeign,         // foreign data wrappers, servers, user mappings, IMPORT FOREIGN SCHEMA
  kDatabaseAdmin,   // CREATE/ALTER/DROP DATABASE, TABLESPACE
  kStatistics,      // reads of pg_stats, pg_statistic, pg_stat_activity: views that show other people's values
  kCount,
};
std::string_view OperationName(Operation operation);
std::optional<Operation> OperationFromName(std::string_view name);
inline bool IsNamedPermission(Operation operation) { return operation >= Operation::kSetRole; }

enum class ObjectKind : uint8_t { kNone, kRelation, kFunction, kSchema, kSetting, kOther };

// One thing that the statement does. A statement is a set of these, and policy must cover every one.
struct Effect {
  Operation operation = Operation::kSelect;
  ObjectKind object_kind = ObjectKind::kNone;
  // Resolved names: schema and name of a relation or function; `name` alone for settings and the rest.
  std::string schema;
  std::string name;
  // 0 when the catalog does not know it (new objects, temp objects, open catalog).
  Oid oid = 0;
  // Relations: the columns read or written, by name; sorted, unique. For views also the base columns have effects.
  std::vector<std::string> columns;
  // Every column, also future ones: whole-row reference, DELETE, COPY without a list, unresolved `*`.
  bool all_columns = false;
  // It comes with another effect and needs no rule of its own; masks of its columns still hold. Two cases: it comes
  // from expanding a view or a SQL function (policy on the view or function decides), or it is the reading of an
  // UPDATE's, DELETE's or MERGE's own target in its WHERE and SET (policy on the write decides; RETURNING is not such a
  // case).
  bool derived = false;
  // Byte offset in the message text; -1 unknown.
  int location = -1;

  // "select app.orders (id, total)": for audit, approvals and explain.
  std::string ToString() const;
};

// Where the values of one output column come from.
struct OutputColumn {
  std::string name;
  // Set if the value is exactly this column of a table, unchanged, also through views and subqueries.
  std::optional<ColumnId> bare;
  // What RowDescription will say: as `bare`, but for columns of views the view's own column.
  std::optional<ColumnId> origin;
  // Every column that the value depends on, data flow and implicit flow alike, of tables and of the views that it came
  // through; sorted, unique. Includes `bare` and `origin`. A generated column depends on its whole row.
  std::vector<ColumnId> sources;
  // The value may also depend on data that analysis cannot see: the result of a function that is not looked into, a
  // statistics view, a row that triggers may have rewritten. Nothing sensitive can be ruled out.
  bool opaque = false;
  // Part of the above: the result of a function, operator or aggregate of users that is not looked into is in it.
  bool from_call = false;
};

enum class StatementKind : uint8_t {
  kQuery,  // SELECT, VALUES, TABLE
  kDml,    // INSERT, UPDATE, DELETE, MERGE
  kCopy,
  kUtility,
  kTransaction,
  kSet,
  kPrepare,  // SQL PREPARE
  kExecute,  // SQL EXECUTE: effects are those of the prepared text
  kDeclareCursor,
  kFetch,  // FETCH, MOVE
  kDeallocate,
  kCloseCursor,
  kExplain,
  kEmpty,
};

enum class TransactionAction : uint8_t {
  kNone,
  kBegin,
  kCommit,
  kRollback,
  kSavepoint,
  kRelease,
  kRollbackTo,
  kPrepare,
  kCommitPrepared,
  kRollbackPrepared,
};

// A setting that the statement changes: SET, SET LOCAL, RESET, set_config with constant arguments, DISCARD ALL ("ALL").
struct SettingChange {
  std::string name;                  // lower case
  std::optional<std::string> value;  // absent: reset to default
  bool local = false;
};

// A row-count limit or restriction that policies may require.
struct Shape {
  // There is a WHERE that names at least one column (`WHERE true` is none), and so has every UPDATE and DELETE inside.
  bool has_where = false;
  // Columns of the statement's single target (or FROM) relation that WHERE restricts by equality or IN with constants
  // or parameters, joined by AND at the top level. Empty when the statement reads any other relation as well, or the
  // same one twice: then it is not what one WHERE says.
  std::vector<std::string> where_equality;
  // Constant LIMIT/FETCH FIRST; absent when there is none, it is not a constant (a parameter counts as none), or it
  // does not bound what is shown: WITH TIES, and rows that array_agg() and its kin gather into one.
  std::optional<int64_t> limit;
  // Every row of the result stands for at least this many rows of one table: the statement is a single SELECT over it,
  // without subqueries, and its HAVING asks for count(*) >= N.
  std::optional<int64_t> group_min;
};

// One comparison of a column by equality with given values, in a condition.
struct ValueTest {
  ColumnId column;
  // How many values it is compared with: constants, elements of constant arrays, and parameters that hold one value.
  int64_t values = 0;
  // Parameters (from 1) that hold an array of such values.
  std::vector<int> array_parameters;
};

// Details of a COPY, for masking the stream. Not nested in Statement: clang cannot put a nested class with default
// member initialisers into an optional of the class that is still being defined.
struct CopyDetails {
  bool to = false;  // out
  bool csv = false;
  bool binary = false;
  std::string delimiter;  // one byte
  std::string null_string;
  std::string quote, escape;
  bool header = false;
  std::string encoding;
};

struct Statement {
  StatementKind kind = StatementKind::kEmpty;
  // "SELECT", "CREATE TABLE": as Postgres's command tag without counts.
  std::string tag;
  // The statement's bytes within the message.
  int begin = 0;
  int length = 0;

  // Set: why it cannot be judged. Everything else is then meaningless and the statement must be refused.
  std::optional<std::string> unanalysable;

  std::vector<Effect> effects;
  std::vector<OutputColumn> outputs;
  // False when output columns could not be counted (EXECUTE and FETCH carry those of their definition when known).
  bool outputs_known = false;

  // Base columns on which something else than an output value depends: WHERE, ON, GROUP BY, ORDER BY, HAVING, DISTINCT,
  // LIMIT, window clauses, ON CONFLICT targets; and of those, the ones only compared by equality with constants/params.
  std::vector<ColumnId> predicates;
  std::vector<ColumnId> equality_only_predicates;
  // The comparisons behind `equality_only_predicates`, and those of other columns as well; a test for NULL is none.
  std::vector<ValueTest> value_tests;
  // Base columns whose values are written somewhere: INSERT … SELECT, SET x = y, CTAS, set_config, NOTIFY…
  std::vector<ColumnId> stored;
  // Base columns that enter a function or expression that may put them in an error, e.g. casts: any use but a bare
  // output, a bare sort or group key, and a bare operand of a comparison in a predicate.
  std::vector<ColumnId> computed;
  // Every base relation touched, also through views, partitions and SQL functions.
  std::vector<Oid> relations;

  Shape shape;
  // Constants of the text that are written to columns (INSERT VALUES, SET x = 'const'), for refusing mask sentinels.
  std::vector<std::string> written_constants;
  // Where in the message the constants stand whose content the above depends on (but for `written_constants`): names
  // of sequences, ordinals, LIMIT. Sorted. Complete for SELECT, INSERT, UPDATE, DELETE and MERGE only. Of any other
  // constant no more than its kind was looked at, so a text that differs in those is judged alike.
  std::vector<int> read_constants;

  TransactionAction transaction = TransactionAction::kNone;
  std::string savepoint;
  bool transaction_chain = false;
  std::vector<SettingChange> settings;

  // PREPARE/EXECUTE/DEALLOCATE name, DECLARE/FETCH/CLOSE cursor name; "" with `name_all` for ALL.
  std::string name;
  bool name_all = false;
  // DECLARE … BINARY: rows come in binary format.
  bool cursor_binary = false;
  bool cursor_hold = false;

  // COPY details, for masking the stream.
  using Copy = CopyDetails;
  std::optional<Copy> copy;

  // Number of $n parameters that the text names; the highest n.
  int parameter_count = 0;
  // It may change what names mean: the catalog must be read again after it.
  bool changes_catalog = false;
  // Writes rows or schema, or calls something that might: audit `strict` applies.
  bool writes = false;
};

// What analysis needs to know of the session. All as the server last confirmed.
struct SessionView {
  std::vector<std::string> search_path{"public"};
  std::string role;
  // Statements prepared by PREPARE or by Parse, and cursors: text and analysis. Returns nullptr when unknown.
  virtual const Statement* FindPrepared(std::string_view name) const {
    (void)name;
    return nullptr;
  }
  virtual const Statement* FindCursor(std::string_view name) const {
    (void)name;
    return nullptr;
  }
  virtual ~SessionView() = default;
};

struct Limits {
  size_t max_text_bytes = 1 << 20;  // longer text is refused, not forwarded
  int max_depth = 400;              // nesting of the parse tree
  int max_statements = 1000;        // statements in one message
  int64_t max_steps = 3'000'000;    // work on one statement; about a tenth of a microsecond each
};

struct AnalysisOptions {
  Limits limits;
  // Only for explain and policy tests without a catalog: unknown relations are taken to exist, with unknown columns.
  // Never set on the wire path.
  bool open_catalog = false;
};

// The result for one message: simple Query (any number of statements) or Parse (at most one).
struct Analysis {
  std::vector<Statement> statements;
  // 64-bit hash of the statement's shape: equal when only literals differ.
  uint64_t fingerprint = 0;
};

// Parses and analyses `text`. Thread-safe; holds no state between calls.
//   INVALID_ARGUMENT/SYNTAX_ERROR: Postgres's own parser refuses it; metadata "position" is the 1-based character.
//   INVALID_ARGUMENT/STATEMENT_TOO_COMPLEX: longer or deeper than the limits.
// A statement that parses but cannot be judged is not an error here: see Statement::unanalysable.
absl::StatusOr<Analysis> Analyze(std::string_view text, const Catalog& catalog, const SessionView& session,
                                 const AnalysisOptions& options = {});

// The schemas of a search_path setting's value, folded and unquoted as Postgres does: `"$user", public` → $user,
// public. Empty on a syntax error, as no schema is searched then.
std::vector<std::string> SplitSearchPath(std::string_view value);

// The operations that write rows or schema, or may (Statement::writes), and those that change what names mean.
bool OperationWrites(Operation operation);
bool OperationChangesCatalog(Operation operation);

}  // namespace postern::sql
