// The analyser of one statement. Internal to common/sql; needs pg_nodes.h's types, so only .cc files include it.
//
// It walks Postgres's raw parse tree, resolves names against the catalog as the server would, and notes effects and
// flows in its members; Finish() turns them into a Statement. What it cannot prove it says by Fail(): the walk goes on
// (so that handlers need no error paths), the first reason is kept, and the statement is refused as a whole.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/sql/analysis.h"
#include "common/sql/pg_nodes.h"
#include "common/sql/range.h"

namespace postern::sql::internal {

class ParsedText;

// What one message's statements share: the session's view plus what earlier statements of the message will have
// changed.
struct MessageState {
  const Catalog& catalog;
  const SessionView& session;
  const AnalysisOptions& options;
  std::vector<std::string> search_path;
  // Set once an earlier statement of the message may change what names mean: why later ones cannot be judged.
  std::string names_uncertain;
  // Prepared statements and cursors made earlier in the message.
  std::map<std::string, Statement, std::less<>> prepared;
  std::map<std::string, Statement, std::less<>> cursors;
  // Views and SQL functions that are being expanded, outermost first.
  std::vector<Oid> expanding;
  // The text is a function's body: which schemas its unqualified functions are looked for in depends on who calls it.
  bool function_body = false;

  const Statement* FindPrepared(std::string_view name) const;
  const Statement* FindCursor(std::string_view name) const;
};

class Analyzer {
 public:
  explicit Analyzer(MessageState& message) : message_(message), catalog_(message.catalog) {}

  // Analyses a statement. Call once.
  Statement Run(const ::RawStmt* raw, int text_length);
  // schema.table.column: a column that is named by its table's schema as well.
  struct Qualified {
    const ::ColumnRef* ref = nullptr;
    const Range* range = nullptr;
    bool without_schema = false;  // it would mean the same without it
  };
  // What FROM has, and the columns named by schema, after Run(). As long as the Analyzer and the parse tree.
  const std::deque<Range>& ranges() const { return ranges_; }
  const std::vector<Qualified>& qualified() const { return qualified_; }
  // The columns that a relation's column depends on, in the analysis of what reads it.
  static ColumnSet SourcesOf(const Range& range, int index) { return RelationColumn(range, index).sources; }

  // Analyses the query of a view or SQL function. Call once.
  std::unique_ptr<Lineage> RunLineage(const ::Node* query);

  using StatementHandler = void (Analyzer::*)(const ::Node*);
  using ExpressionHandler = void (Analyzer::*)(const ::Node*, const Scope&, Flow*);

  // --- query.cc: SELECT, WITH, set operations -------------------------------------------------------------------
  Rows Query(const ::Node* query, const Scope& outer);
  Rows Select(const ::SelectStmt* select, const Scope& outer);
  Rows SetOperation(const ::SelectStmt* select, const Scope& outer);
  Rows ValuesLists(const ::SelectStmt* select, const Scope& outer);
  void With(const ::WithClause* with, Scope* scope);
  void RecursiveCte(const ::CommonTableExpr* definition, const Scope* scope, Cte* cte);
  void SearchAndCycle(const ::CommonTableExpr* definition, Cte* cte, const Scope& scope);
  void TargetList(const ::List* targets, const Scope& scope, Rows* rows);
  bool ExpandComposite(const ::A_Indirection* indirection, const Scope& scope, Rows* rows);
  // ORDER BY and DISTINCT ON look among the outputs first, GROUP BY among the inputs.
  enum class KeyOf : uint8_t { kOrder, kGroup };
  void Key(const ::Node* node, const Scope& scope, const Rows& rows, KeyOf of);
  // What comes after the rows: DISTINCT, ORDER BY, LIMIT, OFFSET.
  void SelectTail(const ::SelectStmt* select, const Scope& scope, const Rows& rows);
  void Distinct(const ::SelectStmt* select, const Scope& scope, const Rows& rows);
  void Locking(const ::SelectStmt* select, size_t first, size_t last);
  void SelectStatement(const ::Node* node);

