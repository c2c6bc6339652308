// What is asked of the database for one preview, and how the answers are read.
#include <algorithm>
#include <charconv>
#include <set>

#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/base/timestamps.h"
#include "common/policy/pattern.h"
#include "common/sql/analysis.h"
#include "fmt/format.h"
#include "sidecar/preview/previewer.h"
#include "sidecar/preview/rows_query.h"

namespace postern::preview {
namespace {

using sidecar::CatalogConnection;
using sql::Operation;

// A count is cheap when the planner thinks so: a few hundred thousand rows read in order.
constexpr double kCheapCost = 20'000;
constexpr size_t kLongestValue = 200;
constexpr int kMostRelations = 8;
constexpr int kMostPlanLines = 12;

constexpr std::string_view kBegin =
    "BEGIN READ ONLY; SET LOCAL statement_timeout = '2s'; SET LOCAL lock_timeout = '200ms'; "
    "SET LOCAL idle_in_transaction_session_timeout = '10s'; SET LOCAL search_path = ";

// Size, statistics, triggers for the operation, and foreign keys of others that act on it. One row.
constexpr std::string_view kRelationQuery = R"(
SELECT c.reltuples::bigint, pg_catalog.pg_total_relation_size(c.oid),
       ARRAY(SELECT t.tgname || CASE WHEN t.tgtype & 2 <> 0 THEN ' BEFORE' WHEN t.tgtype & 64 <> 0 THEN ' INSTEAD OF'
                                     ELSE ' AFTER' END
               FROM pg_catalog.pg_trigger t
              WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & {events} <> 0
              ORDER BY 1)::text,
       ARRAY(SELECT pg_catalog.format('%s (%s) %s', k.conrelid::pg_catalog.regclass, k.conname,
                                      CASE k.{action} WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL'
                                                      WHEN 'd' THEN 'SET DEFAULT' ELSE 'refuses if rows refer to it' END)
               FROM pg_catalog.pg_constraint k WHERE k.confrelid = c.oid AND k.contype = 'f' ORDER BY 1)::text,
       (SELECT count(DISTINCT l.pid) FROM pg_catalog.pg_locks l
         WHERE l.locktype = 'relation' AND l.relation = c.oid AND l.granted AND l.pid <> pg_catalog.pg_backend_pid()
           AND l.mode = ANY ('{conflicts}'))
  FROM pg_catalog.pg_class c WHERE c.oid = {oid})";

struct LockRow {
  Operation operation;
  std::string_view lock;
  // Modes that conflict with it (PostgreSQL documentation, table 13.2).
  std::string_view conflicts;
  // Bits of pg_trigger.tgtype.
  int trigger_events;
};

constexpr std::string_view kAgainstRowExclusive = "{ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}";
constexpr std::string_view kAgainstAccessExclusive =
    "{AccessShareLock,RowShareLock,RowExclusiveLock,ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,"
    "ExclusiveLock,AccessExclusiveLock}";
constexpr LockRow kLocks[] = {
    {Operation::kInsert, "ROW EXCLUSIVE", kAgainstRowExclusive, 4},
    {Operation::kDelete, "ROW EXCLUSIVE", kAgainstRowExclusive, 8},
    {Operation::kUpdate, "ROW EXCLUSIVE", kAgainstRowExclusive, 16},
    {Operation::kTruncate, "ACCESS EXCLUSIVE", kAgainstAccessExclusive, 32},
    {Operation::kDrop, "ACCESS EXCLUSIVE", kAgainstAccessExclusive, 0},
    {Operation::kAlter, "ACCESS EXCLUSIVE or weaker", kAgainstAccessExclusive, 0},
};

const LockRow* LockOf(Operation operation) {
  const auto* row = std::find_if(std::begin(kLocks), std::end(kLocks),
                                 [&](const LockRow& candidate) { return candidate.operation == operation; });
  return row == std::end(kLocks) ? nullptr : row;
}

// {a,"b c"} as Postgres writes arrays of text. Names with quotes lose their backslashes, which people can live with.
std::vector<std::string> ArrayItems(std::string_view text) {
  std::vector<std::string> items;
  if (text.size() < 2 || text == "{}") return items;
  text = text.substr(1, text.size() - 2);
  std::string item;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && quoted && i + 1 < text.size()) {
      item += text[++i];
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (text[i] == ',' && !quoted) {
      items.push_back(std::exchange(item, {}));
    } else {
      item += text[i];
    }
  }
  items.push_back(item);
  return items;
}

template <typename Number>
Number NumberAfter(std::string_view line, std::string_view mark, Number otherwise) {
  const size_t at = line.find(mark);
  if (at == std::string_view::npos) return otherwise;
  Number number{};
  const char* begin = line.data() + at + mark.size();
  return std::from_chars(begin, line.data() + line.size(), number).ec == std::errc() ? number : otherwise;
}

// The last "..N" of "cost=0.00..35.50".
double TotalCost(std::string_view line) {
  const size_t cost = line.find("(cost=");
  return cost == std::string_view::npos ? -1 : NumberAfter(line.substr(cost), "..", -1.0);
}

