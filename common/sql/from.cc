// FROM: relations, subqueries, functions, joins.
#include <algorithm>

#include "common/sql/analyzer.h"
#include "common/sql/builtin_functions.h"
#include "fmt/format.h"

namespace postern::sql::internal {
namespace {

// Columns that both sides of a join show, in the order of the left side.
std::vector<std::string_view> CommonColumns(const FromItem& left, const FromItem& right, bool* unknown) {
  const auto columns = [unknown](const FromItem& item) {
    std::vector<std::string_view> names;
    for (const Segment& segment : item.segments) {
      if (segment.range->open) *unknown = true;
      for (int i = 0; i < segment.range->size(); ++i) {
        if (!segment.IsHidden(segment.range->ColumnName(i))) names.push_back(segment.range->ColumnName(i));
      }
    }
    return names;
  };
  const std::vector<std::string_view> right_names = columns(right);
  std::vector<std::string_view> common;
  for (std::string_view name : columns(left)) {
    if (std::find(right_names.begin(), right_names.end(), name) != right_names.end()) common.push_back(name);
  }
  return common;
}

size_t Width(const FromItem& item) {
  size_t width = 0;
  for (const Segment& segment : item.segments) width += segment.range->size();
  return width;
}

void Hide(FromItem* item, const std::vector<std::string_view>& names) {
  for (Segment& segment : item->segments) segment.hidden.insert(segment.hidden.end(), names.begin(), names.end());
}

// Functions of pg_catalog whose result is an array of single values, whatever they are given.
bool MakesScalarArray(std::string_view name) {
  return name == "string_to_array" || name == "regexp_split_to_array" || name == "regexp_match" ||
         name == "regexp_matches" || name == "tsvector_to_array" || name == "parse_ident" ||
         name == "array_positions" || name == "current_schemas" || name == "pg_blocking_pids" || name == "xpath";
}

}  // namespace

void Analyzer::From(const ::List* items, Scope* scope, const Scope& outer) {
  for (const ::Node* node : Items(items)) scope->Add(FromNode(node, *scope, outer));
}

FromItem Analyzer::NamedItem(Range* range, const ::Alias* alias) {
  FromItem item;
  if (alias != nullptr) {
    int i = 0;
    const Items names(alias->colnames);
    if (!range->open && names.size() > range->size()) Fail("an alias names more columns than there are");
    for (const ::Node* name : names) {
      if (range->open && i >= range->size()) {
        // The alias names a column that was not known before.
        range->columns.push_back({std::string(StringOf(name)), range->rest});
      }
      range->renames.push_back(StringOf(name));
      ++i;
    }
  }
  const std::string_view name = alias != nullptr ? View(alias->aliasname) : std::string_view(range->name);
  if (!name.empty()) item.names.push_back({name, range});
  item.segments.push_back({range, {}});
  return item;
}

FromItem Analyzer::FromNode(const ::Node* node, const Scope& lateral, const Scope& outer) {
  const Depth depth(this);
  if (!depth.ok()) return {};
  switch (nodeTag(node)) {
    case T_RangeVar:
      return FromRelation(As<::RangeVar>(node), outer);
    case T_RangeSubselect:
      return FromSubquery(As<::RangeSubselect>(node), lateral, outer);
    case T_RangeFunction:
      return FromFunction(As<::RangeFunction>(node), lateral);
    case T_RangeTableFunc:
      return FromTableFunc(As<::RangeTableFunc>(node), lateral);
    case T_RangeTableSample: {
      const auto* sample = As<::RangeTableSample>(node);
      FromItem item = FromNode(sample->relation, lateral, outer);
      for (const Segment& segment : item.segments) segment.range->sampled = true;
      Flow flow;
      Expressions(sample->args, lateral, &flow);
      Expression(sample->repeatable, lateral, &flow);
      NotePredicate(flow, false);
      const QualifiedName method = SplitName(sample->method);
      if ((!method.schema.empty() && method.schema != "pg_catalog") ||
          (method.name != "bernoulli" && method.name != "system")) {
        Fail(fmt::format("sampling method {} is not known", method.name));
      }
      return item;
    }
    case T_JoinExpr:
      return FromJoin(As<::JoinExpr>(node), lateral, outer);
    default:
      Fail(fmt::format("FROM item of node {} is not known", static_cast<int>(nodeTag(node))));
      return {};
  }
}

FromItem Analyzer::FromRelation(const ::RangeVar* var, const Scope& outer) {
  if (var->schemaname == nullptr) {
    if (const Cte* cte = FindCte(outer, View(var->relname))) {
      Range* range = NewRange();
      for (const RangeColumn& column : cte->rows.columns) Spend(1 + column.flow.sources.size() / 8);
      range->columns = cte->rows.columns;
      range->open = cte->rows.open;
      range->rest = cte->rows.rest;
      FromItem item = NamedItem(range, var->alias);
      if (var->alias == nullptr) item.names.push_back({View(var->relname), range});
      return item;
    }
  }
  Range* range = RelationRange(var, false);
  range->named = var;
  return NamedItem(range, var->alias);
}

FromItem Analyzer::FromSubquery(const ::RangeSubselect* subselect, const Scope& lateral, const Scope& outer) {
  Rows rows = Query(subselect->subquery, subselect->lateral ? lateral : outer);
  Range* range = NewRange();
  range->columns = std::move(rows.columns);
  range->open = rows.open;
  range->rest = std::move(rows.rest);
  return NamedItem(range, subselect->alias);
}

FromItem Analyzer::FromFunction(const ::RangeFunction* function, const Scope& lateral) {
  Range* range = NewRange();
  const Items calls(function->functions);
  for (const ::Node* entry : calls) {
    const Items pair(entry);
    const ::Node* call = pair[0];
    Flow flow;
    Expression(call, lateral, &flow);
    flow.Compute();
    const auto* definitions = pair.size() > 1 ? reinterpret_cast<const ::List*>(pair[1]) : nullptr;
    if (Items(definitions).empty()) definitions = function->coldeflist;
    AddFunctionColumns(call, definitions, flow, lateral, range);
    range->rest.Add(flow);
  }
  if (function->ordinality) range->columns.push_back({"ordinality", {}});
  const bool one_column = !range->open && range->columns.size() == (function->ordinality ? 2u : 1u);
  // FROM f(…) AS x names the column, too, when there is one.
  if (one_column && calls.size() == 1 && function->alias != nullptr && function->coldeflist == nullptr &&
      range->columns[0].name == OutputName(Items(calls[0])[0])) {
    range->columns[0].name = std::string(View(function->alias->aliasname));
  }
  FromItem item = NamedItem(range, function->alias);
  if (function->alias == nullptr && calls.size() == 1) item.names.push_back({FunctionName(Items(calls[0])[0]), range});
  return item;
}

std::string_view Analyzer::FunctionName(const ::Node* call) {
  return nodeTag(call) == T_FuncCall ? SplitName(As<::FuncCall>(call)->funcname).name : std::string_view();
}

bool Analyzer::IsScalar(const ::Node* node, const Scope& scope) {
  const Depth depth(this);
  if (!depth.ok() || node == nullptr) return false;
  const auto all = [&](const ::List* nodes) {
    for (const ::Node* item : Items(nodes)) {
      if (!IsScalar(item, scope)) return false;
    }
    return true;
  };
  switch (nodeTag(node)) {
    case T_A_Const:
    case T_SQLValueFunction:
      return true;
    case T_TypeCast: {
      const QualifiedName type = SplitName(As<::TypeCast>(node)->typeName->names);
      return (type.schema.empty() || type.schema == "pg_catalog") && IsBuiltinScalarType(type.name);
    }
    case T_A_ArrayExpr:
      return all(As<::A_ArrayExpr>(node)->elements);
    case T_CoalesceExpr:
      return all(As<::CoalesceExpr>(node)->args);
    case T_MinMaxExpr:
      return all(As<::MinMaxExpr>(node)->args);
    case T_FuncCall: {
      const QualifiedName name = SplitName(As<::FuncCall>(node)->funcname);
      return MakesScalarArray(name.name) && UserFunctions(name.schema, name.name).empty();
    }
    case T_ColumnRef: {
      // Types of users may be rows, or arrays of them; so are a few of the server's own, by the numbers of their
      // arrays.
      const Items fields(As<::ColumnRef>(node)->fields);
      if (nodeTag(fields[fields.size() - 1]) != T_String) return false;
      const Flow flow = Column(As<::ColumnRef>(node), scope);
      const Relation* relation = flow.bare.has_value() ? catalog_.FindRelation(flow.bare->relation) : nullptr;
      if (relation == nullptr) return false;
      for (const postern::sql::Column& column : relation->columns) {
        if (column.attnum != flow.bare->attnum) continue;
        constexpr Oid kFirstGenbki = 10000, kTypeArray = 210, kAttributeArray = 270, kClassArray = 273,
                      kRecordArray = 2287;
        return column.type < kFirstGenbki && column.type != kTypeArray && column.type != kRecordArray &&
               !(column.type >= kAttributeArray && column.type <= kClassArray);
      }
      return false;
    }
    default:
      return false;
  }
}

void Analyzer::AddFunctionColumns(const ::Node* call, const ::List* definitions, const Flow& flow, const Scope& lateral,
                                  Range* range) {
  if (!Items(definitions).empty()) {
    for (const ::Node* definition : Items(definitions)) {
      range->columns.push_back({std::string(View(As<::ColumnDef>(definition)->colname)), flow});
    }
    return;
  }
  if (nodeTag(call) != T_FuncCall) {
    // CURRENT_DATE, CAST(…), COALESCE(…) in FROM.
    if (IsScalar(call, lateral)) {
      range->columns.push_back({OutputName(call), flow});
    } else {
      range->open = true;
    }
    return;
  }
  const QualifiedName name = SplitName(As<::FuncCall>(call)->funcname);
  const bool builtin = (name.schema.empty() || name.schema == "pg_catalog") &&
                       ClassifyBuiltin(name.name) == BuiltinClass::kHarmless &&
                       UserFunctions(name.schema, name.name).empty();
  const std::vector<std::string_view> columns = BuiltinColumns(name.name);
  if (builtin && name.name == "unnest") {
    for (const ::Node* array : Items(As<::FuncCall>(call)->args)) {
      // Of rows it makes a column for each of theirs.
      if (range->open || !IsScalar(array, lateral)) {
        range->open = true;
      } else {
        range->columns.push_back({"unnest", flow});
      }
    }
  } else if (builtin && !columns.empty()) {
    for (std::string_view column : columns) range->columns.push_back({std::string(column), flow});
  } else if (builtin && name.name.find("populate_record") == std::string_view::npos) {
    range->columns.push_back({std::string(name.name), flow});
  } else {
    // Its row type is not known here.
    range->open = true;
  }
}

FromItem Analyzer::FromTableFunc(const ::RangeTableFunc* table, const Scope& lateral) {
  Flow flow;
  Expression(table->docexpr, lateral, &flow);
  Expression(table->rowexpr, lateral, &flow);
  Expressions(table->namespaces, lateral, &flow);
  for (const ::Node* node : Items(table->columns)) {
    const auto* column = As<::RangeTableFuncCol>(node);
    Expression(column->colexpr, lateral, &flow);
    Expression(column->coldefexpr, lateral, &flow);
    TypeUse(column->typeName);
  }
  flow.Compute();
  Range* range = NewRange();
  for (const ::Node* node : Items(table->columns)) {
    range->columns.push_back({std::string(View(As<::RangeTableFuncCol>(node)->colname)), flow});
  }
  return NamedItem(range, table->alias);
}

Flow Analyzer::JoinColumn(const FromItem& item, std::string_view name) {
  for (const Segment& segment : item.segments) {
    if (segment.IsHidden(name)) continue;
    for (int i = 0; i < segment.range->size(); ++i) {
      if (segment.range->ColumnName(i) == name) return ColumnAt(segment.range, i);
    }
  }
  for (const Segment& segment : item.segments) {
    if (!segment.range->open) continue;
    if (std::optional<Flow> flow = ColumnNamed(segment.range, name)) return *std::move(flow);
  }
  Fail(fmt::format("column {} of USING does not exist", name));
  return {};
}

FromItem Analyzer::FromJoin(const ::JoinExpr* join, const Scope& lateral, const Scope& outer) {
  FromItem left = FromNode(join->larg, lateral, outer);
  Scope beside(&lateral);
  beside.Add(left);
  FromItem right = FromNode(join->rarg, beside, outer);

  std::vector<std::string_view> merged;
  if (join->isNatural) {
    bool unknown = false;
    Spend(Width(left) * Width(right) / 32);
    if (!failed()) merged = CommonColumns(left, right, &unknown);
    if (unknown) Fail("NATURAL JOIN with columns that are not known");
  }
  for (const ::Node* name : Items(join->usingClause)) merged.push_back(StringOf(name));

  FromItem item;
  if (!merged.empty()) {
    uses_operators_ = true;
    Range* range = NewRange();
    for (std::string_view name : merged) {
      const Flow from_left = JoinColumn(left, name);
      const Flow from_right = JoinColumn(right, name);
      NotePredicate(from_left, false);
      NotePredicate(from_right, false);
      Flow flow = join->jointype == JOIN_RIGHT ? from_right : from_left;
      flow.Add(join->jointype == JOIN_RIGHT ? from_left : from_right);
      if (join->jointype == JOIN_FULL) flow.Compute();
      range->columns.push_back({std::string(name), std::move(flow)});
    }
    Hide(&left, merged);
    Hide(&right, merged);
    item.segments.push_back({range, {}});
    if (join->join_using_alias != nullptr) {
      item.names.push_back({View(join->join_using_alias->aliasname), range});
    }
  }
  for (const FromItem* side : {&left, &right}) {
    item.names.insert(item.names.end(), side->names.begin(), side->names.end());
    item.segments.insert(item.segments.end(), side->segments.begin(), side->segments.end());
  }
  if (join->quals != nullptr) {
    Scope on(&outer);
    on.Add(left);
    on.Add(right);
    Predicate(join->quals, on);
  }
  if (join->alias == nullptr) return item;

  // (a JOIN b) AS j: only j is visible.
  Range* range = NewRange();
  for (const Segment& segment : item.segments) {
    Spend(segment.range->size());
    for (int i = 0; i < segment.range->size(); ++i) {
      const std::string_view name = segment.range->ColumnName(i);
      if (segment.IsHidden(name)) continue;
      range->columns.push_back({std::string(name), {}});
      range->forwards.push_back({segment.range, i});
    }
    range->open = range->open || segment.range->open;
    range->rest.Add(segment.range->rest);
  }
  return NamedItem(range, join->alias);
}

}  // namespace postern::sql::internal