  // --- from.cc ----------------------------------------------------------------------------------------------------
  void From(const ::List* items, Scope* scope, const Scope& outer);
  FromItem FromNode(const ::Node* node, const Scope& lateral, const Scope& outer);
  // A range over a relation; resolves it, notes the select effect unless `target`.
  Range* RelationRange(const ::RangeVar* var, bool target);
  FromItem NamedItem(Range* range, const ::Alias* alias);
  FromItem FromRelation(const ::RangeVar* var, const Scope& outer);
  FromItem FromSubquery(const ::RangeSubselect* subselect, const Scope& lateral, const Scope& outer);
  FromItem FromFunction(const ::RangeFunction* function, const Scope& lateral);
  FromItem FromTableFunc(const ::RangeTableFunc* table, const Scope& lateral);
  FromItem FromJoin(const ::JoinExpr* join, const Scope& lateral, const Scope& outer);
  Flow JoinColumn(const FromItem& item, std::string_view name);
  void AddFunctionColumns(const ::Node* call, const ::List* definitions, const Flow& flow, const Scope& lateral,
                          Range* range);
  static std::string_view FunctionName(const ::Node* call);
  // False if the expression may be a row, or an array of rows, which is as many columns as they have.
  bool IsScalar(const ::Node* node, const Scope& scope);

  // --- names.cc ---------------------------------------------------------------------------------------------------
  struct Resolved {
    enum class Kind : uint8_t { kNone, kColumn, kRow };
    Kind kind = Kind::kNone;
    Flow flow;
  };
  // The column or whole row that a ColumnRef without star names; notes the read. Fails when there is none.
  Flow Column(const ::ColumnRef* ref, const Scope& scope);
  Flow ColumnAt(Range* range, int index);
  // The same of a relation's range, for those who only want to know.
  static Flow RelationColumn(const Range& range, int index);
  void NoteQualified(const ::ColumnRef* ref, const Range* range, const Scope& scope);
  // A column of a range by name; nullopt if it has none.
  std::optional<Flow> ColumnNamed(Range* range, std::string_view name);
  Flow WholeRow(Range* range);
  // A field of a value that is a whole row.
  std::optional<Flow> RowField(const Flow& row, std::string_view name);
  Range* FindRange(const Scope& scope, std::string_view schema, std::string_view name) const;
  // All columns that a star stands for, appended to `rows`.
  void Expand(const Scope& scope, const ::ColumnRef* star, Rows* rows);
  void ExpandRange(Range* range, const Segment* segment, Rows* rows);
  // Finds a relation as Postgres does. nullptr and Fail() if there is none, unless the catalog is open.
  const Relation* Resolve(const ::RangeVar* var);
  // `is_system`: it is one of Postgres's own, or must be, because the snapshot does not hold those.
  const Relation* ResolveName(std::string_view schema, std::string_view name, bool* is_system);
  const Cte* FindCte(const Scope& scope, std::string_view name);

  // --- expression.cc ----------------------------------------------------------------------------------------------
  // ConstantText(), where the result decides something: the text of a string constant.
  std::optional<std::string> ReadConstant(const ::Node* node);
  // The content of `node`, if it is a constant, is looked at.
  void NoteConstantRead(const ::Node* node);
  // Makes `out` depend on all that the expression reads.
  void Expression(const ::Node* node, const Scope& scope, Flow* out);
  // The flow of a value; keeps `bare` when it is a column and nothing else.
  Flow Value(const ::Node* node, const Scope& scope);
  void Expressions(const ::List* nodes, const Scope& scope, Flow* out);
  // WHERE, ON, HAVING…: notes the columns as predicates.
  void Predicate(const ::Node* node, const Scope& scope);
  void PredicatePart(const ::Node* node, const Scope& scope);
  // True if it is surely none of Postgres's own, so that its result may be anything.
  bool Operator(const ::List* name);
  void TypeUse(const ::TypeName* type);