class Gatherer {
 public:
  Gatherer(CatalogConnection& connection, const Question& question, const Clock& clock)
      : connection_(connection), question_(question) {
    *preview_.mutable_read_time() = ToTimestamp(clock.Now());
    preview_.set_estimated_rows(-1);
    preview_.set_exact_rows(-1);
  }

  v1::Preview Run() {
    const absl::Status gathered = InTransaction();
    if (!gathered.ok()) Note(StdView(gathered.message()));
    return std::move(preview_);
  }

 private:
  void Note(std::string_view text) { preview_.add_notes(std::string(text)); }

  // Each part stands alone: one that the server refuses ends the transaction, so each has its own.
  absl::Status InTransaction() {
    const sidecar::Plan& plan = *question_.plan;
    if (plan.analysis == nullptr || plan.analysis->statements.size() != 1) {
      return absl::InvalidArgumentError("a message of several statements is not previewed");
    }
    statement_ = &plan.analysis->statements[0];
    POSTERN_RETURN_IF_ERROR(Part([this] { return Relations(); }));
    if (statement_->kind != sql::StatementKind::kDml && statement_->kind != sql::StatementKind::kQuery) {
      return absl::OkStatus();
    }
    if (RunsUnseenCode()) {
      Note("it calls functions that nobody looked into, so neither planned nor counted before it is approved");
      return absl::OkStatus();
    }
    POSTERN_RETURN_IF_ERROR(Part([this] { return Explain(); }));
    const std::string& show = question_.settings.show();
    if (show == "plan") return absl::OkStatus();
    met_ = RowsMetBy(question_.sql);
    if (!met_.has_value()) {
      Note("rows are counted for a plain UPDATE or DELETE of one table only");
      return absl::OkStatus();
    }
    POSTERN_RETURN_IF_ERROR(Part([this] { return Count(); }));
    return show == "rows" ? Part([this] { return Rows(); }) : absl::OkStatus();
  }

  template <typename Fn>
  absl::Status Part(Fn fn) {
    POSTERN_RETURN_IF_ERROR(connection_.Query(fmt::format("{}{}", kBegin, SearchPath())).status());
    const absl::Status part = fn();
    if (!part.ok()) Note(StdView(part.message()));
    return connection_.Query("ROLLBACK").status();
  }

  std::string SearchPath() const { return question_.search_path_text.empty() ? "''" : question_.search_path_text; }

  // Planning runs immutable functions, counting runs what is in WHERE.
  bool RunsUnseenCode() const {
    const auto& opaque = question_.plan->opaque;
    const bool calls = std::any_of(statement_->effects.begin(), statement_->effects.end(), [](const sql::Effect& e) {
      return e.operation == Operation::kCall || e.operation == Operation::kUnsafeFunction;
    });
    // Triggers make a write opaque as well, but do not run here.
    return calls || (statement_->kind == sql::StatementKind::kQuery && !opaque.empty() && opaque[0]);
  }

  absl::Status Relations() {
    std::set<sql::Oid> seen;
    for (const sql::Effect& effect : statement_->effects) {
      const LockRow* lock = LockOf(effect.operation);
      if (lock == nullptr || effect.derived || effect.oid == 0 || effect.object_kind != sql::ObjectKind::kRelation) {
        continue;
      }
      if (!seen.insert(effect.oid).second || seen.size() > kMostRelations) continue;
      const std::string action = effect.operation == Operation::kUpdate ? "confupdtype" : "confdeltype";
      POSTERN_ASSIGN_OR_RETURN(
          const CatalogConnection::Rows rows,
          connection_.Query(fmt::format(fmt::runtime(std::string(kRelationQuery)),
                                        fmt::arg("events", lock->trigger_events), fmt::arg("action", action),
                                        fmt::arg("conflicts", lock->conflicts), fmt::arg("oid", effect.oid))));
      if (rows.cells.size() != 1) continue;
      const auto& row = rows.cells[0];
      v1::Preview::Relation* relation = preview_.add_relations();
      relation->set_name(fmt::format("{}.{}", effect.schema, effect.name));
      relation->set_estimated_rows(NumberAfter<int64_t>(row[0].value_or("-1"), "", -1));
      relation->set_bytes(NumberAfter<int64_t>(row[1].value_or("0"), "", 0));
      relation->set_lock(std::string(lock->lock));
      for (std::string& name : ArrayItems(row[2].value_or(""))) relation->add_triggers(std::move(name));
      if (effect.operation != Operation::kInsert) {
        for (std::string& name : ArrayItems(row[3].value_or(""))) relation->add_cascades(std::move(name));
      }
      relation->set_conflicting_sessions(NumberAfter<int32_t>(row[4].value_or("0"), "", 0));
    }
    return absl::OkStatus();
  }

  CatalogConnection::Values Values() const { return {question_.values, question_.formats, question_.types}; }

