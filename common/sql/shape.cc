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

}  // namespace

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

void Analyzer::NoteWriteShape(const ::Node* where, const Range& target) {
  ++writes_seen_;
  if (NamesColumn(where)) ++writes_with_where_;
  EqualityColumns(where, target);
}

}  // namespace postern::sql::internal