  void ExprColumnRef(const ::Node*, const Scope&, Flow*);
  void ExprConst(const ::Node*, const Scope&, Flow*);
  void ExprParam(const ::Node*, const Scope&, Flow*);
  void ExprOperator(const ::Node*, const Scope&, Flow*);
  void ExprBool(const ::Node*, const Scope&, Flow*);
  void ExprList(const ::Node*, const Scope&, Flow*);
  void ExprCast(const ::Node*, const Scope&, Flow*);
  void ExprCollate(const ::Node*, const Scope&, Flow*);
  void ExprIndirection(const ::Node*, const Scope&, Flow*);
  void ExprArray(const ::Node*, const Scope&, Flow*);
  void ExprRow(const ::Node*, const Scope&, Flow*);
  void ExprCase(const ::Node*, const Scope&, Flow*);
  void ExprCoalesce(const ::Node*, const Scope&, Flow*);
  void ExprMinMax(const ::Node*, const Scope&, Flow*);
  void ExprSqlValue(const ::Node*, const Scope&, Flow*);
  void ExprXml(const ::Node*, const Scope&, Flow*);
  void ExprXmlSerialize(const ::Node*, const Scope&, Flow*);
  void ExprNullTest(const ::Node*, const Scope&, Flow*);
  void ExprBooleanTest(const ::Node*, const Scope&, Flow*);
  void ExprSubLink(const ::Node*, const Scope&, Flow*);
  void ExprGrouping(const ::Node*, const Scope&, Flow*);
  void ExprGroupingSet(const ::Node*, const Scope&, Flow*);
  void ExprNamedArg(const ::Node*, const Scope&, Flow*);
  void ExprCurrentOf(const ::Node*, const Scope&, Flow*);
  void ExprDefault(const ::Node*, const Scope&, Flow*);
  void ExprMultiAssign(const ::Node*, const Scope&, Flow*);
  void ExprResTarget(const ::Node*, const Scope&, Flow*);
  void ExprSortBy(const ::Node*, const Scope&, Flow*);
  void Window(const ::WindowDef* window, const Scope& scope, Flow* out);

  // --- call.cc ----------------------------------------------------------------------------------------------------
  void ExprFuncCall(const ::Node*, const Scope&, Flow*);
  // Notes what calling the function means. `result` gains what its value depends on beyond the arguments.
  void Call(const ::FuncCall* call, const Flow& arguments, Flow* result);
  void CallBuiltin(const ::FuncCall* call, std::string_view name, const Flow& arguments, Flow* result);
  void CallUser(const Function& function, const Flow& arguments, int location, Flow* result);
  void CallSequence(const ::FuncCall* call, std::string_view name, bool write, const Flow& arguments);
  void CallSetConfig(const ::FuncCall* call, const Flow& arguments);
  // Functions of that name that the call may mean.
  std::vector<const Function*> Functions(std::string_view schema, std::string_view name) const;
  // The same without pg_catalog's.
  std::vector<const Function*> UserFunctions(std::string_view schema, std::string_view name) const;
  // t.f and f(t) where t has no column f: the function f of the row.
  Flow CallOnRow(std::string_view name, Flow row, int location);
  // A function named by DDL or a trigger, without arguments: kCall.
  void NoteFunction(const ::List* name, Operation operation);

  // --- view.cc ----------------------------------------------------------------------------------------------------
  const Lineage* ViewLineage(const Relation& view);
  const Lineage* FunctionLineage(const Function& function);
  void NoteLineage(const Lineage& lineage);

  // --- dml.cc -----------------------------------------------------------------------------------------------------
  Rows Insert(const ::InsertStmt* insert, const Scope& outer);
  Rows Update(const ::UpdateStmt* update, const Scope& outer);
  Rows Delete(const ::DeleteStmt* del, const Scope& outer);
  Rows Merge(const ::MergeStmt* merge, const Scope& outer);
  void InsertStatement(const ::Node* node);
  void UpdateStatement(const ::Node* node);
  void DeleteStatement(const ::Node* node);
  void MergeStatement(const ::Node* node);
  // Notes a write to columns of the target, and of the tables below when it is a view.
  void NoteWrite(Operation operation, Range* target, const std::vector<std::string_view>& columns, bool all_columns);
  void SetClause(const ::List* targets, Range* target, const Scope& scope);
  // Columns that an INSERT names, of which a subscript may be an expression.
  std::vector<std::string_view> InsertColumns(const ::List* targets, const Scope& scope);
  void Subscripts(const ::ResTarget* target, const Scope& scope);
  void OnConflict(const ::OnConflictClause* conflict, Range* target, const std::vector<std::string_view>& columns,
                  const Rows& source, Scope* scope);
  void ConflictTarget(const ::OnConflictClause* conflict, Range* target, const std::vector<std::string_view>& columns,
                      const Scope& scope);
  void AddFrom(const ::List* items, Scope* scope, const Scope& outer);
  Rows Returning(const ::List* targets, Range* target, Scope* scope);

  // --- shape.cc ---------------------------------------------------------------------------------------------------
  void NoteShape(const ::Node* where, const Range* target, const ::Node* limit);
  // An UPDATE or DELETE, wherever it stands in the statement.
  void NoteWriteShape(const ::Node* where, const Range& target);
  void EqualityColumns(const ::Node* where, const Range& range);
  // What HAVING says of the size of groups, of a SELECT over `single` alone.
  void NoteGroups(const ::SelectStmt* select, const Range& single);

