// DDL that defines relations: tables, views, indexes, sequences, row security.
#include <algorithm>

#include "common/sql/analyzer.h"
#include "fmt/format.h"

namespace postern::sql::internal {

void Analyzer::StoredExpression(const ::Node* node, const Scope& scope) {
  if (node == nullptr) return;
  Flow flow;
  Expression(node, scope, &flow);
  NoteStored(flow);
}

Range* Analyzer::DefinitionRange(const ::RangeVar* var) {
  Range* range = NewRange();
  bool is_system = false;
  range->relation = ResolveName(View(var->schemaname), View(var->relname), &is_system);
  range->name = std::string(View(var->relname));
  range->location = var->location;
  range->read_derived = true;
  range->open = range->relation == nullptr;
  if (range->relation != nullptr) {
    range->schema = range->relation->schema;
  }
  return range;
}

void Analyzer::NoteMoved(const Relation* relation) {
  if (relation == nullptr) return;
  for (const postern::sql::Column& column : relation->columns) stored_.Add({relation->oid, column.attnum});
  for (const Relation* child : catalog_.Descendants(relation->oid)) {
    for (const postern::sql::Column& column : child->columns) stored_.Add({child->oid, column.attnum});
  }
}

void Analyzer::KeyColumn(std::string_view name, const Scope& scope) {
  if (scope.segments.empty()) return;
  if (const std::optional<Flow> flow = ColumnNamed(scope.segments[0].range, name)) NoteComputed(*flow);
}

void Analyzer::ConstraintDefinition(const ::Constraint* constraint, const Scope& scope) {
  StoredExpression(constraint->raw_expr, scope);
  StoredExpression(constraint->where_clause, scope);
  for (const ::Node* exclusion : Items(constraint->exclusions)) {
    // Pairs of an IndexElem and an operator.
    const Items pair(exclusion);
    const auto* element = As<::IndexElem>(pair[0]);
    StoredExpression(element->expr, scope);
    if (element->name != nullptr) KeyColumn(View(element->name), scope);
    Operator(reinterpret_cast<const ::List*>(pair[1]));
  }
  // Making it fails with the value that breaks it.
  for (const ::List* keys : {constraint->keys, constraint->fk_attrs}) {
    for (const ::Node* key : Items(keys)) KeyColumn(StringOf(key), scope);
  }
  if (constraint->pktable == nullptr) return;
  // A foreign key tells whether a value exists in the table that it references.
  const Relation* referenced = NoteRelation(Operation::kSelect, constraint->pktable, false);
  if (referenced == nullptr) return;
  const int index = EffectIndex(Operation::kSelect, ObjectKind::kRelation, referenced->schema, referenced->name,
                                referenced->oid, false, -1);
  for (const ::Node* key : Items(constraint->pk_attrs)) {
    result_.effects[index].columns.emplace_back(StringOf(key));
    if (const postern::sql::Column* column = referenced->FindColumn(StringOf(key))) {
      predicates_.Add({referenced->oid, column->attnum}, false);
    }
  }
  if (Items(constraint->pk_attrs).empty()) result_.effects[index].all_columns = true;
}

void Analyzer::ColumnDefinition(const ::ColumnDef* column, const Scope& scope) {
  StoredExpression(column->raw_default, scope);
  for (const ::Node* constraint : Items(column->constraints)) {
    ConstraintDefinition(As<::Constraint>(constraint), scope);
  }
}

void Analyzer::TableElements(const ::List* elements, const Scope& scope) {
  for (const ::Node* element : Items(elements)) {
    switch (nodeTag(element)) {
      case T_ColumnDef:
        ColumnDefinition(As<::ColumnDef>(element), scope);
        break;
      case T_Constraint:
        ConstraintDefinition(As<::Constraint>(element), scope);
        break;
      case T_TableLikeClause:
        NoteRelation(Operation::kSelect, As<::TableLikeClause>(element)->relation, false);
        break;
      default:
        Fail(fmt::format("table element of node {} is not known", static_cast<int>(nodeTag(element))));
    }
  }
}

void Analyzer::CreateTable(const ::Node* node) {
  const auto* create = As<::CreateStmt>(node);
  result_.outputs_known = true;
  NoteCreate(create->relation);
  // Its own columns, which no catalog knows yet.
  Range* range = NewRange();
  range->open = true;
  Scope scope(nullptr);
  scope.segments.push_back({range, {}});
  scope.names.push_back({View(create->relation->relname), range});
  TableElements(create->tableElts, scope);
  for (const ::Node* constraint : Items(create->constraints)) {
    ConstraintDefinition(As<::Constraint>(constraint), scope);
  }
  // Rows of the new table will be seen through its parents.
  for (const ::Node* parent : Items(create->inhRelations)) {
    NoteRelation(Operation::kAlter, As<::RangeVar>(parent), false);
  }
  if (create->partbound != nullptr) {
    for (const ::List* datums :
         {create->partbound->listdatums, create->partbound->lowerdatums, create->partbound->upperdatums}) {
      for (const ::Node* datum : Items(datums)) StoredExpression(datum, scope);
    }
  }
  if (create->partspec != nullptr) {
    for (const ::Node* part : Items(create->partspec->partParams)) {
      StoredExpression(As<::PartitionElem>(part)->expr, scope);
    }
  }
  if (create->ofTypename != nullptr) TypeUse(create->ofTypename);
}

void Analyzer::CreateForeignTable(const ::Node* node) {
  CreateTable(node);
  NoteNamed(Operation::kForeign, View(As<::CreateForeignTableStmt>(node)->servername));
}

void Analyzer::CreateTableAs(const ::Node* node) {
  const auto* create = As<::CreateTableAsStmt>(node);
  const std::string tag = create->objtype == OBJECT_MATVIEW ? "CREATE MATERIALIZED VIEW" : "CREATE TABLE AS";
  NoteCreate(create->into->rel);
  if (nodeTag(create->query) == T_ExecuteStmt) {
    ExecuteStatement(create->query);
    for (const OutputColumn& output : result_.outputs) {
      stored_.AddAll(output.sources);
    }
    if (!result_.outputs_known) Fail("the columns of the prepared statement are not known");
  } else {
    const Scope outer(nullptr);
    const Rows rows = Query(create->query, outer);
    if (select_into_) Fail("CREATE TABLE AS of SELECT INTO");
    NoteStored(rows.rest);
    for (const RangeColumn& column : rows.columns) NoteStored(column.flow);
  }
  SetKind(StatementKind::kUtility, tag);
  result_.outputs.clear();
  result_.outputs_known = true;
}

void Analyzer::CreateView(const ::Node* node) {
  const auto* view = As<::ViewStmt>(node);
  result_.outputs_known = true;
  NoteCreate(view->view);
  if (view->replace) NoteRelation(Operation::kAlter, view->view, true);
  const Scope outer(nullptr);
  const Rows rows = Query(view->query, outer);
  if (select_into_) Fail("a view of SELECT INTO");
  // Under the view's name its columns are no longer where policy knows them.
  NoteStored(rows.rest);
  for (const RangeColumn& column : rows.columns) NoteStored(column.flow);
}

void Analyzer::CreateIndex(const ::Node* node) {
  const auto* create = As<::IndexStmt>(node);
  result_.outputs_known = true;
  const Relation* relation = NoteRelation(Operation::kAlter, create->relation, false);
  Range* range = DefinitionRange(create->relation);
  Scope scope(nullptr);
  scope.Add(NamedItem(range, nullptr));
  for (const ::List* elements : {create->indexParams, create->indexIncludingParams}) {
    for (const ::Node* item : Items(elements)) {
      const auto* element = As<::IndexElem>(item);
      StoredExpression(element->expr, scope);
      if (element->name == nullptr || relation == nullptr) continue;
      const postern::sql::Column* column = relation->FindColumn(View(element->name));
      // Building a unique index may report a value that occurs twice.
      if (column != nullptr && create->unique) computed_.Add({relation->oid, column->attnum});
      const int index = EffectIndex(Operation::kAlter, ObjectKind::kRelation, relation->schema, relation->name,
                                    relation->oid, false, -1);
      result_.effects[index].columns.emplace_back(View(element->name));
    }
  }
  StoredExpression(create->whereClause, scope);
}

void Analyzer::CreateSequence(const ::Node* node) {
  result_.outputs_known = true;
  NoteCreate(As<::CreateSeqStmt>(node)->sequence);
}

void Analyzer::AlterSequence(const ::Node* node) {
  const auto* alter = As<::AlterSeqStmt>(node);
  result_.outputs_known = true;
  NoteRelation(Operation::kAlter, alter->sequence, alter->missing_ok);
}

void Analyzer::AlterTable(const ::Node* node) {
  const auto* alter = As<::AlterTableStmt>(node);
  result_.tag = fmt::format("ALTER {}", ObjectTypeWord(alter->objtype));
  result_.outputs_known = true;
  switch (alter->objtype) {
    case OBJECT_TABLE:
    case OBJECT_VIEW:
    case OBJECT_MATVIEW:
    case OBJECT_SEQUENCE:
      break;
    case OBJECT_FOREIGN_TABLE:
      NoteNamed(Operation::kForeign, View(alter->relation->relname));
      break;
    case OBJECT_INDEX:
      EffectIndex(Operation::kAlter, ObjectKind::kOther, View(alter->relation->schemaname),
                  View(alter->relation->relname), 0, false, alter->relation->location);
      return;
    case OBJECT_TYPE:
      EffectIndex(Operation::kAlter, ObjectKind::kOther, View(alter->relation->schemaname),
                  View(alter->relation->relname), 0, false, alter->relation->location);
      return;
    default:
      Fail("this kind of ALTER is not known");
      return;
  }
  const Relation* relation = NoteRelation(Operation::kAlter, alter->relation, alter->missing_ok);
  if (relation == nullptr && alter->missing_ok) return;
  Range* range = DefinitionRange(alter->relation);
  // Columns that the statement adds may stand in its checks.
  Range* added = NewRange();
  for (const ::Node* item : Items(alter->cmds)) {
    const auto* command = As<::AlterTableCmd>(item);
    if (command->subtype != AT_AddColumn) continue;
    added->columns.push_back({std::string(View(As<::ColumnDef>(command->def)->colname)), {}});
  }
  for (const ::Node* command : Items(alter->cmds)) AlterTableCommand(As<::AlterTableCmd>(command), range, added);
}

void Analyzer::AlterTableCommand(const ::AlterTableCmd* command, Range* range, Range* added) {
  const Relation* relation = range->relation;
  if (command->name != nullptr && relation != nullptr && relation->FindColumn(View(command->name)) != nullptr) {
    const int index = EffectIndex(Operation::kAlter, ObjectKind::kRelation, relation->schema, relation->name,
                                  relation->oid, false, -1);
    result_.effects[index].columns.emplace_back(View(command->name));
  }
  Scope scope(nullptr);
  scope.segments.push_back({range, {}});
  scope.segments.push_back({added, {}});
  scope.names.push_back({range->name, range});
  switch (command->subtype) {
    case AT_AddColumn:
      ColumnDefinition(As<::ColumnDef>(command->def), scope);
      return;
    case AT_ColumnDefault:
      StoredExpression(command->def, scope);
      return;
    case AT_AddConstraint:
      ConstraintDefinition(As<::Constraint>(command->def), scope);
      return;
    case AT_AlterColumnType: {
      const auto* column = As<::ColumnDef>(command->def);
      StoredExpression(column->raw_default, scope);
      // Casting shows a value that does not fit, and rewrites the others.
      if (relation == nullptr || command->name == nullptr) return;
      if (const postern::sql::Column* existing = relation->FindColumn(View(command->name))) {
        computed_.Add({relation->oid, existing->attnum});
      }
      return;
    }
    case AT_AddInherit:
      NoteRelation(Operation::kAlter, As<::RangeVar>(command->def), false);
      NoteMoved(relation);
      return;
    case AT_DropInherit:
      NoteMoved(relation);
      return;
    case AT_AttachPartition:
    case AT_DetachPartition:
    case AT_DetachPartitionFinalize: {
      const auto* partition = As<::PartitionCmd>(command->def);
      NoteMoved(NoteRelation(Operation::kAlter, partition->name, false));
      return;
    }
    case AT_EnableTrig:
    case AT_EnableAlwaysTrig:
    case AT_EnableReplicaTrig:
    case AT_DisableTrig:
    case AT_EnableTrigAll:
    case AT_DisableTrigAll:
    case AT_EnableTrigUser:
    case AT_DisableTrigUser:
    case AT_EnableRule:
    case AT_EnableAlwaysRule:
    case AT_EnableReplicaRule:
    case AT_DisableRule:
      EffectIndex(Operation::kCreateFunction, ObjectKind::kRelation, range->schema, range->name,
                  relation == nullptr ? 0 : relation->oid, false, -1);
      return;
    case AT_ChangeOwner:
    case AT_EnableRowSecurity:
    case AT_DisableRowSecurity:
    case AT_ForceRowSecurity:
    case AT_NoForceRowSecurity:
      EffectIndex(Operation::kGrant, ObjectKind::kRelation, range->schema, range->name,
                  relation == nullptr ? 0 : relation->oid, false, -1);
      return;
    case AT_GenericOptions:
    case AT_AlterColumnGenericOptions:
      NoteNamed(Operation::kForeign, range->name);
      return;
    default:
      // The rest changes the relation's own properties and nothing else.
      return;
  }
}

void Analyzer::CreatePolicy(const ::Node* node) {
  const auto* policy = As<::CreatePolicyStmt>(node);
  result_.outputs_known = true;
  NoteRelation(Operation::kGrant, policy->table, false);
  Scope scope(nullptr);
  scope.Add(NamedItem(DefinitionRange(policy->table), nullptr));
  Flow flow;
  Expression(policy->qual, scope, &flow);
  Expression(policy->with_check, scope, &flow);
  NotePredicate(flow, false);
}

void Analyzer::AlterPolicy(const ::Node* node) {
  const auto* policy = As<::AlterPolicyStmt>(node);
  result_.outputs_known = true;
  NoteRelation(Operation::kGrant, policy->table, false);
  Scope scope(nullptr);
  scope.Add(NamedItem(DefinitionRange(policy->table), nullptr));
  Flow flow;
  Expression(policy->qual, scope, &flow);
  Expression(policy->with_check, scope, &flow);
  NotePredicate(flow, false);
}

void Analyzer::CreateStatistics(const ::Node* node) {
  const auto* create = As<::CreateStatsStmt>(node);
  result_.outputs_known = true;
  Scope scope(nullptr);
  for (const ::Node* item : Items(create->relations)) {
    if (nodeTag(item) != T_RangeVar) {
      Fail("statistics on something that is not a table");
      continue;
    }
    NoteRelation(Operation::kAlter, As<::RangeVar>(item), false);
    scope.Add(NamedItem(DefinitionRange(As<::RangeVar>(item)), nullptr));
  }
  for (const ::Node* item : Items(create->exprs)) {
    const auto* element = As<::StatsElem>(item);
    StoredExpression(element->expr, scope);
    if (element->name == nullptr || scope.segments.empty()) continue;
    if (std::optional<Flow> flow = ColumnNamed(scope.segments[0].range, View(element->name))) NoteStored(*flow);
  }
}

}  // namespace postern::sql::internal
