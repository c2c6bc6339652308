// INSERT, UPDATE, DELETE, MERGE.
#include <algorithm>
#include <utility>

#include "common/sql/analyzer.h"
#include "fmt/format.h"

namespace postern::sql::internal {
namespace {

// Rows written to the target may be other than they were sent: it, a part of it or a table below a view has triggers.
bool RunsTriggers(const Range& target, const Catalog& catalog) {
  const auto has = [&](Oid oid) {
    const Relation* relation = catalog.FindRelation(oid);
    if (relation == nullptr) return false;
    if (relation->has_triggers) return true;
    const std::vector<const Relation*> parts = catalog.Descendants(oid);
    return std::any_of(parts.begin(), parts.end(), [](const Relation* part) { return part->has_triggers; });
  };
  if (target.relation == nullptr) return false;
  return has(target.relation->oid) ||
         (target.view != nullptr && std::any_of(target.view->relations.begin(), target.view->relations.end(), has));
}

}  // namespace

void Analyzer::NoteWrite(Operation operation, Range* target, const std::vector<std::string_view>& columns,
                         bool all_columns) {
  const Oid oid = target->relation == nullptr ? 0 : target->relation->oid;
  const int index =
      EffectIndex(operation, ObjectKind::kRelation, target->schema, target->name, oid, false, target->location);
  Effect& effect = result_.effects[index];
  effect.all_columns = effect.all_columns || all_columns;
  effect.columns.insert(effect.columns.end(), columns.begin(), columns.end());
  const Relation* relation = target->relation;
  if (relation == nullptr) return;
  for (std::string_view column : columns) {
    if (relation->FindColumn(column) == nullptr) Fail(fmt::format("column {}.{} does not exist", target->name, column));
  }
  if (relation->has_rules) {
    Fail(fmt::format("{}.{} has rewrite rules, which may write elsewhere", relation->schema, relation->name));
  }
  if (relation->kind == RelationKind::kMaterializedView || relation->kind == RelationKind::kSequence) {
    Fail(fmt::format("{}.{} cannot be written to", relation->schema, relation->name));
  }
  if (target->view == nullptr || !target->view->failure.empty()) return;

  // An updatable view: the write goes to the tables that its columns come from.
  const Lineage& view = *target->view;
  NoteLineage(view);
  for (size_t i = 0; i < view.columns.size() && i < relation->columns.size(); ++i) {
    if (!view.columns[i].bare.has_value()) continue;
    const Relation* base = catalog_.FindRelation(view.columns[i].bare->relation);
    if (base == nullptr) continue;
    if (base->has_rules)
      Fail(fmt::format("{}.{} has rewrite rules, which may write elsewhere", base->schema, base->name));
    bool written = all_columns;
    for (std::string_view column : columns) written = written || column == relation->columns[i].name;
    if (!written) continue;
    const int below = EffectIndex(operation, ObjectKind::kRelation, base->schema, base->name, base->oid, true, -1);
    if (all_columns) result_.effects[below].all_columns = true;
    for (const postern::sql::Column& column : base->columns) {
      if (column.attnum == view.columns[i].bare->attnum) result_.effects[below].columns.push_back(column.name);
    }
  }
}

Rows Analyzer::Returning(const ::List* targets, Range* target, Scope* scope) {
  Rows rows;
  if (targets == nullptr) return rows;
  // Unlike WHERE and SET, this shows rows: it is a read of its own.
  target->read_derived = false;
  target->read_effect = -1;
  target->noted.clear();
  target->opaque = target->opaque || RunsTriggers(*target, catalog_);
  TargetList(targets, *scope, &rows);
  return rows;
}

Rows Analyzer::Insert(const ::InsertStmt* insert, const Scope& outer) {
  const Depth depth(this);
  if (!depth.ok()) return {};
  // Constants anywhere but in predicates may end in a column, also by way of WITH, FROM and subqueries.
  const bool collecting = std::exchange(collecting_constants_, true);
  Scope with(&outer);
  With(insert->withClause, &with);
  Range* target = RelationRange(insert->relation, true);

  Rows source;
  if (insert->selectStmt != nullptr) source = Query(insert->selectStmt, with);
  collecting_constants_ = collecting;
  NoteStored(source.rest);
  for (const RangeColumn& column : source.columns) NoteStored(column.flow);

  Scope scope(&with);
  scope.Add(NamedItem(target, insert->relation->alias));
  std::vector<std::string_view> columns = InsertColumns(insert->cols, scope);
  const bool all_columns = columns.empty() && (target->open || source.open);
  if (columns.empty()) {
    for (int i = 0; i < target->size() && (source.open || i < static_cast<int>(source.columns.size())); ++i) {
      columns.push_back(target->ColumnName(i));
    }
  }
  NoteWrite(Operation::kInsert, target, columns, all_columns);
  if (insert->onConflictClause != nullptr) OnConflict(insert->onConflictClause, target, columns, source, &scope);
  return Returning(insert->returningList, target, &scope);
}

void Analyzer::Subscripts(const ::ResTarget* target, const Scope& scope) {
  for (const ::Node* step : Items(target->indirection)) {
    if (nodeTag(step) != T_A_Indices) continue;
    Flow subscript;
    Expression(As<::A_Indices>(step)->lidx, scope, &subscript);
    Expression(As<::A_Indices>(step)->uidx, scope, &subscript);
    NoteStored(subscript);
  }
}

std::vector<std::string_view> Analyzer::InsertColumns(const ::List* targets, const Scope& scope) {
  std::vector<std::string_view> columns;
  for (const ::Node* node : Items(targets)) {
    columns.push_back(View(As<::ResTarget>(node)->name));
    Subscripts(As<::ResTarget>(node), scope);
  }
  return columns;
}

// What decides whether there is a conflict: the columns of an index that is named, or of any index.
void Analyzer::ConflictTarget(const ::OnConflictClause* conflict, Range* target,
                              const std::vector<std::string_view>& columns, const Scope& scope) {
  if (conflict->infer == nullptr || conflict->infer->conname != nullptr) {
    for (std::string_view column : columns) {
      if (std::optional<Flow> flow = ColumnNamed(target, column)) NotePredicate(*flow, false);
    }
    return;
  }
  for (const ::Node* node : Items(conflict->infer->indexElems)) {
    const auto* element = As<::IndexElem>(node);
    if (element->name != nullptr) {
      if (std::optional<Flow> flow = ColumnNamed(target, View(element->name))) NotePredicate(*flow, false);
    } else {
      NotePredicate(Value(element->expr, scope), false);
    }
  }
  Predicate(conflict->infer->whereClause, scope);
}

void Analyzer::OnConflict(const ::OnConflictClause* conflict, Range* target,
                          const std::vector<std::string_view>& columns, const Rows& source, Scope* scope) {
  uses_operators_ = true;
  ConflictTarget(conflict, target, columns, *scope);
  if (conflict->action != ONCONFLICT_UPDATE) return;
  // The row that was to be inserted: what it holds comes from the source, or from defaults.
  Range* excluded = NewRange();
  excluded->open = target->open || source.open;
  excluded->rest = source.rest;
  for (int i = 0; i < target->size(); ++i) {
    Flow flow;
    for (size_t k = 0; k < columns.size() && k < source.columns.size(); ++k) {
      if (columns[k] == target->ColumnName(i)) flow = source.columns[k].flow;
    }
    flow.Compute();
    excluded->columns.push_back({std::string(target->ColumnName(i)), std::move(flow)});
  }
  Scope update(scope->parent);
  update.names = scope->names;
  update.segments = scope->segments;
  update.names.push_back({"excluded", excluded});
  SetClause(conflict->targetList, target, update);
  Predicate(conflict->whereClause, update);
}

void Analyzer::SetClause(const ::List* targets, Range* target, const Scope& scope) {
  std::vector<std::string_view> columns;
  const bool collecting = std::exchange(collecting_constants_, true);
  for (const ::Node* node : Items(targets)) {
    const auto* assignment = As<::ResTarget>(node);
    columns.push_back(View(assignment->name));
    Subscripts(assignment, scope);
    // SET (a, b) = …: the source hangs below each of the columns.
    if (nodeTag(assignment->val) == T_MultiAssignRef && As<::MultiAssignRef>(assignment->val)->colno > 1) continue;
    NoteStored(Value(assignment->val, scope));
  }
  collecting_constants_ = collecting;
  NoteWrite(Operation::kUpdate, target, columns, false);
}

Rows Analyzer::Update(const ::UpdateStmt* update, const Scope& outer) {
  const Depth depth(this);
  if (!depth.ok()) return {};
  const bool collecting = std::exchange(collecting_constants_, true);
  Scope with(&outer);
  With(update->withClause, &with);
  Range* target = RelationRange(update->relation, true);
  Scope scope(&with);
  scope.Add(NamedItem(target, update->relation->alias));
  AddFrom(update->fromClause, &scope, with);
  collecting_constants_ = collecting;
  SetClause(update->targetList, target, scope);
  Predicate(update->whereClause, scope);
  NoteWriteShape(update->whereClause, *target);
  return Returning(update->returningList, target, &scope);
}

// FROM and USING beside a target, which they do not see.
void Analyzer::AddFrom(const ::List* items, Scope* scope, const Scope& outer) {
  Scope from(&outer);
  From(items, &from, outer);
  scope->names.insert(scope->names.end(), from.names.begin(), from.names.end());
  scope->segments.insert(scope->segments.end(), from.segments.begin(), from.segments.end());
}

Rows Analyzer::Delete(const ::DeleteStmt* del, const Scope& outer) {
  const Depth depth(this);
  if (!depth.ok()) return {};
  Scope with(&outer);
  With(del->withClause, &with);
  Range* target = RelationRange(del->relation, true);
  Scope scope(&with);
  scope.Add(NamedItem(target, del->relation->alias));
  AddFrom(del->usingClause, &scope, with);
  NoteWrite(Operation::kDelete, target, {}, true);
  Predicate(del->whereClause, scope);
  NoteWriteShape(del->whereClause, *target);
  return Returning(del->returningList, target, &scope);
}

Rows Analyzer::Merge(const ::MergeStmt* merge, const Scope& outer) {
  const Depth depth(this);
  if (!depth.ok()) return {};
  const bool collecting = std::exchange(collecting_constants_, true);
  Scope with(&outer);
  With(merge->withClause, &with);
  Range* target = RelationRange(merge->relation, true);
  Scope scope(&with);
  scope.Add(NamedItem(target, merge->relation->alias));
  Scope source(&with);
  source.Add(FromNode(merge->sourceRelation, source, with));
  collecting_constants_ = collecting;
  scope.names.insert(scope.names.end(), source.names.begin(), source.names.end());
  scope.segments.insert(scope.segments.end(), source.segments.begin(), source.segments.end());
  Predicate(merge->joinCondition, scope);
  for (const ::Node* node : Items(merge->mergeWhenClauses)) {
    const auto* when = As<::MergeWhenClause>(node);
    Predicate(when->condition, scope);
    switch (when->commandType) {
      case CMD_UPDATE:
        SetClause(when->targetList, target, scope);
        break;
      case CMD_DELETE:
        NoteWrite(Operation::kDelete, target, {}, true);
        break;
      case CMD_INSERT: {
        const std::vector<std::string_view> columns = InsertColumns(when->targetList, scope);
        const bool all_columns = columns.empty();
        const bool outside = std::exchange(collecting_constants_, true);
        for (const ::Node* value : Items(when->values)) NoteStored(Value(value, scope));
        collecting_constants_ = outside;
        NoteWrite(Operation::kInsert, target, columns, all_columns);
        break;
      }
      case CMD_NOTHING:
        break;
      default:
        Fail("a MERGE action is not known");
    }
  }
  return {};
}

void Analyzer::InsertStatement(const ::Node* node) {
  const Scope outer(nullptr);
  SetOutputs(Insert(As<::InsertStmt>(node), outer));
}

void Analyzer::UpdateStatement(const ::Node* node) {
  const Scope outer(nullptr);
  SetOutputs(Update(As<::UpdateStmt>(node), outer));
}

void Analyzer::DeleteStatement(const ::Node* node) {
  const Scope outer(nullptr);
  SetOutputs(Delete(As<::DeleteStmt>(node), outer));
}

void Analyzer::MergeStatement(const ::Node* node) {
  const Scope outer(nullptr);
  SetOutputs(Merge(As<::MergeStmt>(node), outer));
}

}  // namespace postern::sql::internal
