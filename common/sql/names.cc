// Which relation, range and column a name means.
#include <algorithm>

#include "common/sql/analyzer.h"
#include "common/sql/builtin_functions.h"
#include "fmt/format.h"

namespace postern::sql::internal {
namespace {

constexpr std::string_view kSystemColumns[] = {"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"};

bool IsSystemColumn(std::string_view name) {
  return std::find(std::begin(kSystemColumns), std::end(kSystemColumns), name) != std::end(kSystemColumns);
}

bool IsSystemSchema(std::string_view schema) { return schema == "pg_catalog" || schema == "information_schema"; }

// A field taken out of a value: the same value, but RowDescription no longer knows where it comes from.
Flow FieldOfType(Flow field) {
  field.origin.reset();
  return field;
}

int IndexOf(const Range& range, std::string_view name) {
  const int size = range.size();
  for (int i = 0; i < size; ++i) {
    if (range.ColumnName(i) == name) return i;
  }
  return -1;
}

}  // namespace

const Relation* Analyzer::ResolveName(std::string_view schema, std::string_view name, bool* is_system) {
  *is_system = false;
  if (!message_.names_uncertain.empty()) {
    Fail(message_.names_uncertain);
    return nullptr;
  }
  if (schema == "pg_temp" || schema.starts_with("pg_temp_") || schema.starts_with("pg_toast")) {
    Fail(fmt::format("relation {}.{} is temporary or internal, which no catalog snapshot holds", schema, name));
    return nullptr;
  }
  // A snapshot without the system's relations: their names are reserved to it in practice.
  const bool has_system = catalog_.knows_system_relations();
  if (!schema.empty()) {
    const Relation* relation = catalog_.FindRelation(schema, name);
    *is_system = IsSystemSchema(schema) && (relation != nullptr || !has_system);
    return relation;
  }
  const Relation* relation = catalog_.Resolve(message_.search_path, name);
  // Postgres skips schemas that the role has no right to use, which a snapshot does not know: where a later schema has
  // the name as well, it may be the one that is meant.
  if (relation != nullptr && relation->schema != "pg_catalog") {
    for (const std::string& candidate : message_.search_path) {
      if (candidate == relation->schema || catalog_.FindRelation(candidate, name) == nullptr) continue;
      Fail(fmt::format("{} may be {}.{} or {}.{}, as search_path has both; write the schema", name, relation->schema,
                       name, candidate, name));
      break;
    }
  }
  if (relation == nullptr && !has_system && name.starts_with("pg_")) *is_system = true;
  if (relation != nullptr && IsSystemSchema(relation->schema)) *is_system = true;
  return relation;
}

const Relation* Analyzer::Resolve(const ::RangeVar* var) {
  bool is_system = false;
  const std::string_view schema = View(var->schemaname);
  const std::string_view name = View(var->relname);
  const Relation* relation = ResolveName(schema, name, &is_system);
  if (relation == nullptr && !message_.options.open_catalog) {
    Fail(fmt::format("relation {}{}{} does not exist or is not visible", schema, schema.empty() ? "" : ".", name));
  }
  return relation;
}

Range* Analyzer::RelationRange(const ::RangeVar* var, bool target) {
  Range* range = NewRange();
  const std::string_view schema = View(var->schemaname);
  const std::string_view name = View(var->relname);
  bool is_system = false;
  const Relation* relation = ResolveName(schema, name, &is_system);
  range->relation = relation;
  range->location = var->location;
  ++relations_named_;
  if (relation != nullptr) {
    range->schema = relation->schema;
    range->name = relation->name;
    if (relation->kind == RelationKind::kComposite) Fail(fmt::format("{} is a type, not a table", name));
    NoteTouched(*relation, var->inh);
    if (relation->kind == RelationKind::kView || relation->kind == RelationKind::kMaterializedView) {
      if (!is_system) range->view = ViewLineage(*relation);
    }
  } else if (is_system || message_.options.open_catalog) {
    range->schema = std::string(!schema.empty()                ? schema
                                : is_system                    ? std::string_view("pg_catalog")
                                : message_.search_path.empty() ? std::string_view()
                                                               : std::string_view(message_.search_path.front()));
    range->name = std::string(name);
    range->open = true;
  } else {
    Fail(fmt::format("relation {}{}{} does not exist or is not visible", schema, schema.empty() ? "" : ".", name));
    range->name = std::string(name);
    range->open = true;
  }
  // Extensions' statistics views live in any schema.
  if ((is_system || name.starts_with("pg_stat_statements")) && IsStatisticsRelation(name))
    range->opaque = range->rest.opaque = true;
  range->read_derived = target;
  if (target && is_system) Fail(fmt::format("it writes to the system catalog {}", name));
  if (target) return range;
  const Operation operation = range->opaque ? Operation::kStatistics : Operation::kSelect;
  range->read_effect = EffectIndex(operation, ObjectKind::kRelation, range->schema, range->name,
                                   relation == nullptr ? 0 : relation->oid, false, var->location);
  if (range->view != nullptr) NoteLineage(*range->view);
  return range;
}

Flow Analyzer::ColumnAt(Range* range, int index) {
  if (range->relation == nullptr) {
    if (index < static_cast<int>(range->forwards.size())) {
      return ColumnAt(range->forwards[index].range, range->forwards[index].index);
    }
    Flow flow = range->columns[index].flow;
    Spend(1 + flow.sources.size() / 8);
    flow.row_by_type = flow.row != nullptr;
    return flow;
  }
  const Relation& relation = *range->relation;
  const postern::sql::Column& column = relation.columns[index];
  const int effect = ReadEffect(range);
  Spend(1);
  if (range->noted.empty()) range->noted.resize(relation.columns.size());
  if (!range->noted[index]) result_.effects[effect].columns.push_back(column.name);
  range->noted[index] = true;

  if (column.generated) Spend(relation.columns.size() / 8);
  return RelationColumn(*range, index);
}

Flow Analyzer::RelationColumn(const Range& range, int index) {
  const Relation& relation = *range.relation;
  const postern::sql::Column& column = relation.columns[index];
  Flow flow;
  const ColumnId id{relation.oid, column.attnum};
  flow.origin = id;
  flow.opaque = range.opaque;
  flow.sources.Add(id);
  if (range.view != nullptr) {
    if (index < static_cast<int>(range.view->columns.size())) {
      flow.Add(range.view->columns[index]);
      flow.bare = range.view->columns[index].bare;
      // A materialized view's rows are its own.
      if (relation.kind == RelationKind::kMaterializedView && !flow.bare.has_value()) flow.bare = id;
    } else {
      flow.opaque = true;
    }
  } else {
    flow.bare = id;
  }
  if (column.generated) {
    // Its expression is not in the snapshot: any column of the row may be in it.
    for (const postern::sql::Column& other : relation.columns) flow.sources.Add({relation.oid, other.attnum});
  }
  return flow;
}

std::optional<Flow> Analyzer::ColumnNamed(Range* range, std::string_view name) {
  const int index = IndexOf(*range, name);
  if (index >= 0) return ColumnAt(range, index);
  if (!range->open && !(range->is_relation() && IsSystemColumn(name))) return std::nullopt;
  if (range->is_relation()) result_.effects[ReadEffect(range)].columns.emplace_back(name);
  return range->rest;
}

Flow Analyzer::WholeRow(Range* range) {
  Flow flow = range->rest;
  for (int i = 0; i < range->size(); ++i) flow.Add(ColumnAt(range, i));
  if (range->is_relation()) result_.effects[ReadEffect(range)].all_columns = true;
  flow.Compute();
  flow.row = range;
  return flow;
}

std::optional<Flow> Analyzer::RowField(const Flow& row, std::string_view name) {
  const Relation* relation = row.row->relation;
  if (!row.row_by_type) return ColumnNamed(row.row, name);
  if (relation == nullptr) {
    std::optional<Flow> field = ColumnNamed(row.row, name);
    if (field.has_value()) field = FieldOfType(*std::move(field));
    return field;
  }
  for (size_t i = 0; i < relation->columns.size(); ++i) {
    if (relation->columns[i].name == name) return FieldOfType(ColumnAt(row.row, static_cast<int>(i)));
  }
  return std::nullopt;
}

Range* Analyzer::FindRange(const Scope& scope, std::string_view schema, std::string_view name) const {
  for (const Scope* level = &scope; level != nullptr; level = level->parent) {
    for (const RangeName& candidate : level->names) {
      if (candidate.name != name) continue;
      if (!schema.empty() && candidate.range->schema != schema) continue;
      return candidate.range;
    }
  }
  return nullptr;
}

void Analyzer::NoteQualified(const ::ColumnRef* ref, const Range* range, const Scope& scope) {
  const Items fields(ref->fields);
  const Range* nearest = FindRange(scope, "", StringOf(fields[fields.size() - 2]));
  qualified_.push_back({ref, range, nearest == range});
}

Flow Analyzer::Column(const ::ColumnRef* ref, const Scope& scope) {
  const Items fields(ref->fields);
  if (fields.size() > 4) {
    Fail("a column name has too many parts");
    return {};
  }
  // catalog.schema.table.column: the first part can only be this database.
  const std::string_view column = StringOf(fields[fields.size() - 1]);
  if (fields.size() >= 2) {
    const std::string_view table = StringOf(fields[fields.size() - 2]);
    const std::string_view schema = fields.size() >= 3 ? StringOf(fields[fields.size() - 3]) : std::string_view();
    Range* range = FindRange(scope, schema, table);
    if (range == nullptr) {
      Fail(fmt::format("{} in {}.{} is not in FROM", table, table, column));
      return {};
    }
    if (!schema.empty()) NoteQualified(ref, range, scope);
    if (std::optional<Flow> flow = ColumnNamed(range, column)) return *std::move(flow);
    return CallOnRow(column, WholeRow(range), ref->location);
  }

  // Found in a range whose columns are not all known: an outer name may be meant as well.
  std::optional<Flow> maybe;
  for (const Scope* level = &scope; level != nullptr; level = level->parent) {
    const Segment* found = nullptr;
    bool ambiguous = false;
    for (const Segment& segment : level->segments) {
      Spend(1 + segment.range->size() / 16);
      if (segment.IsHidden(column) || IndexOf(*segment.range, column) < 0) continue;
      ambiguous = found != nullptr;
      if (ambiguous) break;
      found = &segment;
    }
    if (ambiguous) {
      Fail(fmt::format("column {} is ambiguous", column));
      return {};
    }
    if (found != nullptr) {
      Flow flow = ColumnAt(found->range, IndexOf(*found->range, column));
      if (!maybe.has_value()) return flow;
      maybe->Add(flow);
      maybe->Compute();
      return *std::move(maybe);
    }
    for (const Segment& segment : level->segments) {
      if (!segment.range->open && !(segment.range->is_relation() && IsSystemColumn(column))) continue;
      std::optional<Flow> flow = ColumnNamed(segment.range, column);
      if (!flow.has_value()) continue;
      if (!segment.range->open) return *std::move(flow);
      if (!maybe.has_value()) maybe.emplace();
      maybe->Add(*flow);
    }
  }
  Range* row = FindRange(scope, "", column);
  if (row != nullptr) {
    Flow flow = WholeRow(row);
    if (maybe.has_value()) flow.Add(*maybe);
    return flow;
  }
  if (maybe.has_value()) {
    maybe->Compute();
    return *std::move(maybe);
  }
  Fail(fmt::format("column {} does not exist", column));
  return {};
}

void Analyzer::ExpandRange(Range* range, const Segment* segment, Rows* rows) {
  for (int i = 0; i < range->size(); ++i) {
    const std::string_view name = range->ColumnName(i);
    if (segment != nullptr && segment->IsHidden(name)) continue;
    rows->columns.push_back({std::string(name), ColumnAt(range, i)});
  }
  if (!range->open) return;
  rows->open = true;
  rows->rest.Add(range->rest);
  if (range->is_relation() && range->read_effect >= 0) result_.effects[range->read_effect].all_columns = true;
}

void Analyzer::Expand(const Scope& scope, const ::ColumnRef* star, Rows* rows) {
  const Items fields(star->fields);
  if (fields.size() == 1) {
    if (scope.segments.empty()) Fail("SELECT * without FROM");
    for (const Segment& segment : scope.segments) ExpandRange(segment.range, &segment, rows);
    return;
  }
  const std::string_view table = StringOf(fields[fields.size() - 2]);
  const std::string_view schema = fields.size() >= 3 ? StringOf(fields[fields.size() - 3]) : std::string_view();
  Range* range = FindRange(scope, schema, table);
  if (range == nullptr) {
    Fail(fmt::format("{} in {}.* is not in FROM", table, table));
    return;
  }
  if (!schema.empty()) NoteQualified(star, range, scope);
  ExpandRange(range, nullptr, rows);
}

const Cte* Analyzer::FindCte(const Scope& scope, std::string_view name) {
  for (const Scope* level = &scope; level != nullptr; level = level->parent) {
    for (const Cte& cte : level->ctes) {
      if (cte.name != name) continue;
      if (cte.state == Cte::State::kPending) {
        Fail(fmt::format("WITH RECURSIVE refers to {} before its definition", name));
      }
      return &cte;
    }
  }
  return nullptr;
}

QualifiedName SplitName(const ::List* names) {
  const Items items(names);
  QualifiedName name;
  if (items.size() >= 1) name.name = StringOf(items[items.size() - 1]);
  if (items.size() >= 2) name.schema = StringOf(items[items.size() - 2]);
  return name;
}

}  // namespace postern::sql::internal
