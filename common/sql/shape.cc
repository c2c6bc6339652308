// What policies may require of a statement's shape: WHERE, equality on given columns, LIMIT.
#include <algorithm>

#include "common/sql/analyzer.h"

namespace postern::sql::internal {
namespace {

// The column of `range` that a plain reference names, if it can only mean that: t.column or column.
std::string_view ColumnOf(const ::Node* node, const Range& range) {
  if (node == nullptr || nodeTag(node) != T_ColumnRef) return {};
  const Items fields(As<::ColumnRef>(node)->fields);
  if (fields.size() > 2 || nodeTag(fields[fields.size() - 1]) != T_String) return {};
  const std::string_view name = StringOf(fields[fields.size() - 1]);
  if (range.open) return name;
  for (int i = 0; i < range.size(); ++i) {
    if (range.ColumnName(i) != name) continue;
    return range.relation != nullptr ? std::string_view(range.relation->columns[i].name) : name;
  }
  return {};
}

// Looks for a column anywhere in the kinds of node that conditions are made of. Subqueries count as naming one.
bool NamesColumnWithin(const ::Node* node, int depth) {
  if (node == nullptr) return false;
  if (depth == 0) return true;
  const auto any = [depth](const ::List* list) {
    for (const ::Node* item : Items(list)) {
      if (NamesColumnWithin(item, depth - 1)) return true;
    }
    return false;
  };
  switch (nodeTag(node)) {
    case T_A_Const:
    case T_ParamRef:
    case T_SQLValueFunction:
      return false;
    case T_TypeCast:
      return NamesColumnWithin(As<::TypeCast>(node)->arg, depth - 1);
    case T_A_Expr:
      return NamesColumnWithin(As<::A_Expr>(node)->lexpr, depth - 1) ||
             NamesColumnWithin(As<::A_Expr>(node)->rexpr, depth - 1);
    case T_BoolExpr:
      return any(As<::BoolExpr>(node)->args);
    case T_List:
      return any(reinterpret_cast<const ::List*>(node));
    case T_FuncCall:
      return any(As<::FuncCall>(node)->args);
    case T_NullTest:
      return NamesColumnWithin(reinterpret_cast<const ::Node*>(As<::NullTest>(node)->arg), depth - 1);
    case T_BooleanTest:
      return NamesColumnWithin(reinterpret_cast<const ::Node*>(As<::BooleanTest>(node)->arg), depth - 1);
    case T_A_ArrayExpr:
      return any(As<::A_ArrayExpr>(node)->elements);
    case T_RowExpr:
      return any(As<::RowExpr>(node)->args);
    default:
      return true;
  }
}

std::vector<const ::Node*> Conjuncts(const ::Node* node) {
  std::vector<const ::Node*> parts;
  if (node == nullptr) return parts;
  if (nodeTag(node) == T_BoolExpr && As<::BoolExpr>(node)->boolop == AND_EXPR) {
    // The grammar has made one flat list of them.
    for (const ::Node* part : Items(As<::BoolExpr>(node)->args)) parts.push_back(part);
  } else {
    parts.push_back(node);
  }
  return parts;
}

bool IsCountOfRows(const ::Node* node) {
  if (node == nullptr || nodeTag(node) != T_FuncCall) return false;
  const auto* call = As<::FuncCall>(node);
  const QualifiedName name = SplitName(call->funcname);
  return name.name == "count" && (name.schema.empty() || name.schema == "pg_catalog") && call->agg_star &&
         call->agg_filter == nullptr && call->over == nullptr;
}

std::optional<int64_t> IntegerConstant(const ::Node* node) {
  if (node == nullptr || nodeTag(node) != T_A_Const) return std::nullopt;
  const auto* constant = As<::A_Const>(node);
  if (constant->isnull || nodeTag(&constant->val.node) != T_Integer) return std::nullopt;
  return constant->val.ival.ival;
}

// N of count(*) >= N, in one of its spellings.
std::optional<int64_t> LeastCount(const ::Node* node) {
  if (nodeTag(node) != T_A_Expr || As<::A_Expr>(node)->kind != AEXPR_OP) return std::nullopt;
  const auto* expr = As<::A_Expr>(node);
  const QualifiedName name = SplitName(expr->name);
  if (!name.schema.empty() && name.schema != "pg_catalog") return std::nullopt;
  if (IsCountOfRows(expr->lexpr) && (name.name == ">=" || name.name == ">")) {
    const std::optional<int64_t> least = IntegerConstant(expr->rexpr);
    return least.has_value() && name.name == ">" ? *least + 1 : least;
  }
  if (IsCountOfRows(expr->rexpr) && (name.name == "<=" || name.name == "<")) {
    const std::optional<int64_t> least = IntegerConstant(expr->lexpr);
    return least.has_value() && name.name == "<" ? *least + 1 : least;
  }
  return std::nullopt;
}

}  // namespace

const ::Node* LimitOf(const ::SelectStmt* select) {
  return static_cast<int>(select->limitOption) == kLimitWithTies ? nullptr : select->limitCount;
}

bool NamesColumn(const ::Node* node) { return NamesColumnWithin(node, 64); }

void Analyzer::EqualityColumns(const ::Node* where, const Range& range) {
  if (where == nullptr) return;
  if (nodeTag(where) == T_BoolExpr && As<::BoolExpr>(where)->boolop == AND_EXPR) {
    for (const ::Node* part : Items(As<::BoolExpr>(where)->args)) EqualityColumns(part, range);
    return;
  }
  if (nodeTag(where) != T_A_Expr) return;
  const auto* expr = As<::A_Expr>(where);
  const QualifiedName name = SplitName(expr->name);
  if (name.name != "=" || (!name.schema.empty() && name.schema != "pg_catalog")) return;
  std::string_view column;
  if (expr->kind == AEXPR_OP) {
    if (IsConstantLike(expr->rexpr)) column = ColumnOf(expr->lexpr, range);
    if (IsConstantLike(expr->lexpr)) column = ColumnOf(expr->rexpr, range);
  } else if (expr->kind == AEXPR_IN && nodeTag(expr->rexpr) == T_List && AllConstant(expr->rexpr)) {
    column = ColumnOf(expr->lexpr, range);
  } else if (expr->kind == AEXPR_OP_ANY && IsConstantLike(expr->rexpr)) {
    column = ColumnOf(expr->lexpr, range);
  }
  auto& columns = result_.shape.where_equality;
  if (!column.empty() && std::find(columns.begin(), columns.end(), column) == columns.end()) {
    columns.emplace_back(column);
  }
}

void Analyzer::NoteShape(const ::Node* where, const Range* target, const ::Node* limit) {
  result_.shape.has_where = NamesColumn(where);
  if (target != nullptr) EqualityColumns(where, *target);
  NoteConstantRead(limit);
  if (limit == nullptr || nodeTag(limit) != T_A_Const) return;
  const auto* constant = As<::A_Const>(limit);
  if (!constant->isnull && nodeTag(&constant->val.node) == T_Integer) result_.shape.limit = constant->val.ival.ival;
}

void Analyzer::NoteGroups(const ::SelectStmt* select, const Range& single) {
  // A join or a view may show a row several times over, and so make a group of one.
  const bool rows_of_a_table = single.relation != nullptr && single.relation->kind != RelationKind::kView;
  if (!rows_of_a_table || relations_named_ != 1 || has_subqueries_ || select->withClause != nullptr) return;
  if (!UserFunctions("", "count").empty()) return;
  for (const ::Node* condition : Conjuncts(select->havingClause)) {
    const std::optional<int64_t> least = LeastCount(condition);
    if (!least.has_value()) continue;
    for (const ::Node* side : {As<::A_Expr>(condition)->lexpr, As<::A_Expr>(condition)->rexpr}) NoteConstantRead(side);
    result_.shape.group_min = std::max(result_.shape.group_min.value_or(0), *least);
  }
}

void Analyzer::NoteWriteShape(const ::Node* where, const Range& target) {
  ++writes_seen_;
  if (NamesColumn(where)) ++writes_with_where_;
  EqualityColumns(where, target);
}

}  // namespace postern::sql::internal