  // --- session.cc: SET, SHOW, transactions, PREPARE, cursors, COPY, EXPLAIN ------------------------------------------
  void SetStatement(const ::Node* node);
  void ShowStatement(const ::Node* node);
  void TransactionStatement(const ::Node* node);
  void PrepareStatement(const ::Node* node);
  void ExecuteStatement(const ::Node* node);
  void DeallocateStatement(const ::Node* node);
  void DeclareStatement(const ::Node* node);
  void FetchStatement(const ::Node* node);
  void CloseStatement(const ::Node* node);
  void DiscardStatement(const ::Node* node);
  void ListenStatement(const ::Node* node);
  void UnlistenStatement(const ::Node* node);
  void NotifyStatement(const ::Node* node);
  void ConstraintsStatement(const ::Node* node);
  void ExplainStatement(const ::Node* node);
  void ChangeSetting(std::string_view name, std::optional<std::string> value, bool local);
  void TransactionModes(const ::List* options);
  void Replay(const Statement& made);

  // --- copy.cc ----------------------------------------------------------------------------------------------------
  void CopyStatement(const ::Node* node);
  void CopyRelation(const ::CopyStmt* copy);
  void CopyOptions(const ::CopyStmt* copy);

  // --- ddl_tables.cc: statements that define relations --------------------------------------------------------------
  void CreateTable(const ::Node* node);
  void CreateForeignTable(const ::Node* node);
  void CreateTableAs(const ::Node* node);
  void CreateView(const ::Node* node);
  void CreateIndex(const ::Node* node);
  void CreateSequence(const ::Node* node);
  void AlterSequence(const ::Node* node);
  void AlterTable(const ::Node* node);
  void AlterTableCommand(const ::AlterTableCmd* command, Range* range, Range* added);
  void CreatePolicy(const ::Node* node);
  void AlterPolicy(const ::Node* node);
  void CreateStatistics(const ::Node* node);
  void TableElements(const ::List* elements, const Scope& scope);
  void ColumnDefinition(const ::ColumnDef* column, const Scope& scope);
  void ConstraintDefinition(const ::Constraint* constraint, const Scope& scope);
  // A column of the table that `scope` is about, in a key of it.
  void KeyColumn(std::string_view name, const Scope& scope);
  // Expressions that DDL stores for later: their functions count, and what they read is stored.
  void StoredExpression(const ::Node* node, const Scope& scope);
  // A range over an existing relation that DDL is about, for its expressions. Notes no read.
  Range* DefinitionRange(const ::RangeVar* var);
  // The values of a relation come to be under another name: they count as stored.
  void NoteMoved(const Relation* relation);

  // --- ddl.cc: everything else ------------------------------------------------------------------------------------
  void CreateSchema(const ::Node* node);
  void CreateRule(const ::Node* node);
  void CreateTrigger(const ::Node* node);
  void CreateDomain(const ::Node* node);
  void AlterDomain(const ::Node* node);
  void CompositeType(const ::Node* node);
  void Drop(const ::Node* node);
  void Rename(const ::Node* node);
  void AlterSchemaOf(const ::Node* node);
  void AlterOwner(const ::Node* node);
  void AlterDepends(const ::Node* node);
  void Comment(const ::Node* node);
  void Grant(const ::Node* node);
  void Define(const ::Node* node);
  void Truncate(const ::Node* node);
  void LockTable(const ::Node* node);
  void Vacuum(const ::Node* node);
  void Cluster(const ::Node* node);
  void Reindex(const ::Node* node);
  void RefreshMatView(const ::Node* node);
  void CallProcedure(const ::Node* node);
  // Statements that are one effect on something named at most by a string: which, the node table says.
  void Simple(const ::Node* node);

  // A new relation: kCreate in the schema where Postgres would put it.
  void NoteCreate(const ::RangeVar* var);
  // An effect on an existing relation, by any of its kinds. `missing_ok`: IF EXISTS. Returns it when it is known.
  const Relation* NoteRelation(Operation operation, const ::RangeVar* var, bool missing_ok);
  const Relation* NoteRelationName(Operation operation, std::string_view schema, std::string_view name, bool missing_ok,
                                   int location);
  // An object other than a relation, named by a list of strings, a TypeName or an ObjectWithArgs.
  void NoteObject(Operation operation, ::ObjectType type, const ::Node* object);

