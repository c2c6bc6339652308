// What analysis passes around: flows of values, ranges (entries of FROM), and scopes in which names are looked up.
//
// Internal to common/sql. All of it lives for one Analyze() call; names are views into the parse tree or the catalog.
#pragma once

#include <algorithm>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "common/sql/analysis.h"
#include "common/sql/catalog.h"

struct RangeVar;

namespace postern::sql::internal {

struct Range;

// Columns in no order, possibly with repeats: adding is cheap. Repeats are thrown out now and then, so that a statement
// which doubles a value a hundred times over (x || x of x || x of …) takes no memory for it.
class ColumnSet {
 public:
  void Add(ColumnId column) {
    columns_.push_back(column);
    if (columns_.size() > kRoom + 2 * distinct_) Compact();
  }
  template <typename Columns>
  void AddAll(const Columns& columns) {
    columns_.insert(columns_.end(), columns.begin(), columns.end());
    if (columns_.size() > kRoom + 2 * distinct_) Compact();
  }
  // Sorts, and leaves each column once.
  void Compact() {
    std::sort(columns_.begin(), columns_.end());
    columns_.erase(std::unique(columns_.begin(), columns_.end()), columns_.end());
    distinct_ = columns_.size();
  }
  size_t size() const { return columns_.size(); }
  auto begin() const { return columns_.begin(); }
  auto end() const { return columns_.end(); }

 private:
  static constexpr size_t kRoom = 64;
  absl::InlinedVector<ColumnId, 4> columns_;
  size_t distinct_ = 0;
};

// Columns that conditions test, and whether each is compared by equality only. Repeats are thrown out now and then.
class PredicateSet {
 public:
  struct Use {
    ColumnId column;
    bool equality = false;
  };
  void Add(ColumnId column, bool equality) {
    uses_.push_back({column, equality});
    if (uses_.size() > kRoom + 2 * distinct_) Compact();
  }
  void AddAll(const PredicateSet& other) {
    for (const Use& use : other.uses_) Add(use.column, use.equality);
  }
  // Sorts, and leaves each column once.
  void Compact() {
    std::sort(uses_.begin(), uses_.end(), [](const Use& a, const Use& b) { return a.column < b.column; });
    size_t kept = 0;
    for (const Use& use : uses_) {
      if (kept > 0 && uses_[kept - 1].column == use.column) {
        uses_[kept - 1].equality = uses_[kept - 1].equality && use.equality;
      } else {
        uses_[kept++] = use;
      }
    }
    uses_.resize(kept);
    distinct_ = kept;
  }
  auto begin() const { return uses_.begin(); }
  auto end() const { return uses_.end(); }

 private:
  static constexpr size_t kRoom = 64;
  std::vector<Use> uses_;
  size_t distinct_ = 0;
};

// Where a value comes from.
struct Flow {
  ColumnSet sources;
  // The value is exactly this base column, and what RowDescription will say of it (they differ for columns of views).
  std::optional<ColumnId> bare;
  std::optional<ColumnId> origin;
  // It may depend on data that analysis cannot see, and on that which a user's function may have seen.
  bool opaque = false;
  bool from_call = false;
  // Set if the value is the whole row of this range.
  Range* row = nullptr;
  // That row has come through a subquery: its fields are named by its type, and no longer by the alias of the range.
  bool row_by_type = false;

  // Makes this value depend on `other`, too.
  void Add(const Flow& other) {
    sources.AddAll(other.sources);
    opaque = opaque || other.opaque;
    from_call = from_call || other.from_call;
  }
  // Makes this value depend on what a function of users did.
  void AddUnseen() { opaque = from_call = true; }
  // What the value is after it went through an expression.
  void Compute() {
    bare.reset();
    origin.reset();
    row = nullptr;
  }
};

struct RangeColumn {
  std::string name;
  Flow flow;
};

// The rows of a query: its columns in order. `open` when there are more columns than are known; their flow is `rest`.
struct Rows {
  std::vector<RangeColumn> columns;
  bool open = false;
  Flow rest;
};

// What reading through a view or a SQL function amounts to. Made once per catalog and shared.
struct Lineage {
  // Why it could not be analysed; the rest is then empty.
  std::string failure;
  std::vector<Flow> columns;
  // As Effect, with `derived` set.
  std::vector<Effect> effects;
  std::vector<Oid> relations;
  // What its WHERE, ON, GROUP BY… test. In a function the caller's arguments may be compared with them.
  std::vector<ColumnId> predicates;
  // It uses operators or casts by unqualified name.
  bool uses_operators = false;
};

// One entry of FROM: a relation of the catalog, or rows made by a query, function, VALUES or join.
struct Range {
  // Relations. nullptr otherwise, and for relations that the catalog does not know (open catalog, system catalogs).
  const Relation* relation = nullptr;
  const Lineage* view = nullptr;
  // Names of the relation as effects carry them; empty for rows.
  std::string schema;
  std::string name;
  // Index of the effect that reading a column belongs to; -1 until the first read.
  int read_effect = -1;
  // Columns that this effect has already.
  std::vector<bool> noted;
  bool read_derived = false;  // target of a DML statement: reading its columns comes with the write
  bool opaque = false;        // its values are not what a table's rows would be: statistics, rows after triggers
  int location = -1;
  // Where FROM names a relation: the name in the parse tree, and whether it is sampled.
  const ::RangeVar* named = nullptr;
  bool sampled = false;

  // FROM t AS x(a, b): names of the first columns.
  std::vector<std::string_view> renames;

  // Rows.
  std::vector<RangeColumn> columns;
  // (a JOIN b) AS j: whose columns these are, in the order of `columns`. They are read when they are named.
  struct Forward {
    Range* range = nullptr;
    int index = 0;
  };
  std::vector<Forward> forwards;
  // There may be more columns than listed, of this flow.
  bool open = false;
  Flow rest;

  bool is_relation() const { return !name.empty(); }
  int size() const {
    return relation != nullptr ? static_cast<int>(relation->columns.size()) : static_cast<int>(columns.size());
  }
  std::string_view ColumnName(int i) const {
    if (i < static_cast<int>(renames.size())) return renames[i];
    return relation != nullptr ? std::string_view(relation->columns[i].name) : std::string_view(columns[i].name);
  }
};

// A range's columns as seen without qualification. JOIN … USING hides the merged ones of both sides.
struct Segment {
  Range* range = nullptr;
  std::vector<std::string_view> hidden;
  bool IsHidden(std::string_view column) const {
    for (std::string_view name : hidden) {
      if (name == column) return true;
    }
    return false;
  }
};

// A name by which a range can be qualified.
struct RangeName {
  std::string_view name;
  Range* range = nullptr;
};

// What one item of FROM brings into scope.
struct FromItem {
  std::vector<RangeName> names;
  std::vector<Segment> segments;
};

struct Cte {
  enum class State : uint8_t { kPending, kRunning, kReady };
  std::string_view name;
  State state = State::kPending;
  bool recursive = false;
  Rows rows;
};

// Where names are looked up, innermost first.
struct Scope {
  explicit Scope(const Scope* outer) : parent(outer) {}
  const Scope* parent;
  std::vector<RangeName> names;
  std::vector<Segment> segments;
  std::deque<Cte> ctes;
  // Flow of the named windows (WINDOW w AS …): what functions OVER them depend on.
  Flow windows;

  void Add(const FromItem& item) {
    names.insert(names.end(), item.names.begin(), item.names.end());
    segments.insert(segments.end(), item.segments.begin(), item.segments.end());
  }
};

}  // namespace postern::sql::internal
