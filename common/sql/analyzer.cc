#include "common/sql/analyzer.h"

#include <algorithm>

#include "common/sql/node_table.h"
#include "fmt/format.h"

namespace postern::sql::internal {
namespace {

void SortUnique(std::vector<ColumnId>* columns) {
  std::sort(columns->begin(), columns->end());
  columns->erase(std::unique(columns->begin(), columns->end()), columns->end());
}

}  // namespace

const Statement* MessageState::FindPrepared(std::string_view name) const {
  auto it = prepared.find(name);
  return it != prepared.end() ? &it->second : session.FindPrepared(name);
}

const Statement* MessageState::FindCursor(std::string_view name) const {
  auto it = cursors.find(name);
  return it != cursors.end() ? &it->second : session.FindCursor(name);
}

Analyzer::Depth::Depth(Analyzer* analyzer) : analyzer_(analyzer) {
  const Limits& limits = analyzer_->message_.options.limits;
  ok_ = ++analyzer_->depth_ <= limits.max_depth;
  if (!ok_) analyzer_->Fail("it is nested too deeply");
  analyzer_->Spend(1);
  ok_ = ok_ && analyzer_->steps_ <= limits.max_steps;
}

void Analyzer::Spend(size_t steps) {
  steps_ += static_cast<int64_t>(steps);
  if (steps_ > message_.options.limits.max_steps) Fail("it takes too much work to analyse");
}

void Analyzer::Fail(std::string reason) {
  if (!failure_.has_value()) failure_ = std::move(reason);
}

int Analyzer::EffectIndex(Operation operation, ObjectKind kind, std::string_view schema, std::string_view name, Oid oid,
                          bool derived, int location) {
  for (size_t i = 0; i < result_.effects.size(); ++i) {
    const Effect& effect = result_.effects[i];
    if (effect.operation == operation && effect.object_kind == kind && effect.derived == derived &&
        effect.name == name && effect.schema == schema) {
      return static_cast<int>(i);
    }
  }
  Effect& effect = result_.effects.emplace_back();
  effect.operation = operation;
  effect.object_kind = kind;
  effect.schema = std::string(schema);
  effect.name = std::string(name);
  effect.oid = oid;
  effect.derived = derived;
  effect.location = location;
  return static_cast<int>(result_.effects.size()) - 1;
}

void Analyzer::NoteNamed(Operation operation, std::string_view name, ObjectKind kind, int location) {
  EffectIndex(operation, name.empty() ? ObjectKind::kNone : kind, "", name, 0, false, location);
}

void Analyzer::NotePredicate(const Flow& flow, bool equality) {
  for (const ColumnId& column : flow.sources) predicates_.Add(column, equality);
}

void Analyzer::NoteStored(const Flow& flow) { stored_.AddAll(flow.sources); }

void Analyzer::NoteComputed(const Flow& flow) { computed_.AddAll(flow.sources); }

void Analyzer::NoteTouched(const Relation& relation, bool with_descendants) {
  result_.relations.push_back(relation.oid);
  if (!with_descendants) return;
  const std::vector<const Relation*> children = catalog_.Descendants(relation.oid);
  Spend(children.size());
  for (const Relation* child : children) result_.relations.push_back(child->oid);
}

int Analyzer::ReadEffect(Range* range) {
  if (range->read_effect < 0) {
    range->read_effect =
        EffectIndex(Operation::kSelect, ObjectKind::kRelation, range->schema, range->name,
                    range->relation == nullptr ? 0 : range->relation->oid, range->read_derived, range->location);
  }
  return range->read_effect;
}

void Analyzer::SetKind(StatementKind kind, std::string_view tag) {
  result_.kind = kind;
  result_.tag = std::string(tag);
}

void Analyzer::SetOutputs(const Rows& rows) {
  result_.outputs.clear();
  result_.outputs_known = !rows.open;
  for (const RangeColumn& column : rows.columns) {
    OutputColumn& output = result_.outputs.emplace_back();
    output.name = column.name;
    output.bare = column.flow.bare;
    output.origin = column.flow.origin;
    output.opaque = column.flow.opaque;
    output.from_call = column.flow.from_call;
    output.sources.assign(column.flow.sources.begin(), column.flow.sources.end());
    SortUnique(&output.sources);
  }
}

Statement Analyzer::Run(const ::RawStmt* raw, int text_length) {
  result_.begin = raw->stmt_location;
  result_.length = raw->stmt_len > 0 ? raw->stmt_len : text_length - raw->stmt_location;
  if (result_.begin < 0 || result_.length < 0 || result_.begin + result_.length > text_length) {
    Fail("its place in the text is not clear");
  }
  const StatementRow* row = StatementRowOf(nodeTag(raw->stmt));
  if (row == nullptr || row->handler == nullptr) {
    Fail(fmt::format("statement node {} is not known", static_cast<int>(nodeTag(raw->stmt))));
  } else {
    SetKind(row->kind, row->tag);
    (this->*row->handler)(raw->stmt);
  }
  Finish();
  return std::move(result_);
}

void Analyzer::FinishOperators() {
  if (!uses_operators_) return;
  for (const std::string& schema : message_.search_path) {
    if (schema == "pg_catalog" || !catalog_.SchemaHasOperators(schema)) continue;
    EffectIndex(Operation::kCall, ObjectKind::kFunction, schema, "operators", 0, false, -1);
  }
}

void Analyzer::Finish() {
  FinishOperators();
  if (failure_.has_value()) {
    // Position and kind stay, for the record; nothing else of a statement that was not understood may be used.
    Statement refused;
    refused.kind = result_.kind;
    refused.tag = result_.tag;
    refused.begin = result_.begin;
    refused.length = result_.length;
    refused.unanalysable = std::move(failure_);
    result_ = std::move(refused);
    return;
  }
  predicates_.Compact();
  for (const PredicateSet::Use& use : predicates_) {
    result_.predicates.push_back(use.column);
    if (use.equality) result_.equality_only_predicates.push_back(use.column);
  }
  // EXECUTE and FETCH have copied those of their definition.
  result_.stored.insert(result_.stored.end(), stored_.begin(), stored_.end());
  result_.computed.insert(result_.computed.end(), computed_.begin(), computed_.end());
  std::sort(result_.read_constants.begin(), result_.read_constants.end());
  SortUnique(&result_.stored);
  SortUnique(&result_.computed);
  std::sort(result_.relations.begin(), result_.relations.end());
  result_.relations.erase(std::unique(result_.relations.begin(), result_.relations.end()), result_.relations.end());
  for (Effect& effect : result_.effects) {
    std::sort(effect.columns.begin(), effect.columns.end());
    effect.columns.erase(std::unique(effect.columns.begin(), effect.columns.end()), effect.columns.end());
    // PREPARE and DECLARE carry the effects of what they define, and do not have them yet.
    if (result_.kind == StatementKind::kPrepare) continue;
    if (OperationWrites(effect.operation) && !effect.derived) result_.writes = true;
    if (OperationChangesCatalog(effect.operation)) result_.changes_catalog = true;
  }
  if (shape_replayed_) return;
  if (gathers_rows_) result_.shape.limit.reset();
  if (relations_named_ != 1) result_.shape.where_equality.clear();
  if (writes_seen_ > 0) result_.shape.has_where = writes_with_where_ == writes_seen_;
  if (writes_seen_ > 1) result_.shape.where_equality.clear();
}

std::unique_ptr<Lineage> Analyzer::RunLineage(const ::Node* query) {
  auto lineage = std::make_unique<Lineage>();
  const Scope outer(nullptr);
  Rows rows = Query(query, outer);
  if (rows.open) Fail("its columns are not all known");
  if (select_into_) Fail("it creates a table");
  lineage->uses_operators = uses_operators_;
  if (failure_.has_value()) {
    lineage->failure = *failure_;
    return lineage;
  }
  for (RangeColumn& column : rows.columns) {
    column.flow.row = nullptr;
    lineage->columns.push_back(std::move(column.flow));
  }
  lineage->effects = std::move(result_.effects);
  for (Effect& effect : lineage->effects) {
    effect.derived = true;
    effect.location = -1;
  }
  lineage->relations = std::move(result_.relations);
  predicates_.Compact();
  for (const PredicateSet::Use& use : predicates_) lineage->predicates.push_back(use.column);
  return lineage;
}

}  // namespace postern::sql::internal
