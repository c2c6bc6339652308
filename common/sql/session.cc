// Statements about the session: settings, transactions, prepared statements, cursors, EXPLAIN.
#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/ascii.h"
#include "common/base/strings.h"
#include "common/sql/analyzer.h"
#include "common/sql/node_table.h"
#include "common/sql/settings.h"
#include "fmt/format.h"

namespace postern::sql::internal {
namespace {

// A schema name as search_path's value spells it.
std::string QuoteSchema(std::string_view schema) {
  const bool plain = !schema.empty() && std::all_of(schema.begin(), schema.end(), [](char c) {
    return absl::ascii_islower(static_cast<unsigned char>(c)) || absl::ascii_isdigit(static_cast<unsigned char>(c)) ||
           c == '_';
  });
  if (plain) return std::string(schema);
  std::string quoted = "\"";
  for (char c : schema) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

// The text of a SET argument: SET x TO 1, on, 'text'. nullopt for what is none of these.
std::optional<std::string> ArgumentText(const ::Node* node) {
  if (nodeTag(node) != T_A_Const) return std::nullopt;
  const auto* constant = As<::A_Const>(node);
  if (constant->isnull) return std::nullopt;
  switch (nodeTag(&constant->val.node)) {
    case T_String:
      return std::string(View(constant->val.sval.sval));
    case T_Integer:
      return std::to_string(constant->val.ival.ival);
    case T_Float:
      return std::string(View(constant->val.fval.fval));
    case T_Boolean:
      return constant->val.boolval.boolval ? "true" : "false";
    default:
      return std::nullopt;
  }
}

// DefElem's boolean: EXPLAIN (ANALYZE), (ANALYZE on), (ANALYZE 0).
bool BooleanOption(const ::DefElem* option, bool* understood) {
  if (option->arg == nullptr) return true;
  std::string text;
  switch (nodeTag(option->arg)) {
    case T_Integer:
      return As<::Integer>(option->arg)->ival != 0;
    case T_Boolean:
      return As<::Boolean>(option->arg)->boolval;
    case T_String:
      text = absl::AsciiStrToLower(AbslView(StringOf(option->arg)));
      break;
    default:
      *understood = false;
      return true;
  }
  if (text == "true" || text == "on") return true;
  if (text == "false" || text == "off") return false;
  *understood = false;
  return true;
}

bool DescribesDefinition(Operation operation) {
  return operation == Operation::kPrepare || operation == Operation::kCursor;
}

}  // namespace

void Analyzer::ChangeSetting(std::string_view name, std::optional<std::string> value, bool local) {
  if (name == "search_path" && value.has_value()) {
    if (std::string problem = SearchPathProblem(*value); !problem.empty()) Fail(std::move(problem));
  }
  NoteNamed(SettingOperation(name, value), name, ObjectKind::kSetting);
  result_.settings.push_back({std::string(name), std::move(value), local});
}

void Analyzer::TransactionModes(const ::List* options) {
  for (const ::Node* node : Items(options)) {
    const auto* option = As<::DefElem>(node);
    const std::string_view name = View(option->defname);
    std::optional<std::string> value;
    if (option->arg != nullptr) value = ArgumentText(option->arg);
    // READ ONLY is 1, READ WRITE 0; isolation and DEFERRABLE are always harmless.
    NoteNamed(SettingOperation(name, value), name, ObjectKind::kSetting);
  }
}

void Analyzer::SetStatement(const ::Node* node) {
  const auto* set = As<::VariableSetStmt>(node);
  const std::string name = absl::AsciiStrToLower(AbslView(View(set->name)));
  result_.outputs_known = true;
  if (set->kind == VAR_RESET || set->kind == VAR_RESET_ALL) result_.tag = "RESET";
  switch (set->kind) {
    case VAR_SET_VALUE: {
      std::optional<std::string> value;
      if (name == "search_path") {
        value.emplace();
        for (const ::Node* argument : Items(set->args)) {
          const std::optional<std::string> schema = ArgumentText(argument);
          if (!schema.has_value()) Fail("search_path is set to something that is not a name");
          if (!value->empty()) *value += ", ";
          *value += QuoteSchema(schema.value_or(""));
        }
      } else {
        for (const ::Node* argument : Items(set->args)) {
          // SET TIME ZONE INTERVAL '…' is a cast.
          std::optional<std::string> text =
              ArgumentText(nodeTag(argument) == T_TypeCast ? As<::TypeCast>(argument)->arg : argument);
          if (!text.has_value()) Fail(fmt::format("the value of {} is not a constant", name));
          if (value.has_value()) {
            *value += ", " + text.value_or("");
          } else {
            value = std::move(text);
          }
        }
      }
      ChangeSetting(name, std::move(value), set->is_local);
      return;
    }
    case VAR_SET_DEFAULT:
    case VAR_RESET:
      ChangeSetting(name, std::nullopt, set->is_local);
      return;
    case VAR_SET_CURRENT:
      Fail("SET … FROM CURRENT outside a function");
      return;
    case VAR_SET_MULTI:
      if (name == "transaction" || name == "session characteristics") {
        TransactionModes(set->args);
      } else {
        // SET TRANSACTION SNAPSHOT.
        NoteNamed(Operation::kSetProtected, name, ObjectKind::kSetting);
      }
      return;
    case VAR_RESET_ALL:
      NoteNamed(Operation::kSet, "all", ObjectKind::kSetting);
      result_.settings.push_back({"ALL", std::nullopt, false});
      return;
  }
}

void Analyzer::ShowStatement(const ::Node* node) {
  const std::string name = absl::AsciiStrToLower(AbslView(View(As<::VariableShowStmt>(node)->name)));
  NoteNamed(Operation::kShow, name, ObjectKind::kSetting);
  result_.outputs_known = true;
  if (name == "all") {
    for (const char* column : {"name", "setting", "description"})
      result_.outputs.push_back({column, {}, {}, {}, false});
  } else {
    result_.outputs.push_back({name, {}, {}, {}, false});
  }
}

void Analyzer::TransactionStatement(const ::Node* node) {
  const auto* statement = As<::TransactionStmt>(node);
  result_.savepoint = std::string(View(statement->savepoint_name));
  result_.transaction_chain = statement->chain;
  result_.outputs_known = true;
  bool two_phase = false;
  switch (statement->kind) {
    case TRANS_STMT_BEGIN:
    case TRANS_STMT_START:
      result_.transaction = TransactionAction::kBegin;
      result_.tag = statement->kind == TRANS_STMT_BEGIN ? "BEGIN" : "START TRANSACTION";
      break;
    case TRANS_STMT_COMMIT:
      result_.transaction = TransactionAction::kCommit;
      result_.tag = "COMMIT";
      break;
    case TRANS_STMT_ROLLBACK:
      result_.transaction = TransactionAction::kRollback;
      result_.tag = "ROLLBACK";
      break;
    case TRANS_STMT_SAVEPOINT:
      result_.transaction = TransactionAction::kSavepoint;
      result_.tag = "SAVEPOINT";
      break;
    case TRANS_STMT_RELEASE:
      result_.transaction = TransactionAction::kRelease;
      result_.tag = "RELEASE";
      break;
    case TRANS_STMT_ROLLBACK_TO:
      result_.transaction = TransactionAction::kRollbackTo;
      result_.tag = "ROLLBACK";
      break;
    case TRANS_STMT_PREPARE:
      result_.transaction = TransactionAction::kPrepare;
      result_.tag = "PREPARE TRANSACTION";
      two_phase = true;
      break;
    case TRANS_STMT_COMMIT_PREPARED:
      result_.transaction = TransactionAction::kCommitPrepared;
      result_.tag = "COMMIT PREPARED";
      two_phase = true;
      break;
    case TRANS_STMT_ROLLBACK_PREPARED:
      result_.transaction = TransactionAction::kRollbackPrepared;
      result_.tag = "ROLLBACK PREPARED";
      two_phase = true;
      break;
  }
  NoteNamed(two_phase ? Operation::kTwoPhase : Operation::kTransaction, View(statement->gid));
  TransactionModes(statement->options);
}

void Analyzer::PrepareStatement(const ::Node* node) {
  const auto* prepare = As<::PrepareStmt>(node);
  const StatementRow* row = StatementRowOf(nodeTag(prepare->query));
  if (row == nullptr || row->handler == nullptr) {
    Fail("the prepared statement is not known");
    return;
  }
  (this->*row->handler)(prepare->query);
  SetKind(StatementKind::kPrepare, "PREPARE");
  result_.name = std::string(View(prepare->name));
  for (const ::Node* type : Items(prepare->argtypes)) TypeUse(As<::TypeName>(type));
  NoteNamed(Operation::kPrepare, result_.name);
}

// EXECUTE and FETCH do again what was defined: all that it was found to do counts now.
void Analyzer::Replay(const Statement& made) {
  if (made.unanalysable.has_value()) {
    Fail(*made.unanalysable);
    return;
  }
  for (const Effect& effect : made.effects) {
    if (DescribesDefinition(effect.operation)) continue;
    const int index =
        EffectIndex(effect.operation, effect.object_kind, effect.schema, effect.name, effect.oid, effect.derived, -1);
    Effect& mine = result_.effects[index];
    mine.columns.insert(mine.columns.end(), effect.columns.begin(), effect.columns.end());
    mine.all_columns = mine.all_columns || effect.all_columns;
  }
  result_.outputs = made.outputs;
  result_.outputs_known = made.outputs_known;
  for (const ColumnId& column : made.predicates) {
    const bool equality =
        std::binary_search(made.equality_only_predicates.begin(), made.equality_only_predicates.end(), column);
    predicates_.Add(column, equality);
  }
  result_.value_tests = made.value_tests;
  result_.stored = made.stored;
  result_.computed = made.computed;
  result_.relations.insert(result_.relations.end(), made.relations.begin(), made.relations.end());
  result_.shape = made.shape;
  shape_replayed_ = true;
  result_.written_constants = made.written_constants;
  result_.settings = made.settings;
}

// Arguments that stand for arrays of values; those that are not given here come with Bind.
void Analyzer::CountArguments(const Items& arguments, ValueTest* test) {
  // An expression may make an array of any size.
  constexpr int64_t kUnknown = 1000;
  for (const int number : std::exchange(test->array_parameters, {})) {
    if (number < 1 || number > arguments.size()) {
      test->array_parameters.push_back(number);
    } else if (const ::Node* argument = arguments[number - 1]; IsConstantLike(argument)) {
      CountGiven(argument, /*is_array=*/true, test);
    } else {
      test->values += kUnknown;
    }
  }
}

void Analyzer::ExecuteStatement(const ::Node* node) {
  const auto* execute = As<::ExecuteStmt>(node);
  result_.name = std::string(View(execute->name));
  const Statement* made = message_.FindPrepared(result_.name);
  if (made == nullptr) {
    Fail(fmt::format("prepared statement {} is not known", result_.name));
    return;
  }
  if (!message_.names_uncertain.empty()) Fail(message_.names_uncertain);
  Replay(*made);
  // Its arguments may be written, wherever the definition writes parameters.
  const Items arguments(execute->params);
  for (ValueTest& test : result_.value_tests) CountArguments(arguments, &test);
  const Scope scope(nullptr);
  const bool collecting = std::exchange(collecting_constants_, true);
  for (const ::Node* argument : arguments) {
    Flow flow;
    Expression(argument, scope, &flow);
    NoteStored(flow);
  }
  collecting_constants_ = collecting;
}

void Analyzer::DeallocateStatement(const ::Node* node) {
  const auto* deallocate = As<::DeallocateStmt>(node);
  result_.name = std::string(View(deallocate->name));
  result_.name_all = deallocate->name == nullptr;
  if (result_.name_all) result_.tag = "DEALLOCATE ALL";
  result_.outputs_known = true;
  NoteNamed(Operation::kPrepare, result_.name);
}

void Analyzer::DeclareStatement(const ::Node* node) {
  const auto* declare = As<::DeclareCursorStmt>(node);
  if (nodeTag(declare->query) != T_SelectStmt) {
    Fail("a cursor over something that is not a query");
    return;
  }
  SelectStatement(declare->query);
  if (select_into_) Fail("a cursor over SELECT INTO");
  SetKind(StatementKind::kDeclareCursor, "DECLARE CURSOR");
  result_.name = std::string(View(declare->portalname));
  result_.cursor_binary = (declare->options & CURSOR_OPT_BINARY) != 0;
  result_.cursor_hold = (declare->options & CURSOR_OPT_HOLD) != 0;
  NoteNamed(Operation::kCursor, result_.name);
}

void Analyzer::FetchStatement(const ::Node* node) {
  const auto* fetch = As<::FetchStmt>(node);
  result_.tag = fetch->ismove ? "MOVE" : "FETCH";
  result_.name = std::string(View(fetch->portalname));
  const Statement* made = message_.FindCursor(result_.name);
  if (made == nullptr) {
    Fail(fmt::format("cursor {} is not known", result_.name));
    return;
  }
  Replay(*made);
  result_.cursor_binary = made->cursor_binary;
  NoteNamed(Operation::kCursor, result_.name);
  if (!fetch->ismove) return;
  result_.outputs.clear();
  result_.outputs_known = true;
}

void Analyzer::CloseStatement(const ::Node* node) {
  const auto* close = As<::ClosePortalStmt>(node);
  result_.name = std::string(View(close->portalname));
  result_.name_all = close->portalname == nullptr;
  if (result_.name_all) result_.tag = "CLOSE CURSOR ALL";
  result_.outputs_known = true;
  NoteNamed(Operation::kCursor, result_.name);
}

void Analyzer::DiscardStatement(const ::Node* node) {
  result_.outputs_known = true;
  switch (As<::DiscardStmt>(node)->target) {
    case DISCARD_ALL:
      result_.tag = "DISCARD ALL";
      result_.settings.push_back({"ALL", std::nullopt, false});
      break;
    case DISCARD_PLANS:
      result_.tag = "DISCARD PLANS";
      break;
    case DISCARD_SEQUENCES:
      result_.tag = "DISCARD SEQUENCES";
      break;
    case DISCARD_TEMP:
      result_.tag = "DISCARD TEMP";
      break;
  }
  NoteNamed(Operation::kDiscard, result_.tag.substr(sizeof("DISCARD")));
}

void Analyzer::ListenStatement(const ::Node* node) {
  result_.outputs_known = true;
  NoteNamed(Operation::kListen, View(As<::ListenStmt>(node)->conditionname));
}

void Analyzer::UnlistenStatement(const ::Node* node) {
  result_.outputs_known = true;
  NoteNamed(Operation::kListen, View(As<::UnlistenStmt>(node)->conditionname));
}

void Analyzer::NotifyStatement(const ::Node* node) {
  const auto* notify = As<::NotifyStmt>(node);
  result_.outputs_known = true;
  NoteNamed(Operation::kNotify, View(notify->conditionname));
  if (notify->payload != nullptr) result_.written_constants.emplace_back(notify->payload);
}

// SET CONSTRAINTS moves checks within the transaction.
void Analyzer::ConstraintsStatement(const ::Node*) {
  result_.outputs_known = true;
  NoteNamed(Operation::kTransaction, "constraints");
}

void Analyzer::ExplainStatement(const ::Node* node) {
  const auto* explain = As<::ExplainStmt>(node);
  bool analyze = false;
  bool understood = true;
  for (const ::Node* item : Items(explain->options)) {
    const auto* option = As<::DefElem>(item);
    // The last one wins, as in Postgres.
    if (View(option->defname) == "analyze") analyze = BooleanOption(option, &understood);
  }
  if (!understood) analyze = true;
  const StatementRow* row = StatementRowOf(nodeTag(explain->query));
  if (row == nullptr || row->handler == nullptr) {
    Fail("the explained statement is not known");
    return;
  }
  SetKind(row->kind, row->tag);
  (this->*row->handler)(explain->query);
  SetKind(StatementKind::kExplain, "EXPLAIN");
  NoteNamed(Operation::kExplain, "");
  result_.outputs.clear();
  result_.outputs.push_back({"QUERY PLAN", {}, {}, {}, false});
  result_.outputs_known = true;
  select_into_ = false;
  if (analyze) return;
  // Nothing runs. What would be written is only looked at, and nothing is stored.
  stored_ = ColumnSet();
  result_.stored.clear();
  result_.settings.clear();
  std::vector<Effect> effects = std::move(result_.effects);
  result_.effects.clear();
  for (Effect& effect : effects) {
    switch (effect.operation) {
      case Operation::kInsert:
      case Operation::kUpdate:
      case Operation::kDelete:
      case Operation::kLock:
        EffectIndex(Operation::kSelect, effect.object_kind, effect.schema, effect.name, effect.oid, effect.derived,
                    effect.location);
        break;
      case Operation::kCreate:
        break;
      default: {
        const int index = EffectIndex(effect.operation, effect.object_kind, effect.schema, effect.name, effect.oid,
                                      effect.derived, effect.location);
        Effect& kept = result_.effects[index];
        kept.columns.insert(kept.columns.end(), effect.columns.begin(), effect.columns.end());
        kept.all_columns = kept.all_columns || effect.all_columns;
      }
    }
  }
}

}  // namespace postern::sql::internal
