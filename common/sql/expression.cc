// Expressions: what a value depends on, and which columns a predicate tests.
#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "common/sql/analyzer.h"
#include "common/sql/builtin_functions.h"
#include "common/sql/node_table.h"
#include "fmt/format.h"

namespace postern::sql::internal {
namespace {

bool IsOperatorNamed(const ::A_Expr* expr, std::string_view name) {
  const QualifiedName operator_name = SplitName(expr->name);
  return operator_name.name == name && (operator_name.schema.empty() || operator_name.schema == "pg_catalog");
}

// A column and nothing else. `t.*` and bare `*` are not.
bool IsPlainColumn(const ::Node* node) {
  if (node == nullptr || nodeTag(node) != T_ColumnRef) return false;
  const Items fields(As<::ColumnRef>(node)->fields);
  return fields.size() > 0 && nodeTag(fields[fields.size() - 1]) == T_String;
}

bool IsComparison(const ::A_Expr* expr) {
  switch (expr->kind) {
    case AEXPR_IN:
    case AEXPR_LIKE:
    case AEXPR_ILIKE:
    case AEXPR_BETWEEN:
    case AEXPR_NOT_BETWEEN:
    case AEXPR_BETWEEN_SYM:
    case AEXPR_NOT_BETWEEN_SYM:
    case AEXPR_DISTINCT:
    case AEXPR_NOT_DISTINCT:
    case AEXPR_OP_ANY:
    case AEXPR_OP_ALL:
      return true;
    case AEXPR_OP:
      for (const std::string_view name : {"=", "<>", "!=", "<", ">", "<=", ">="}) {
        if (IsOperatorNamed(expr, name)) return expr->lexpr != nullptr;
      }
      return false;
    default:
      return false;
  }
}

// `column = constant` in one of its spellings.
bool IsEqualityWithConstant(const ::A_Expr* expr) {
  if (!IsOperatorNamed(expr, "=")) return false;
  switch (expr->kind) {
    case AEXPR_OP:
      return (IsPlainColumn(expr->lexpr) && IsConstantLike(expr->rexpr)) ||
             (IsConstantLike(expr->lexpr) && IsPlainColumn(expr->rexpr));
    case AEXPR_IN:
      return IsPlainColumn(expr->lexpr) && nodeTag(expr->rexpr) == T_List && AllConstant(expr->rexpr);
    case AEXPR_OP_ANY:
      return IsPlainColumn(expr->lexpr) && IsConstantLike(expr->rexpr);
    case AEXPR_NOT_DISTINCT:
      return IsPlainColumn(expr->lexpr) && IsConstantLike(expr->rexpr);
    default:
      return false;
  }
}

}  // namespace

bool IsConstantLike(const ::Node* node) {
  // Casts and array literals nest a few levels in practice; deeper ones are no plain constant.
  for (int i = 0; i < 8 && node != nullptr; ++i) {
    switch (nodeTag(node)) {
      case T_A_Const:
      case T_ParamRef:
        return true;
      case T_TypeCast:
        node = As<::TypeCast>(node)->arg;
        break;
      case T_A_ArrayExpr:
        for (const ::Node* item : Items(As<::A_ArrayExpr>(node)->elements)) {
          if (nodeTag(item) == T_TypeCast) item = As<::TypeCast>(item)->arg;
          if (nodeTag(item) != T_A_Const && nodeTag(item) != T_ParamRef) return false;
        }
        return true;
      default:
        return false;
    }
  }
  return false;
}

bool AllConstant(const ::Node* list) {
  for (const ::Node* item : Items(list)) {
    if (!IsConstantLike(item)) return false;
  }
  return true;
}

// A cast that leaves the text as it is: 'x'::text, 'x'::regclass. Not to varchar(3), which cuts it.
bool KeepsText(const ::TypeName* type) {
  if (type == nullptr || type->typmods != nullptr || type->arrayBounds != nullptr || type->setof) return false;
  const QualifiedName name = SplitName(type->names);
  return (name.schema.empty() || name.schema == "pg_catalog") &&
         (name.name == "text" || name.name == "varchar" || name.name == "regclass");
}

std::optional<std::string> ConstantText(const ::Node* node) {
  while (node != nullptr && nodeTag(node) == T_TypeCast && KeepsText(As<::TypeCast>(node)->typeName)) {
    node = As<::TypeCast>(node)->arg;
  }
  if (node == nullptr || nodeTag(node) != T_A_Const) return std::nullopt;
  const auto* constant = As<::A_Const>(node);
  if (constant->isnull || nodeTag(&constant->val.node) != T_String) return std::nullopt;
  return std::string(View(constant->val.sval.sval));
}

void Analyzer::NoteConstantRead(const ::Node* node) {
  while (node != nullptr && nodeTag(node) == T_TypeCast) node = As<::TypeCast>(node)->arg;
  if (node == nullptr || nodeTag(node) != T_A_Const) return;
  result_.read_constants.push_back(As<::A_Const>(node)->location);
}

std::optional<std::string> Analyzer::ReadConstant(const ::Node* node) {
  NoteConstantRead(node);
  return ConstantText(node);
}

void Analyzer::Expression(const ::Node* node, const Scope& scope, Flow* out) {
  if (node == nullptr) return;
  const Depth depth(this);
  if (!depth.ok()) return;
  const ExpressionHandler handler = ExpressionHandlerOf(nodeTag(node));
  if (handler == nullptr) {
    Fail(fmt::format("expression node {} is not known", static_cast<int>(nodeTag(node))));
    return;
  }
  (this->*handler)(node, scope, out);
}

void Analyzer::Expressions(const ::List* nodes, const Scope& scope, Flow* out) {
  for (const ::Node* node : Items(nodes)) Expression(node, scope, out);
}

Flow Analyzer::Value(const ::Node* node, const Scope& scope) {
  if (node == nullptr) return {};
  if (IsPlainColumn(node)) return Column(As<::ColumnRef>(node), scope);
  Flow flow;
  if (nodeTag(node) == T_A_Indirection) {
    // (t).column is the column itself.
    const auto* indirection = As<::A_Indirection>(node);
    const Items steps(indirection->indirection);
    if (steps.size() == 1 && nodeTag(steps[0]) == T_String && IsPlainColumn(indirection->arg)) {
      const Flow row = Column(As<::ColumnRef>(indirection->arg), scope);
      if (row.row != nullptr) {
        if (std::optional<Flow> field = RowField(row, StringOf(steps[0]))) return *std::move(field);
      }
      flow.Add(row);
      NoteComputed(flow);
      return flow;
    }
  }
  Expression(node, scope, &flow);
  flow.Compute();
  return flow;
}

bool Analyzer::Operator(const ::List* name) {
  const QualifiedName operator_name = SplitName(name);
  if (operator_name.schema.empty()) {
    uses_operators_ = true;
    // BETWEEN and its kin stand in the tree under their own names.
    const bool is_word = !operator_name.name.empty() && absl::ascii_isalpha(operator_name.name[0]);
    return !is_word && !IsBuiltinOperator(operator_name.name);
  }
  if (operator_name.schema == "pg_catalog") return false;
  EffectIndex(Operation::kCall, ObjectKind::kFunction, operator_name.schema, "operators", 0, false, -1);
  return true;
}

void Analyzer::TypeUse(const ::TypeName* type) {
  if (type == nullptr) return;
  if (SplitName(type->names).schema != "pg_catalog") uses_operators_ = true;
}

void Analyzer::Predicate(const ::Node* node, const Scope& scope) {
  if (node == nullptr) return;
  // What is compared with is not written.
  const bool collecting = std::exchange(collecting_constants_, false);
  PredicatePart(node, scope);
  collecting_constants_ = collecting;
}

void Analyzer::CountGiven(const ::Node* node, bool is_array, ValueTest* test) {
  while (node != nullptr && nodeTag(node) == T_TypeCast) node = As<::TypeCast>(node)->arg;
  if (node == nullptr) return;
  switch (nodeTag(node)) {
    case T_List:
      test->values += Items(node).size();
      return;
    case T_A_ArrayExpr:
      test->values += is_array ? Items(As<::A_ArrayExpr>(node)->elements).size() : 1;
      return;
    case T_ParamRef:
      if (is_array) {
        test->array_parameters.push_back(As<::ParamRef>(node)->number);
      } else {
        ++test->values;
      }
      return;
    default:
      ++test->values;
      if (!is_array) return;
      // How many it has is its content's matter: at most one more than it has commas.
      NoteConstantRead(node);
      if (const std::optional<std::string> text = ConstantText(node)) {
        test->values += std::count(text->begin(), text->end(), ',');
      }
  }
}

void Analyzer::NoteValueTest(const Flow& flow, const ::Node* given, bool is_array) {
  ValueTest test;
  CountGiven(given, is_array, &test);
  for (const ColumnId& column : flow.sources) {
    test.column = column;
    result_.value_tests.push_back(test);
  }
}

void Analyzer::PredicatePart(const ::Node* node, const Scope& scope) {
  const Depth depth(this);
  if (!depth.ok()) return;
  if (nodeTag(node) == T_BoolExpr && As<::BoolExpr>(node)->boolop != NOT_EXPR) {
    for (const ::Node* part : Items(As<::BoolExpr>(node)->args)) PredicatePart(part, scope);
    return;
  }
  if (IsPlainColumn(node)) {
    NotePredicate(Column(As<::ColumnRef>(node), scope), false);
    return;
  }
  if (nodeTag(node) == T_NullTest && IsPlainColumn(reinterpret_cast<const ::Node*>(As<::NullTest>(node)->arg))) {
    const auto* column = reinterpret_cast<const ::ColumnRef*>(As<::NullTest>(node)->arg);
    NotePredicate(Column(column, scope), true);
    return;
  }
  if (nodeTag(node) == T_A_Expr && IsComparison(As<::A_Expr>(node))) {
    const auto* expr = As<::A_Expr>(node);
    const bool equality = IsEqualityWithConstant(expr);
    Operator(expr->name);
    for (const ::Node* side : {expr->lexpr, expr->rexpr}) {
      if (side == nullptr) continue;
      if (IsPlainColumn(side)) {
        const Flow column = Column(As<::ColumnRef>(side), scope);
        NotePredicate(column, equality);
        if (equality) {
          NoteValueTest(column, side == expr->lexpr ? expr->rexpr : expr->lexpr, expr->kind == AEXPR_OP_ANY);
        }
        continue;
      }
      Flow flow;
      Expression(side, scope, &flow);
      NotePredicate(flow, false);
    }
    return;
  }
  Flow flow;
  Expression(node, scope, &flow);
  NotePredicate(flow, false);
}

void Analyzer::ExprColumnRef(const ::Node* node, const Scope& scope, Flow* out) {
  const auto* ref = As<::ColumnRef>(node);
  Flow flow;
  if (IsPlainColumn(node)) {
    flow = Column(ref, scope);
  } else {
    // ROW(t.*), count(t.*): the row.
    Rows rows;
    Expand(scope, ref, &rows);
    flow.Add(rows.rest);
    for (const RangeColumn& column : rows.columns) flow.Add(column.flow);
  }
  NoteComputed(flow);
  out->Add(flow);
}

void Analyzer::ExprConst(const ::Node* node, const Scope&, Flow*) {
  if (!collecting_constants_) return;
  if (std::optional<std::string> text = ConstantText(node)) result_.written_constants.push_back(*std::move(text));
}

void Analyzer::ExprParam(const ::Node* node, const Scope&, Flow*) {
  const int number = As<::ParamRef>(node)->number;
  if (number <= 0) {
    Fail("a parameter has no number");
  } else if (number > result_.parameter_count) {
    result_.parameter_count = number;
  }
}

void Analyzer::ExprOperator(const ::Node* node, const Scope& scope, Flow* out) {
  const auto* expr = As<::A_Expr>(node);
  if (Operator(expr->name)) out->AddUnseen();
  Expression(expr->lexpr, scope, out);
  Expression(expr->rexpr, scope, out);
}

void Analyzer::ExprBool(const ::Node* node, const Scope& scope, Flow* out) {
  Expressions(As<::BoolExpr>(node)->args, scope, out);
}

void Analyzer::ExprList(const ::Node* node, const Scope& scope, Flow* out) {
  for (const ::Node* item : Items(node)) Expression(item, scope, out);
}

void Analyzer::ExprCast(const ::Node* node, const Scope& scope, Flow* out) {
  const auto* cast = As<::TypeCast>(node);
  TypeUse(cast->typeName);
  Expression(cast->arg, scope, out);
}

void Analyzer::ExprCollate(const ::Node* node, const Scope& scope, Flow* out) {
  Expression(As<::CollateClause>(node)->arg, scope, out);
}

void Analyzer::ExprIndirection(const ::Node* node, const Scope& scope, Flow* out) {
  const auto* indirection = As<::A_Indirection>(node);
  const Items steps(indirection->indirection);
  if (steps.size() == 1 && nodeTag(steps[0]) == T_String && IsPlainColumn(indirection->arg)) {
    const Flow flow = Value(node, scope);
    NoteComputed(flow);
    out->Add(flow);
    return;
  }
  Expression(indirection->arg, scope, out);
  for (const ::Node* step : steps) {
    if (nodeTag(step) != T_A_Indices) continue;
    Expression(As<::A_Indices>(step)->lidx, scope, out);
    Expression(As<::A_Indices>(step)->uidx, scope, out);
  }
}

void Analyzer::ExprArray(const ::Node* node, const Scope& scope, Flow* out) {
  Expressions(As<::A_ArrayExpr>(node)->elements, scope, out);
}

void Analyzer::ExprRow(const ::Node* node, const Scope& scope, Flow* out) {
  Expressions(As<::RowExpr>(node)->args, scope, out);
}

void Analyzer::ExprCase(const ::Node* node, const Scope& scope, Flow* out) {
  const auto* expr = As<::CaseExpr>(node);
  // CASE x WHEN y compares with the unqualified operator =.
  if (expr->arg != nullptr) uses_operators_ = true;
  Expression(reinterpret_cast<const ::Node*>(expr->arg), scope, out);
  for (const ::Node* item : Items(expr->args)) {
    const auto* when = As<::CaseWhen>(item);
    Expression(reinterpret_cast<const ::Node*>(when->expr), scope, out);
    Expression(reinterpret_cast<const ::Node*>(when->result), scope, out);
  }
  Expression(reinterpret_cast<const ::Node*>(expr->defresult), scope, out);
}

void Analyzer::ExprCoalesce(const ::Node* node, const Scope& scope, Flow* out) {
  Expressions(As<::CoalesceExpr>(node)->args, scope, out);
}

void Analyzer::ExprMinMax(const ::Node* node, const Scope& scope, Flow* out) {
  uses_operators_ = true;
  Expressions(As<::MinMaxExpr>(node)->args, scope, out);
}

// CURRENT_DATE, CURRENT_USER…
void Analyzer::ExprSqlValue(const ::Node*, const Scope&, Flow*) {}

void Analyzer::ExprXml(const ::Node* node, const Scope& scope, Flow* out) {
  const auto* xml = As<::XmlExpr>(node);
  Expressions(xml->named_args, scope, out);
  Expressions(xml->args, scope, out);
}

void Analyzer::ExprXmlSerialize(const ::Node* node, const Scope& scope, Flow* out) {
  TypeUse(As<::XmlSerialize>(node)->typeName);
  Expression(As<::XmlSerialize>(node)->expr, scope, out);
}

void Analyzer::ExprNullTest(const ::Node* node, const Scope& scope, Flow* out) {
  Expression(reinterpret_cast<const ::Node*>(As<::NullTest>(node)->arg), scope, out);
}

void Analyzer::ExprBooleanTest(const ::Node* node, const Scope& scope, Flow* out) {
  Expression(reinterpret_cast<const ::Node*>(As<::BooleanTest>(node)->arg), scope, out);
}

void Analyzer::ExprSubLink(const ::Node* node, const Scope& scope, Flow* out) {
  const auto* link = As<::SubLink>(node);
  has_subqueries_ = true;
  if (link->subLinkType == ANY_SUBLINK || link->subLinkType == ALL_SUBLINK) {
    if (link->operName == nullptr) {
      uses_operators_ = true;
    } else if (Operator(link->operName)) {
      out->AddUnseen();
    }
  }
  if (link->subLinkType == ARRAY_SUBLINK) gathers_rows_ = true;
  Expression(link->testexpr, scope, out);
  PredicateSet outside = std::exchange(predicates_, PredicateSet());
  const Rows rows = Query(link->subselect, scope);
  // The value says which rows there are, so it depends on what chose them.
  for (const PredicateSet::Use& use : predicates_) out->sources.Add(use.column);
  outside.AddAll(predicates_);
  predicates_ = std::move(outside);
  if (link->subLinkType == EXISTS_SUBLINK) return;
  out->Add(rows.rest);
  for (const RangeColumn& column : rows.columns) {
    NoteComputed(column.flow);
    out->Add(column.flow);
  }
}

void Analyzer::ExprGrouping(const ::Node* node, const Scope& scope, Flow* out) {
  Expressions(As<::GroupingFunc>(node)->args, scope, out);
}

void Analyzer::ExprGroupingSet(const ::Node* node, const Scope& scope, Flow* out) {
  Expressions(As<::GroupingSet>(node)->content, scope, out);
}

void Analyzer::ExprNamedArg(const ::Node* node, const Scope& scope, Flow* out) {
  Expression(reinterpret_cast<const ::Node*>(As<::NamedArgExpr>(node)->arg), scope, out);
}

void Analyzer::ExprCurrentOf(const ::Node* node, const Scope&, Flow*) {
  const auto* current = As<::CurrentOfExpr>(node);
  if (message_.FindCursor(View(current->cursor_name)) == nullptr) {
    Fail(fmt::format("cursor {} is not known", View(current->cursor_name)));
  }
}

void Analyzer::ExprDefault(const ::Node*, const Scope&, Flow*) {}

void Analyzer::ExprMultiAssign(const ::Node* node, const Scope& scope, Flow* out) {
  Expression(As<::MultiAssignRef>(node)->source, scope, out);
}

// xmlforest(email AS e), xmlattributes(…).
void Analyzer::ExprResTarget(const ::Node* node, const Scope& scope, Flow* out) {
  Expression(As<::ResTarget>(node)->val, scope, out);
}

void Analyzer::ExprSortBy(const ::Node* node, const Scope& scope, Flow* out) {
  const auto* sort = As<::SortBy>(node);
  if (sort->useOp != nullptr) Operator(sort->useOp);
  uses_operators_ = true;
  Expression(sort->node, scope, out);
}

void Analyzer::Window(const ::WindowDef* window, const Scope& scope, Flow* out) {
  if (window == nullptr) return;
  if (window->name != nullptr || window->refname != nullptr) {
    for (const Scope* level = &scope; level != nullptr; level = level->parent) out->Add(level->windows);
  }
  Flow keys;
  for (const ::Node* key : Items(window->partitionClause)) keys.Add(Value(key, scope));
  for (const ::Node* key : Items(window->orderClause)) {
    uses_operators_ = true;
    if (As<::SortBy>(key)->useOp != nullptr) Operator(As<::SortBy>(key)->useOp);
    keys.Add(Value(As<::SortBy>(key)->node, scope));
  }
  Expression(window->startOffset, scope, &keys);
  Expression(window->endOffset, scope, &keys);
  NotePredicate(keys, false);
  out->Add(keys);
}

}  // namespace postern::sql::internal
