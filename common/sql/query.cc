// SELECT, VALUES, set operations and WITH.
#include <algorithm>

#include "common/sql/analyzer.h"
#include "fmt/format.h"

namespace postern::sql::internal {
namespace {

// The single unqualified name of a column reference; empty otherwise.
std::string_view PlainName(const ::Node* node) {
  if (nodeTag(node) != T_ColumnRef) return {};
  const Items fields(As<::ColumnRef>(node)->fields);
  return fields.size() == 1 ? StringOf(fields[0]) : std::string_view();
}

// The output column that `ORDER BY 2` means; 0 if it is no such constant.
int Ordinal(const ::Node* node) {
  if (nodeTag(node) != T_A_Const) return 0;
  const auto* constant = As<::A_Const>(node);
  if (constant->isnull || nodeTag(&constant->val.node) != T_Integer) return 0;
  return constant->val.ival.ival;
}

bool HasColumn(const Scope& scope, std::string_view name) {
  for (const Segment& segment : scope.segments) {
    if (segment.IsHidden(name)) continue;
    for (int i = 0; i < segment.range->size(); ++i) {
      if (segment.range->ColumnName(i) == name) return true;
    }
  }
  return false;
}

void NameColumns(const ::List* names, Rows* rows) {
  size_t i = 0;
  for (const ::Node* name : Items(names)) {
    if (i >= rows->columns.size()) rows->columns.push_back({"", rows->rest});
    rows->columns[i++].name = std::string(StringOf(name));
  }
}

Flow AllOf(const Rows& rows) {
  Flow all = rows.rest;
  for (const RangeColumn& column : rows.columns) all.Add(column.flow);
  return all;
}

size_t SourceCount(const Rows& rows) {
  size_t count = 0;
  for (const RangeColumn& column : rows.columns) {
    ColumnSet sources = column.flow.sources;
    sources.Compact();
    count += sources.size();
    count += column.flow.opaque ? 1 : 0;
    count += column.flow.bare.has_value() ? 0 : 1;
  }
  return count;
}

}  // namespace

Rows Analyzer::Query(const ::Node* query, const Scope& outer) {
  if (query == nullptr) return {};
  switch (nodeTag(query)) {
    case T_SelectStmt:
      return Select(As<::SelectStmt>(query), outer);
    case T_InsertStmt:
      return Insert(As<::InsertStmt>(query), outer);
    case T_UpdateStmt:
      return Update(As<::UpdateStmt>(query), outer);
    case T_DeleteStmt:
      return Delete(As<::DeleteStmt>(query), outer);
    case T_MergeStmt:
      return Merge(As<::MergeStmt>(query), outer);
    default:
      Fail(fmt::format("query of node {} is not known", static_cast<int>(nodeTag(query))));
      return {};
  }
}

void Analyzer::SelectStatement(const ::Node* node) {
  const auto* select = As<::SelectStmt>(node);
  const Scope outer(nullptr);
  const Rows rows = Select(select, outer);
  if (select_into_) {
    SetKind(StatementKind::kUtility, "SELECT INTO");
    for (const RangeColumn& column : rows.columns) NoteStored(column.flow);
    NoteStored(rows.rest);
    result_.outputs_known = true;
    return;
  }
  SetOutputs(rows);
  const Items from(select->fromClause);
  const Range* single = nullptr;
  if (from.size() == 1 && nodeTag(from[0]) == T_RangeVar) {
    for (const Range& range : ranges_) {
      if (range.is_relation() && range.location == As<::RangeVar>(from[0])->location) single = &range;
    }
  }
  NoteShape(select->whereClause, single, LimitOf(select));
  if (single != nullptr) NoteGroups(select, *single);
}

void Analyzer::With(const ::WithClause* with, Scope* scope) {
  if (with == nullptr) return;
  const Items ctes(with->ctes);
  if (with->recursive) {
    // All names are visible to all, so a table of that name is not meant.
    for (const ::Node* node : ctes) {
      Cte& cte = scope->ctes.emplace_back();
      cte.name = View(As<::CommonTableExpr>(node)->ctename);
    }
  }
  size_t index = 0;
  for (const ::Node* node : ctes) {
    const auto* definition = As<::CommonTableExpr>(node);
    if (with->recursive) {
      RecursiveCte(definition, scope, &scope->ctes[index++]);
      continue;
    }
    Rows rows = Query(definition->ctequery, *scope);
    NameColumns(definition->aliascolnames, &rows);
    Cte& cte = scope->ctes.emplace_back();
    cte.name = View(definition->ctename);
    cte.rows = std::move(rows);
    cte.state = Cte::State::kReady;
    SearchAndCycle(definition, &cte, *scope);
  }
}

void Analyzer::RecursiveCte(const ::CommonTableExpr* definition, const Scope* scope, Cte* cte) {
  const ::Node* query = definition->ctequery;
  const auto* select = nodeTag(query) == T_SelectStmt ? As<::SelectStmt>(query) : nullptr;
  if (select == nullptr || select->op != SETOP_UNION) {
    // A term that refers to itself must be a UNION: until it is ready its own name fails.
    cte->rows = Query(query, *scope);
    NameColumns(definition->aliascolnames, &cte->rows);
    cte->state = Cte::State::kReady;
    SearchAndCycle(definition, cte, *scope);
    return;
  }
  Scope with(scope);
  With(select->withClause, &with);
  cte->rows = Select(select->larg, with);
  NameColumns(definition->aliascolnames, &cte->rows);
  cte->state = Cte::State::kRunning;
  // Sources only grow, and there are finitely many: run the recursive term until nothing is added.
  for (size_t before = 0; before != SourceCount(cte->rows);) {
    before = SourceCount(cte->rows);
    const Rows term = Select(select->rarg, with);
    cte->rows.open = cte->rows.open || term.open;
    cte->rows.rest.Add(term.rest);
    for (size_t i = 0; i < term.columns.size() && i < cte->rows.columns.size(); ++i) {
      Flow& flow = cte->rows.columns[i].flow;
      flow.Add(term.columns[i].flow);
      flow.Compute();
      flow.sources.Compact();
    }
    if (failed()) break;
  }
  if (!select->all) {
    uses_operators_ = true;
    NotePredicate(AllOf(cte->rows), false);
  }
  // Postgres takes these where the query turns out not to refer to itself.
  Locking(select, 0, 0);
  SelectTail(select, with, cte->rows);
  cte->state = Cte::State::kReady;
  SearchAndCycle(definition, cte, *scope);
}

// SEARCH … SET and CYCLE … SET … USING add columns that hold rows.
void Analyzer::SearchAndCycle(const ::CommonTableExpr* definition, Cte* cte, const Scope& scope) {
  if (definition->search_clause == nullptr && definition->cycle_clause == nullptr) return;
  // Where rows are equal in these, the recursion ends.
  if (definition->cycle_clause != nullptr) {
    for (const ::Node* name : Items(definition->cycle_clause->cycle_col_list)) {
      for (const RangeColumn& column : cte->rows.columns) {
        if (column.name == StringOf(name)) NotePredicate(column.flow, false);
      }
      NotePredicate(cte->rows.rest, false);
    }
  }
  Flow row = AllOf(cte->rows);
  row.Compute();
  const auto add = [&](const char* name) {
    if (name != nullptr) cte->rows.columns.push_back({std::string(View(name)), row});
  };
  if (definition->search_clause != nullptr) add(definition->search_clause->search_seq_column);
  if (definition->cycle_clause != nullptr) {
    const ::CTECycleClause* cycle = definition->cycle_clause;
    Expression(cycle->cycle_mark_value, scope, &row);
    Expression(cycle->cycle_mark_default, scope, &row);
    add(cycle->cycle_mark_column);
    add(cycle->cycle_path_column);
  }
}

Rows Analyzer::Select(const ::SelectStmt* select, const Scope& outer) {
  const Depth depth(this);
  if (!depth.ok()) return {};
  Scope with(&outer);
  With(select->withClause, &with);
  Rows rows;
  Scope scope(&with);
  if (select->op != SETOP_NONE) {
    rows = SetOperation(select, with);
  } else if (select->valuesLists != nullptr) {
    rows = ValuesLists(select, with);
  } else {
    const size_t first = ranges_.size();
    From(select->fromClause, &scope, with);
    Locking(select, first, ranges_.size());
    for (const ::Node* window : Items(select->windowClause)) Window(As<::WindowDef>(window), scope, &scope.windows);
    TargetList(select->targetList, scope, &rows);
    Predicate(select->whereClause, scope);
    for (const ::Node* key : Items(select->groupClause)) Key(key, scope, rows, KeyOf::kGroup);
    Predicate(select->havingClause, scope);
  }
  if (select->intoClause != nullptr) {
    select_into_ = true;
    NoteCreate(select->intoClause->rel);
  }
  SelectTail(select, scope, rows);
  if (select->op != SETOP_NONE) Locking(select, 0, 0);
  return rows;
}

void Analyzer::SelectTail(const ::SelectStmt* select, const Scope& scope, const Rows& rows) {
  Distinct(select, scope, rows);
  for (const ::Node* item : Items(select->sortClause)) {
    const auto* sort = As<::SortBy>(item);
    uses_operators_ = true;
    if (sort->useOp != nullptr) Operator(sort->useOp);
    Key(sort->node, scope, rows, KeyOf::kOrder);
  }
  Flow limits;
  Expression(select->limitCount, scope, &limits);
  Expression(select->limitOffset, scope, &limits);
  NotePredicate(limits, false);
}

// ORDER BY, GROUP BY and DISTINCT ON take output names, ordinals and expressions.
void Analyzer::Key(const ::Node* node, const Scope& scope, const Rows& rows, KeyOf of) {
  if (nodeTag(node) == T_GroupingSet) {
    for (const ::Node* item : Items(As<::GroupingSet>(node)->content)) Key(item, scope, rows, of);
    return;
  }
  // GROUP BY (1, name) is GROUP BY 1, name; only ROW(…) is a row.
  if (of == KeyOf::kGroup && nodeTag(node) == T_RowExpr && As<::RowExpr>(node)->row_format == COERCE_IMPLICIT_CAST) {
    for (const ::Node* item : Items(As<::RowExpr>(node)->args)) Key(item, scope, rows, of);
    return;
  }
  NoteConstantRead(node);
  const int ordinal = Ordinal(node);
  if (ordinal > 0) {
    if (static_cast<size_t>(ordinal) <= rows.columns.size()) {
      NotePredicate(rows.columns[ordinal - 1].flow, false);
    } else if (rows.open) {
      NotePredicate(AllOf(rows), false);
    }
    return;
  }
  const std::string_view name = PlainName(node);
  if (!name.empty() && !(of == KeyOf::kGroup && HasColumn(scope, name))) {
    bool found = false;
    if (of == KeyOf::kGroup) {
      // A column that is not known may have the name.
      for (const Segment& segment : scope.segments) {
        if (segment.range->open) NotePredicate(segment.range->rest, false);
      }
    }
    for (const RangeColumn& column : rows.columns) {
      if (column.name != name) continue;
      NotePredicate(column.flow, false);
      found = true;
    }
    if (found) return;
  }
  NotePredicate(Value(node, scope), false);
}

void Analyzer::Distinct(const ::SelectStmt* select, const Scope& scope, const Rows& rows) {
  if (select->distinctClause == nullptr) return;
  const Items keys(select->distinctClause);
  uses_operators_ = true;
  if (keys.size() == 1 && keys[0] == nullptr) {
    NotePredicate(AllOf(rows), false);
    return;
  }
  for (const ::Node* key : keys) Key(key, scope, rows, KeyOf::kOrder);
}

Rows Analyzer::SetOperation(const ::SelectStmt* select, const Scope& outer) {
  Rows rows = Select(select->larg, outer);
  const Rows right = Select(select->rarg, outer);
  if (!rows.open && !right.open && rows.columns.size() != right.columns.size()) {
    Fail("the sides of a set operation have different numbers of columns");
  }
  // By position; beyond what is known of either side nothing is.
  if (rows.open || right.open) {
    Flow all = AllOf(rows);
    all.Add(AllOf(right));
    all.Compute();
    rows.open = true;
    rows.rest = all;
    for (RangeColumn& column : rows.columns) column.flow = all;
  }
  for (size_t i = 0; i < rows.columns.size() && i < right.columns.size(); ++i) {
    rows.columns[i].flow.Add(right.columns[i].flow);
    rows.columns[i].flow.Compute();
  }
  // All but UNION ALL compare rows.
  if (select->op != SETOP_UNION || !select->all) {
    uses_operators_ = true;
    NotePredicate(AllOf(rows), false);
  }
  return rows;
}

Rows Analyzer::ValuesLists(const ::SelectStmt* select, const Scope& outer) {
  Rows rows;
  for (const ::Node* list : Items(select->valuesLists)) {
    size_t i = 0;
    for (const ::Node* node : Items(list)) {
      Flow flow = Value(node, outer);
      if (i >= rows.columns.size()) {
        rows.columns.push_back({fmt::format("column{}", i + 1), std::move(flow)});
      } else {
        rows.columns[i].flow.Add(flow);
        rows.columns[i].flow.Compute();
      }
      ++i;
    }
  }
  return rows;
}

// FOR UPDATE and its kin lock what FROM names: all of it, or what OF lists.
void Analyzer::Locking(const ::SelectStmt* select, size_t first, size_t last) {
  for (const ::Node* node : Items(select->lockingClause)) {
    const Items names(As<::LockingClause>(node)->lockedRels);
    if (select->op != SETOP_NONE) {
      Fail("row locks on a set operation");
      return;
    }
    if (names.empty() && last == first) continue;
    // OF names aliases; locking more than it says is what policy is asked about.
    for (size_t i = first; i < last; ++i) {
      const Range& range = ranges_[i];
      if (!range.is_relation()) continue;
      EffectIndex(Operation::kLock, ObjectKind::kRelation, range.schema, range.name,
                  range.relation == nullptr ? 0 : range.relation->oid, false, range.location);
    }
  }
}

void Analyzer::TargetList(const ::List* targets, const Scope& scope, Rows* rows) {
  for (const ::Node* node : Items(targets)) {
    const auto* target = As<::ResTarget>(node);
    const ::Node* value = target->val;
    if (nodeTag(value) == T_ColumnRef) {
      const Items fields(As<::ColumnRef>(value)->fields);
      if (nodeTag(fields[fields.size() - 1]) == T_A_Star) {
        Expand(scope, As<::ColumnRef>(value), rows);
        continue;
      }
    }
    if (nodeTag(value) == T_A_Indirection && ExpandComposite(As<::A_Indirection>(value), scope, rows)) continue;
    std::string name = target->name != nullptr ? std::string(View(target->name)) : OutputName(value);
    rows->columns.push_back({std::move(name), Value(value, scope)});
  }
}

// (x).*: the columns of a row, or of a composite type that is not known here.
bool Analyzer::ExpandComposite(const ::A_Indirection* indirection, const Scope& scope, Rows* rows) {
  const Items steps(indirection->indirection);
  if (nodeTag(steps[steps.size() - 1]) != T_A_Star) return false;
  if (steps.size() == 1) {
    const Flow row = Value(indirection->arg, scope);
    if (row.row != nullptr) {
      const size_t first = rows->columns.size();
      ExpandRange(row.row, nullptr, rows);
      if (!row.row_by_type) return true;
      for (size_t i = first; i < rows->columns.size(); ++i) rows->columns[i].flow.origin.reset();
      const Relation* relation = row.row->relation;
      if (relation == nullptr) return true;
      for (size_t i = 0; i < relation->columns.size(); ++i) rows->columns[first + i].name = relation->columns[i].name;
      return true;
    }
    NoteComputed(row);
    rows->rest.Add(row);
  } else {
    Flow flow;
    Expression(indirection->arg, scope, &flow);
    rows->rest.Add(flow);
  }
  rows->open = true;
  return true;
}

}  // namespace postern::sql::internal
