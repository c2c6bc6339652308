// What analysis passes around: flows of values, ranges (entries of FROM), and scopes in which names are looked up.
//
// Internal to common/sql. All of it lives for one Analyze() call; names are views into the parse tree or the catalog.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "common/sql/analysis.h"
#include "common/sql/catalog.h"

namespace postern::sql::internal {

struct Range;

// Where a value comes from.
struct Flow {
  // Unsorted and possibly with repeats; Analyzer::Finish() sorts what leaves the room.
  absl::InlinedVector<ColumnId, 4> sources;
  // The value is exactly this base column, and what RowDescription will say of it (they differ for columns of views).
  std::optional<ColumnId> bare;
  std::optional<ColumnId> origin;
  // It may depend on data that analysis cannot see.
  bool opaque = false;
  // Set if the value is the whole row of this range.
  Range* row = nullptr;

  // Makes this value depend on `other`, too.
  void Add(const Flow& other) {
    sources.insert(sources.end(), other.sources.begin(), other.sources.end());
    opaque = opaque || other.opaque;
  }
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
  bool read_derived = false;  // target of a DML statement: reading its columns comes with the write
  bool opaque = false;        // its values are not what a table's rows would be: statistics, rows after triggers
  int location = -1;

  // FROM t AS x(a, b): names of the first columns.
  std::vector<std::string_view> renames;

  // Rows.
  std::vector<RangeColumn> columns;
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