  // --- analyzer.cc ------------------------------------------------------------------------------------------------
  // Keeps the first reason. fmt-style text is made by the caller.
  void Fail(std::string reason);
  bool failed() const { return failure_.has_value(); }
  // Counts work, and Fails when a statement takes too much of it.
  void Spend(size_t steps);

  // The index of the effect with this identity, added if it is new.
  int EffectIndex(Operation operation, ObjectKind kind, std::string_view schema, std::string_view name, Oid oid,
                  bool derived, int location);
  void NoteNamed(Operation operation, std::string_view name, ObjectKind kind = ObjectKind::kOther, int location = -1);
  void NotePredicate(const Flow& flow, bool equality);
  // The column of `flow` is compared with what the other side of an equality gives.
  void NoteValueTest(const Flow& flow, const ::Node* given, bool is_array);
  // Adds the values that `node` (IsConstantLike, or a list of such) stands for.
  void CountGiven(const ::Node* node, bool is_array, ValueTest* test);
  void CountArguments(const Items& arguments, ValueTest* test);
  void NoteStored(const Flow& flow);
  void NoteComputed(const Flow& flow);
  void NoteTouched(const Relation& relation, bool with_descendants);
  // The effect that reading the range's columns belongs to.
  int ReadEffect(Range* range);
  Range* NewRange() { return &ranges_.emplace_back(); }
  void SetOutputs(const Rows& rows);
  void SetKind(StatementKind kind, std::string_view tag);

  Statement& result() { return result_; }

 private:
  // Counts nesting for as long as it lives; Fails when there is too much.
  class Depth {
   public:
    explicit Depth(Analyzer* analyzer);
    ~Depth() { --analyzer_->depth_; }
    bool ok() const { return ok_; }

   private:
    Analyzer* const analyzer_;
    bool ok_;
  };

  void Finish();
  void FinishOperators();

  MessageState& message_;
  const Catalog& catalog_;
  Statement result_;
  std::optional<std::string> failure_;
  int depth_ = 0;
  int64_t steps_ = 0;

  std::deque<Range> ranges_;
  std::vector<Qualified> qualified_;
  std::deque<Scope> scopes_;
  PredicateSet predicates_;
  ColumnSet stored_;
  ColumnSet computed_;

  // Expressions use operators or casts by unqualified name: those of user schemas on the path may be meant.
  bool uses_operators_ = false;
  // Constants met now are written to columns.
  bool collecting_constants_ = false;
  // Rows may come gathered into one value: array_agg(), ARRAY(SELECT …).
  bool gathers_rows_ = false;
  // Expressions hold subqueries.
  bool has_subqueries_ = false;
  // Relations that the text names, for Shape: each FROM entry counts.
  int relations_named_ = 0;
  // UPDATE and DELETE, also in CTEs, and how many of them have a WHERE that names a column.
  int writes_seen_ = 0;
  int writes_with_where_ = 0;
  // EXECUTE and FETCH: the shape is that of the definition.
  bool shape_replayed_ = false;
  // SELECT … INTO was met.
  bool select_into_ = false;
};

// Analyze() of a text that is parsed; `seen` is called after each statement, while what it points to lives.
Analysis AnalyzeParsed(const ParsedText& parsed, std::string_view text, const Catalog& catalog,
                       const SessionView& session, const AnalysisOptions& options,
                       const std::function<void(const Analyzer&, const Statement&)>& seen);

// True if the node is a constant or a parameter, possibly cast, or an array of such.
bool IsConstantLike(const ::Node* node);
// True of a list all of whose items are so.
bool AllConstant(const ::Node* list);
// The text of a string constant, possibly cast; nullopt for anything else, also for NULL.
std::optional<std::string> ConstantText(const ::Node* node);
// The LIMIT that bounds the rows of a query; nullptr where ties of the last row come as well.
const ::Node* LimitOf(const ::SelectStmt* select);
// True if the expression names any column.
bool NamesColumn(const ::Node* node);
// The name that Postgres gives an output column without AS.
std::string OutputName(const ::Node* node);
// The word for a type of object in a command tag, as in DROP TABLE.
std::string_view ObjectTypeWord(::ObjectType type);
// "schema.name" of a name list, split; an empty schema when there is none.
struct QualifiedName {
  std::string_view schema;
  std::string_view name;
};
QualifiedName SplitName(const ::List* names);

}  // namespace postern::sql::internal
