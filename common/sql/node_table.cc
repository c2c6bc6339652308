#include "common/sql/node_table.h"

#include <array>

namespace postern::sql::internal {
namespace {

// Statements, in the order of nodes.h.
constexpr StatementRow kStatements[] = {
    {T_InsertStmt, StatementKind::kDml, "INSERT", &Analyzer::InsertStatement},
    {T_DeleteStmt, StatementKind::kDml, "DELETE", &Analyzer::DeleteStatement},
    {T_UpdateStmt, StatementKind::kDml, "UPDATE", &Analyzer::UpdateStatement},
    {T_MergeStmt, StatementKind::kDml, "MERGE", &Analyzer::MergeStatement},
    {T_SelectStmt, StatementKind::kQuery, "SELECT", &Analyzer::SelectStatement},
    {T_AlterTableStmt, StatementKind::kUtility, "ALTER TABLE", &Analyzer::AlterTable},
    {T_AlterDomainStmt, StatementKind::kUtility, "ALTER DOMAIN", &Analyzer::AlterDomain},
    {T_GrantStmt, StatementKind::kUtility, "GRANT", &Analyzer::Grant},
    {T_GrantRoleStmt, StatementKind::kUtility, "GRANT ROLE", &Analyzer::Simple, Operation::kRoleAdmin},
    {T_AlterDefaultPrivilegesStmt, StatementKind::kUtility, "ALTER DEFAULT PRIVILEGES", &Analyzer::Simple,
     Operation::kGrant},
    {T_ClosePortalStmt, StatementKind::kCloseCursor, "CLOSE CURSOR", &Analyzer::CloseStatement},
    {T_ClusterStmt, StatementKind::kUtility, "CLUSTER", &Analyzer::Cluster},
    {T_CopyStmt, StatementKind::kCopy, "COPY", &Analyzer::CopyStatement},
    {T_CreateStmt, StatementKind::kUtility, "CREATE TABLE", &Analyzer::CreateTable},
    {T_DefineStmt, StatementKind::kUtility, "CREATE", &Analyzer::Define},
    {T_DropStmt, StatementKind::kUtility, "DROP", &Analyzer::Drop},
    {T_TruncateStmt, StatementKind::kUtility, "TRUNCATE TABLE", &Analyzer::Truncate},
    {T_CommentStmt, StatementKind::kUtility, "COMMENT", &Analyzer::Comment},
    {T_FetchStmt, StatementKind::kFetch, "FETCH", &Analyzer::FetchStatement},
    {T_IndexStmt, StatementKind::kUtility, "CREATE INDEX", &Analyzer::CreateIndex},
    {T_CreateFunctionStmt, StatementKind::kUtility, "CREATE FUNCTION", &Analyzer::Simple, Operation::kCreateFunction},
    {T_AlterFunctionStmt, StatementKind::kUtility, "ALTER FUNCTION", &Analyzer::Simple, Operation::kCreateFunction},
    {T_DoStmt, StatementKind::kUtility, "DO", &Analyzer::Simple, Operation::kDoBlock},
    {T_RenameStmt, StatementKind::kUtility, "ALTER", &Analyzer::Rename},
    {T_RuleStmt, StatementKind::kUtility, "CREATE RULE", &Analyzer::CreateRule},
    {T_NotifyStmt, StatementKind::kUtility, "NOTIFY", &Analyzer::NotifyStatement},
    {T_ListenStmt, StatementKind::kUtility, "LISTEN", &Analyzer::ListenStatement},
    {T_UnlistenStmt, StatementKind::kUtility, "UNLISTEN", &Analyzer::UnlistenStatement},
    {T_TransactionStmt, StatementKind::kTransaction, "BEGIN", &Analyzer::TransactionStatement},
    {T_ViewStmt, StatementKind::kUtility, "CREATE VIEW", &Analyzer::CreateView},
    {T_LoadStmt, StatementKind::kUtility, "LOAD", &Analyzer::Simple, Operation::kLoad},
    {T_CreateDomainStmt, StatementKind::kUtility, "CREATE DOMAIN", &Analyzer::CreateDomain},
    {T_CreatedbStmt, StatementKind::kUtility, "CREATE DATABASE", &Analyzer::Simple, Operation::kDatabaseAdmin},
    {T_DropdbStmt, StatementKind::kUtility, "DROP DATABASE", &Analyzer::Simple, Operation::kDatabaseAdmin},
    {T_VacuumStmt, StatementKind::kUtility, "VACUUM", &Analyzer::Vacuum},
    {T_ExplainStmt, StatementKind::kExplain, "EXPLAIN", &Analyzer::ExplainStatement},
    {T_CreateTableAsStmt, StatementKind::kUtility, "CREATE TABLE AS", &Analyzer::CreateTableAs},
    {T_CreateSeqStmt, StatementKind::kUtility, "CREATE SEQUENCE", &Analyzer::CreateSequence},
    {T_AlterSeqStmt, StatementKind::kUtility, "ALTER SEQUENCE", &Analyzer::AlterSequence},
    {T_VariableSetStmt, StatementKind::kSet, "SET", &Analyzer::SetStatement},
    {T_VariableShowStmt, StatementKind::kUtility, "SHOW", &Analyzer::ShowStatement},
    {T_DiscardStmt, StatementKind::kUtility, "DISCARD", &Analyzer::DiscardStatement},
    {T_CreateTrigStmt, StatementKind::kUtility, "CREATE TRIGGER", &Analyzer::CreateTrigger},
    {T_CreatePLangStmt, StatementKind::kUtility, "CREATE LANGUAGE", &Analyzer::Simple, Operation::kCreateFunction},
    {T_CreateRoleStmt, StatementKind::kUtility, "CREATE ROLE", &Analyzer::Simple, Operation::kRoleAdmin},
    {T_AlterRoleStmt, StatementKind::kUtility, "ALTER ROLE", &Analyzer::Simple, Operation::kRoleAdmin},
    {T_DropRoleStmt, StatementKind::kUtility, "DROP ROLE", &Analyzer::Simple, Operation::kRoleAdmin},
    {T_LockStmt, StatementKind::kUtility, "LOCK TABLE", &Analyzer::LockTable},
    {T_ConstraintsSetStmt, StatementKind::kUtility, "SET CONSTRAINTS", &Analyzer::ConstraintsStatement},
    {T_ReindexStmt, StatementKind::kUtility, "REINDEX", &Analyzer::Reindex},
    {T_CheckPointStmt, StatementKind::kUtility, "CHECKPOINT", &Analyzer::Simple, Operation::kMaintain},
    {T_CreateSchemaStmt, StatementKind::kUtility, "CREATE SCHEMA", &Analyzer::CreateSchema},
    {T_AlterDatabaseStmt, StatementKind::kUtility, "ALTER DATABASE", &Analyzer::Simple, Operation::kDatabaseAdmin},
    {T_AlterDatabaseRefreshCollStmt, StatementKind::kUtility, "ALTER DATABASE", &Analyzer::Simple,
     Operation::kDatabaseAdmin},
    {T_AlterDatabaseSetStmt, StatementKind::kUtility, "ALTER DATABASE", &Analyzer::Simple, Operation::kDatabaseAdmin},
    {T_AlterRoleSetStmt, StatementKind::kUtility, "ALTER ROLE", &Analyzer::Simple, Operation::kRoleAdmin},
    {T_CreateConversionStmt, StatementKind::kUtility, "CREATE CONVERSION", &Analyzer::Simple,
     Operation::kCreateFunction},
    {T_CreateCastStmt, StatementKind::kUtility, "CREATE CAST", &Analyzer::Simple, Operation::kCreateFunction},
    {T_CreateOpClassStmt, StatementKind::kUtility, "CREATE OPERATOR CLASS", &Analyzer::Simple,
     Operation::kCreateFunction},
    {T_CreateOpFamilyStmt, StatementKind::kUtility, "CREATE OPERATOR FAMILY", &Analyzer::Simple,
     Operation::kCreateFunction},
    {T_AlterOpFamilyStmt, StatementKind::kUtility, "ALTER OPERATOR FAMILY", &Analyzer::Simple,
     Operation::kCreateFunction},
    {T_PrepareStmt, StatementKind::kPrepare, "PREPARE", &Analyzer::PrepareStatement},
    {T_ExecuteStmt, StatementKind::kExecute, "EXECUTE", &Analyzer::ExecuteStatement},
    {T_DeallocateStmt, StatementKind::kDeallocate, "DEALLOCATE", &Analyzer::DeallocateStatement},
    {T_DeclareCursorStmt, StatementKind::kDeclareCursor, "DECLARE CURSOR", &Analyzer::DeclareStatement},
    {T_CreateTableSpaceStmt, StatementKind::kUtility, "CREATE TABLESPACE", &Analyzer::Simple,
     Operation::kDatabaseAdmin},
    {T_DropTableSpaceStmt, StatementKind::kUtility, "DROP TABLESPACE", &Analyzer::Simple, Operation::kDatabaseAdmin},
    {T_AlterObjectDependsStmt, StatementKind::kUtility, "ALTER", &Analyzer::AlterDepends},
    {T_AlterObjectSchemaStmt, StatementKind::kUtility, "ALTER", &Analyzer::AlterSchemaOf},
    {T_AlterOwnerStmt, StatementKind::kUtility, "ALTER", &Analyzer::AlterOwner},
    {T_AlterOperatorStmt, StatementKind::kUtility, "ALTER OPERATOR", &Analyzer::Simple, Operation::kCreateFunction},
    {T_AlterTypeStmt, StatementKind::kUtility, "ALTER TYPE", &Analyzer::Simple, Operation::kCreateFunction},
    {T_DropOwnedStmt, StatementKind::kUtility, "DROP OWNED", &Analyzer::Simple, Operation::kRoleAdmin},
    {T_ReassignOwnedStmt, StatementKind::kUtility, "REASSIGN OWNED", &Analyzer::Simple, Operation::kRoleAdmin},
    {T_CompositeTypeStmt, StatementKind::kUtility, "CREATE TYPE", &Analyzer::CompositeType},
    {T_CreateEnumStmt, StatementKind::kUtility, "CREATE TYPE", &Analyzer::Simple, Operation::kCreate},
    {T_CreateRangeStmt, StatementKind::kUtility, "CREATE TYPE", &Analyzer::Simple, Operation::kCreateFunction},
    {T_AlterEnumStmt, StatementKind::kUtility, "ALTER TYPE", &Analyzer::Simple, Operation::kAlter},
    {T_AlterTSDictionaryStmt, StatementKind::kUtility, "ALTER TEXT SEARCH DICTIONARY", &Analyzer::Simple,
     Operation::kAlter},
    {T_AlterTSConfigurationStmt, StatementKind::kUtility, "ALTER TEXT SEARCH CONFIGURATION", &Analyzer::Simple,
     Operation::kAlter},
    {T_CreateFdwStmt, StatementKind::kUtility, "CREATE FOREIGN DATA WRAPPER", &Analyzer::Simple, Operation::kForeign},
    {T_AlterFdwStmt, StatementKind::kUtility, "ALTER FOREIGN DATA WRAPPER", &Analyzer::Simple, Operation::kForeign},
    {T_CreateForeignServerStmt, StatementKind::kUtility, "CREATE SERVER", &Analyzer::Simple, Operation::kForeign},
    {T_AlterForeignServerStmt, StatementKind::kUtility, "ALTER SERVER", &Analyzer::Simple, Operation::kForeign},
    {T_CreateUserMappingStmt, StatementKind::kUtility, "CREATE USER MAPPING", &Analyzer::Simple, Operation::kForeign},
    {T_AlterUserMappingStmt, StatementKind::kUtility, "ALTER USER MAPPING", &Analyzer::Simple, Operation::kForeign},
    {T_DropUserMappingStmt, StatementKind::kUtility, "DROP USER MAPPING", &Analyzer::Simple, Operation::kForeign},
    {T_AlterTableSpaceOptionsStmt, StatementKind::kUtility, "ALTER TABLESPACE", &Analyzer::Simple,
     Operation::kDatabaseAdmin},
    {T_AlterTableMoveAllStmt, StatementKind::kUtility, "ALTER TABLE", &Analyzer::Simple, Operation::kDatabaseAdmin},
    {T_SecLabelStmt, StatementKind::kUtility, "SECURITY LABEL", &Analyzer::Simple, Operation::kRoleAdmin},
    {T_CreateForeignTableStmt, StatementKind::kUtility, "CREATE FOREIGN TABLE", &Analyzer::CreateForeignTable},
    {T_ImportForeignSchemaStmt, StatementKind::kUtility, "IMPORT FOREIGN SCHEMA", &Analyzer::Simple,
     Operation::kForeign},
    {T_CreateExtensionStmt, StatementKind::kUtility, "CREATE EXTENSION", &Analyzer::Simple, Operation::kExtension},
    {T_AlterExtensionStmt, StatementKind::kUtility, "ALTER EXTENSION", &Analyzer::Simple, Operation::kExtension},
    {T_AlterExtensionContentsStmt, StatementKind::kUtility, "ALTER EXTENSION", &Analyzer::Simple,
     Operation::kExtension},
    {T_CreateEventTrigStmt, StatementKind::kUtility, "CREATE EVENT TRIGGER", &Analyzer::Simple,
     Operation::kCreateFunction},
    {T_AlterEventTrigStmt, StatementKind::kUtility, "ALTER EVENT TRIGGER", &Analyzer::Simple,
     Operation::kCreateFunction},
    {T_RefreshMatViewStmt, StatementKind::kUtility, "REFRESH MATERIALIZED VIEW", &Analyzer::RefreshMatView},
    {T_AlterSystemStmt, StatementKind::kUtility, "ALTER SYSTEM", &Analyzer::Simple, Operation::kAlterSystem},
    {T_CreatePolicyStmt, StatementKind::kUtility, "CREATE POLICY", &Analyzer::CreatePolicy},
    {T_AlterPolicyStmt, StatementKind::kUtility, "ALTER POLICY", &Analyzer::AlterPolicy},
    {T_CreateTransformStmt, StatementKind::kUtility, "CREATE TRANSFORM", &Analyzer::Simple, Operation::kCreateFunction},
    {T_CreateAmStmt, StatementKind::kUtility, "CREATE ACCESS METHOD", &Analyzer::Simple, Operation::kCreateFunction},
    {T_CreatePublicationStmt, StatementKind::kUtility, "CREATE PUBLICATION", &Analyzer::Simple,
     Operation::kReplication},
    {T_AlterPublicationStmt, StatementKind::kUtility, "ALTER PUBLICATION", &Analyzer::Simple, Operation::kReplication},
    {T_CreateSubscriptionStmt, StatementKind::kUtility, "CREATE SUBSCRIPTION", &Analyzer::Simple,
     Operation::kReplication},
    {T_AlterSubscriptionStmt, StatementKind::kUtility, "ALTER SUBSCRIPTION", &Analyzer::Simple,
     Operation::kReplication},
    {T_DropSubscriptionStmt, StatementKind::kUtility, "DROP SUBSCRIPTION", &Analyzer::Simple, Operation::kReplication},
    {T_CreateStatsStmt, StatementKind::kUtility, "CREATE STATISTICS", &Analyzer::CreateStatistics},
    {T_AlterCollationStmt, StatementKind::kUtility, "ALTER COLLATION", &Analyzer::Simple, Operation::kAlter},
    {T_CallStmt, StatementKind::kUtility, "CALL", &Analyzer::CallProcedure},
    {T_AlterStatsStmt, StatementKind::kUtility, "ALTER STATISTICS", &Analyzer::Simple, Operation::kAlter},
};

struct ExpressionRow {
  ::NodeTag tag;
  Analyzer::ExpressionHandler handler;
};

constexpr ExpressionRow kExpressions[] = {
    {T_ColumnRef, &Analyzer::ExprColumnRef},
    {T_A_Const, &Analyzer::ExprConst},
    {T_ParamRef, &Analyzer::ExprParam},
    {T_A_Expr, &Analyzer::ExprOperator},
    {T_BoolExpr, &Analyzer::ExprBool},
    {T_List, &Analyzer::ExprList},
    {T_TypeCast, &Analyzer::ExprCast},
    {T_CollateClause, &Analyzer::ExprCollate},
    {T_A_Indirection, &Analyzer::ExprIndirection},
    {T_A_ArrayExpr, &Analyzer::ExprArray},
    {T_RowExpr, &Analyzer::ExprRow},
    {T_CaseExpr, &Analyzer::ExprCase},
    {T_CoalesceExpr, &Analyzer::ExprCoalesce},
    {T_MinMaxExpr, &Analyzer::ExprMinMax},
    {T_SQLValueFunction, &Analyzer::ExprSqlValue},
    {T_XmlExpr, &Analyzer::ExprXml},
    {T_XmlSerialize, &Analyzer::ExprXmlSerialize},
    {T_NullTest, &Analyzer::ExprNullTest},
    {T_BooleanTest, &Analyzer::ExprBooleanTest},
    {T_SubLink, &Analyzer::ExprSubLink},
    {T_GroupingFunc, &Analyzer::ExprGrouping},
    {T_GroupingSet, &Analyzer::ExprGroupingSet},
    {T_NamedArgExpr, &Analyzer::ExprNamedArg},
    {T_CurrentOfExpr, &Analyzer::ExprCurrentOf},
    {T_SetToDefault, &Analyzer::ExprDefault},
    {T_MultiAssignRef, &Analyzer::ExprMultiAssign},
    {T_ResTarget, &Analyzer::ExprResTarget},
    {T_SortBy, &Analyzer::ExprSortBy},
    {T_FuncCall, &Analyzer::ExprFuncCall},
};

// Handled by the node that they are part of.
constexpr ::NodeTag kParts[] = {T_Alias,
                                T_RangeVar,
                                T_CaseWhen,
                                T_JoinExpr,
                                T_IntoClause,
                                T_RawStmt,
                                T_AlterTableCmd,
                                T_ReplicaIdentityStmt,
                                T_ReturnStmt,
                                T_PLAssignStmt,
                                T_A_Star,
                                T_A_Indices,
                                T_WindowDef,
                                T_RangeSubselect,
                                T_RangeFunction,
                                T_RangeTableSample,
                                T_RangeTableFunc,
                                T_RangeTableFuncCol,
                                T_TypeName,
                                T_ColumnDef,
                                T_IndexElem,
                                T_StatsElem,
                                T_Constraint,
                                T_DefElem,
                                T_ObjectWithArgs,
                                T_AccessPriv,
                                T_CreateOpClassItem,
                                T_TableLikeClause,
                                T_FunctionParameter,
                                T_LockingClause,
                                T_WithClause,
                                T_InferClause,
                                T_OnConflictClause,
                                T_CTESearchClause,
                                T_CTECycleClause,
                                T_CommonTableExpr,
                                T_MergeWhenClause,
                                T_RoleSpec,
                                T_TriggerTransition,
                                T_PartitionElem,
                                T_PartitionSpec,
                                T_PartitionBoundSpec,
                                T_PartitionRangeDatum,
                                T_PartitionCmd,
                                T_VacuumRelation,
                                T_PublicationObjSpec,
                                T_PublicationTable,
                                T_Integer,
                                T_Float,
                                T_Boolean,
                                T_String,
                                T_BitString};

// Made by parse analysis, the rewriter or the planner.
constexpr ::NodeTag kNotRaw[] = {T_CallContext,
                                 T_InlineCodeBlock,
                                 T_MergeAction,
                                 T_TableFunc,
                                 T_Var,
                                 T_Const,
                                 T_Param,
                                 T_Aggref,
                                 T_WindowFunc,
                                 T_SubscriptingRef,
                                 T_FuncExpr,
                                 T_OpExpr,
                                 T_DistinctExpr,
                                 T_NullIfExpr,
                                 T_ScalarArrayOpExpr,
                                 T_SubPlan,
                                 T_AlternativeSubPlan,
                                 T_FieldSelect,
                                 T_FieldStore,
                                 T_RelabelType,
                                 T_CoerceViaIO,
                                 T_ArrayCoerceExpr,
                                 T_ConvertRowtypeExpr,
                                 T_CollateExpr,
                                 T_CaseTestExpr,
                                 T_ArrayExpr,
                                 T_RowCompareExpr,
                                 T_CoerceToDomain,
                                 T_CoerceToDomainValue,
                                 T_NextValueExpr,
                                 T_InferenceElem,
                                 T_TargetEntry,
                                 T_RangeTblRef,
                                 T_FromExpr,
                                 T_OnConflictExpr,
                                 T_Query,
                                 T_SetOperationStmt,
                                 T_RangeTblEntry,
                                 T_RangeTblFunction,
                                 T_TableSampleClause,
                                 T_WithCheckOption,
                                 T_SortGroupClause,
                                 T_WindowClause,
                                 T_RowMarkClause};

// Node tags are small numbers: a table by tag makes dispatch one load.
constexpr int kTags = 1024;

struct Index {
  std::array<const StatementRow*, kTags> statements{};
  std::array<Analyzer::ExpressionHandler, kTags> expressions{};
  std::array<NodeRole, kTags> roles{};

  Index() {
    for (const StatementRow& row : kStatements) {
      statements[row.tag_number] = &row;
      roles[row.tag_number] = NodeRole::kStatement;
    }
    for (const ExpressionRow& row : kExpressions) {
      expressions[row.tag] = row.handler;
      roles[row.tag] = NodeRole::kExpression;
    }
    for (::NodeTag tag : kParts) roles[tag] = NodeRole::kPart;
    for (::NodeTag tag : kNotRaw) roles[tag] = NodeRole::kNotRaw;
  }
};

const Index& Table() {
  static const Index index;
  return index;
}

bool InTable(::NodeTag tag) { return static_cast<int>(tag) >= 0 && static_cast<int>(tag) < kTags; }

}  // namespace

const StatementRow* StatementRowOf(::NodeTag tag) { return InTable(tag) ? Table().statements[tag] : nullptr; }

Analyzer::ExpressionHandler ExpressionHandlerOf(::NodeTag tag) {
  return InTable(tag) ? Table().expressions[tag] : nullptr;
}

NodeRole RoleOf(::NodeTag tag) { return InTable(tag) ? Table().roles[tag] : NodeRole::kUnlisted; }

}  // namespace postern::sql::internal