  absl::Status Explain() {
    POSTERN_ASSIGN_OR_RETURN(const CatalogConnection::Rows plan,
                             connection_.Query("EXPLAIN " + question_.sql, Values()));
    int lines = 0;
    for (const auto& row : plan.cells) {
      const std::string line = row[0].value_or("");
      // Other lines are conditions, which repeat what may be masked.
      if (line.find("(cost=") == std::string::npos) continue;
      if (lines++ < kMostPlanLines) preview_.add_plan(line);
      // Of a write, the first node under it is what finds the rows.
      const bool finds = statement_->kind == sql::StatementKind::kQuery ? lines == 1 : lines == 2;
      if (finds) preview_.set_estimated_rows(NumberAfter<int64_t>(line, "rows=", -1));
      if (lines == 1) preview_.set_estimated_cost(TotalCost(line));
    }
    return absl::OkStatus();
  }

  absl::Status Count() {
    const std::string sql = met_->Count();
    POSTERN_ASSIGN_OR_RETURN(const CatalogConnection::Rows plan, connection_.Query("EXPLAIN " + sql, Values()));
    const double cost = plan.cells.empty() ? -1 : TotalCost(plan.cells[0][0].value_or(""));
    if (cost < 0 || cost > kCheapCost) {
      Note(fmt::format("not counted: the planner thinks that counting costs {:.0f}", cost));
      return absl::OkStatus();
    }
    POSTERN_ASSIGN_OR_RETURN(const CatalogConnection::Rows counted, connection_.Query(sql, Values()));
    if (!counted.cells.empty()) {
      preview_.set_exact_rows(NumberAfter<int64_t>(counted.cells[0][0].value_or("-1"), "", -1));
    }
    return absl::OkStatus();
  }

  // The rows as they are. What is shown is judged like the agent's own reading would be, whatever the agent may read:
  // a column whose value could carry a masked one is not shown.
  absl::Status Rows() {
    const std::string sql = met_->Sample(question_.settings.rows_max());
    sql::SessionView session;
    session.search_path = question_.search_path;
    session.role = question_.role;
    POSTERN_ASSIGN_OR_RETURN(const sql::Analysis analysis, sql::Analyze(sql, *question_.catalog, session));
    if (analysis.statements.size() != 1) return absl::OkStatus();
    const sql::Statement& read = analysis.statements[0];
    if (read.unanalysable.has_value() || !read.outputs_known) {
      Note("rows are not shown: it is not known where their columns come from");
      return absl::OkStatus();
    }
    POSTERN_ASSIGN_OR_RETURN(const CatalogConnection::Rows rows, connection_.Query(sql, Values()));
    if (rows.names.size() != read.outputs.size()) {
      Note("rows are not shown: the table has changed");
      return absl::OkStatus();
    }
    std::vector<bool> hidden;
    for (size_t i = 0; i < rows.names.size(); ++i) {
      preview_.add_columns(rows.names[i]);
      hidden.push_back(Hidden(read.outputs[i], rows.origins[i]));
    }
    for (const auto& cells : rows.cells) {
      v1::Preview::Row* row = preview_.add_rows();
      for (size_t i = 0; i < cells.size(); ++i) {
        v1::Preview::Cell* cell = row->add_cells();
        if (hidden[i]) {
          cell->set_masked(true);
        } else if (!cells[i].has_value()) {
          cell->set_is_null(true);
        } else {
          cell->set_value(Shortened(*cells[i]));
        }
      }
    }
    return absl::OkStatus();
  }

  bool Hidden(const sql::OutputColumn& output, const sql::ColumnId& origin) const {
    if (output.opaque || !output.bare.has_value()) return true;
    // Two witnesses: our analysis and the server's own description.
    if (question_.masked != nullptr) {
      if (question_.masked->contains(origin)) return true;
      if (std::any_of(output.sources.begin(), output.sources.end(),
                      [&](const sql::ColumnId& source) { return question_.masked->contains(source); })) {
        return true;
      }
    }
    const sql::Relation* relation = question_.catalog->FindRelation(output.bare->relation);
    if (relation == nullptr) return true;
    const std::string full = fmt::format("{}.{}.{}", relation->schema, relation->name, output.name);
    return std::any_of(question_.settings.redact().begin(), question_.settings.redact().end(),
                       [&](const std::string& pattern) { return policy::Pattern(pattern).Matches(full); });
  }

  static std::string Shortened(const std::string& value) {
    if (value.size() <= kLongestValue) return value;
    size_t end = kLongestValue;
    while (end > 0 && (static_cast<unsigned char>(value[end]) & 0xC0) == 0x80) --end;
    return value.substr(0, end) + "…";
  }

  CatalogConnection& connection_;
  const Question& question_;
  const sql::Statement* statement_ = nullptr;
  std::optional<RowsMet> met_;
  v1::Preview preview_;
};

}  // namespace

v1::Preview Gather(CatalogConnection& connection, const Question& question, const Clock& clock) {
  return Gatherer(connection, question, clock).Run();
}

}  // namespace postern::preview
