// The name of an output column without AS, as Postgres's FigureColname() chooses it
// (src/backend/parser/parse_target.c).
#include "common/sql/analyzer.h"

namespace postern::sql::internal {
namespace {

// How good a name is: a type's name of a cast gives way to any other.
enum class Strength : uint8_t { kNone, kWeak, kGood };

struct Name {
  Strength strength = Strength::kNone;
  std::string_view text;
};

Name LastString(const ::List* list, Strength strength) {
  Name name;
  for (const ::Node* item : Items(list)) {
    if (nodeTag(item) == T_String) name = {strength, StringOf(item)};
  }
  return name;
}

std::string_view SqlValueName(::SQLValueFunctionOp op) {
  switch (op) {
    case SVFOP_CURRENT_DATE:
      return "current_date";
    case SVFOP_CURRENT_TIME:
    case SVFOP_CURRENT_TIME_N:
      return "current_time";
    case SVFOP_CURRENT_TIMESTAMP:
    case SVFOP_CURRENT_TIMESTAMP_N:
      return "current_timestamp";
    case SVFOP_LOCALTIME:
    case SVFOP_LOCALTIME_N:
      return "localtime";
    case SVFOP_LOCALTIMESTAMP:
    case SVFOP_LOCALTIMESTAMP_N:
      return "localtimestamp";
    case SVFOP_CURRENT_ROLE:
      return "current_role";
    case SVFOP_CURRENT_USER:
      return "current_user";
    case SVFOP_USER:
      return "user";
    case SVFOP_SESSION_USER:
      return "session_user";
    case SVFOP_CURRENT_CATALOG:
      return "current_catalog";
    case SVFOP_CURRENT_SCHEMA:
      return "current_schema";
  }
  return {};
}

std::string_view XmlName(::XmlExprOp op) {
  switch (op) {
    case IS_XMLCONCAT:
      return "xmlconcat";
    case IS_XMLELEMENT:
      return "xmlelement";
    case IS_XMLFOREST:
      return "xmlforest";
    case IS_XMLPARSE:
      return "xmlparse";
    case IS_XMLPI:
      return "xmlpi";
    case IS_XMLROOT:
      return "xmlroot";
    case IS_XMLSERIALIZE:
      return "xmlserialize";
    case IS_DOCUMENT:
      return {};
  }
  return {};
}

Name Figure(const ::Node* node, int depth);

Name FigureSubLink(const ::SubLink* link) {
  switch (link->subLinkType) {
    case EXISTS_SUBLINK:
      return {Strength::kGood, "exists"};
    case ARRAY_SUBLINK:
      return {Strength::kGood, "array"};
    case EXPR_SUBLINK: {
      // The name of the subquery's one column; VALUES and set operations take the first branch's.
      if (nodeTag(link->subselect) != T_SelectStmt) return {};
      const auto* select = As<::SelectStmt>(link->subselect);
      for (int i = 0; i < 64 && select->op != SETOP_NONE; ++i) select = select->larg;
      const Items targets(select->targetList);
      if (targets.empty()) return select->valuesLists != nullptr ? Name{Strength::kGood, "column1"} : Name{};
      const auto* target = As<::ResTarget>(targets[0]);
      if (target->name != nullptr) return {Strength::kGood, View(target->name)};
      return Figure(target->val, 64);
    }
    default:
      return {};
  }
}

Name FigureCast(const ::TypeCast* cast, int depth) {
  const Name name = Figure(cast->arg, depth);
  if (name.strength == Strength::kGood) return name;
  return cast->typeName == nullptr ? Name{} : Name{Strength::kWeak, SplitName(cast->typeName->names).name};
}

Name Figure(const ::Node* node, int depth) {
  if (node == nullptr || depth == 0) return {};
  switch (nodeTag(node)) {
    case T_ColumnRef:
      return LastString(As<::ColumnRef>(node)->fields, Strength::kGood);
    case T_A_Indirection: {
      const Name name = LastString(As<::A_Indirection>(node)->indirection, Strength::kGood);
      return name.strength != Strength::kNone ? name : Figure(As<::A_Indirection>(node)->arg, depth - 1);
    }
    case T_FuncCall:
      return {Strength::kGood, SplitName(As<::FuncCall>(node)->funcname).name};
    case T_A_Expr:
      return As<::A_Expr>(node)->kind == AEXPR_NULLIF ? Name{Strength::kGood, "nullif"} : Name{};
    case T_TypeCast:
      return FigureCast(As<::TypeCast>(node), depth - 1);
    case T_CollateClause:
      return Figure(As<::CollateClause>(node)->arg, depth - 1);
    case T_GroupingFunc:
      return {Strength::kGood, "grouping"};
    case T_SubLink:
      return FigureSubLink(As<::SubLink>(node));
    case T_CaseExpr: {
      const Name name = Figure(reinterpret_cast<const ::Node*>(As<::CaseExpr>(node)->defresult), depth - 1);
      return name.strength == Strength::kGood ? name : Name{Strength::kWeak, "case"};
    }
    case T_A_ArrayExpr:
      return {Strength::kGood, "array"};
    case T_RowExpr:
      return {Strength::kGood, "row"};
    case T_CoalesceExpr:
      return {Strength::kGood, "coalesce"};
    case T_MinMaxExpr:
      return {Strength::kGood, As<::MinMaxExpr>(node)->op == IS_GREATEST ? "greatest" : "least"};
    case T_SQLValueFunction:
      return {Strength::kGood, SqlValueName(As<::SQLValueFunction>(node)->op)};
    case T_XmlExpr: {
      const std::string_view name = XmlName(As<::XmlExpr>(node)->op);
      return name.empty() ? Name{} : Name{Strength::kGood, name};
    }
    case T_XmlSerialize:
      return {Strength::kGood, "xmlserialize"};
    default:
      return {};
  }
}

}  // namespace

std::string OutputName(const ::Node* node) {
  const Name name = Figure(node, 64);
  return name.strength == Strength::kNone ? "?column?" : std::string(name.text);
}

}  // namespace postern::sql::internal
