// Function calls: harmless, unsafe, or the user's.
#include "absl/strings/ascii.h"
#include "common/base/strings.h"
#include "common/sql/analyzer.h"
#include "common/sql/builtin_functions.h"
#include "fmt/format.h"

namespace postern::sql::internal {
namespace {

// A relation name in a string, as regclass reads it: schema.name, either part quoted or folded.
bool SplitRegclass(std::string_view text, std::string* schema, std::string* name) {
  std::vector<std::string> parts(1);
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') {
      for (++i; i < text.size(); ++i) {
        if (text[i] == '"') {
          if (i + 1 < text.size() && text[i + 1] == '"') {
            ++i;
          } else {
            break;
          }
        }
        parts.back() += text[i];
      }
      if (i >= text.size()) return false;
    } else if (text[i] == '.') {
      parts.emplace_back();
    } else if (absl::ascii_isspace(static_cast<unsigned char>(text[i]))) {
      return false;
    } else {
      parts.back() += absl::ascii_tolower(static_cast<unsigned char>(text[i]));
    }
  }
  if (parts.size() > 2 || parts.back().empty()) return false;
  *name = parts.back();
  if (parts.size() == 2) *schema = parts.front();
  return true;
}

}  // namespace

std::vector<const Function*> Analyzer::Functions(std::string_view schema, std::string_view name) const {
  if (schema.empty() && message_.function_body) return catalog_.FindFunctions(name);
  return catalog_.FindFunctions(message_.search_path, schema, name);
}

std::vector<const Function*> Analyzer::UserFunctions(std::string_view schema, std::string_view name) const {
  std::vector<const Function*> functions = Functions(schema, name);
  std::erase_if(functions, [](const Function* function) { return function->schema == "pg_catalog"; });
  return functions;
}

Flow Analyzer::CallOnRow(std::string_view name, Flow row, int location) {
  if (!message_.names_uncertain.empty()) Fail(message_.names_uncertain);
  const std::vector<const Function*> functions = UserFunctions("", name);
  if (functions.empty() && ClassifyBuiltin(name) != BuiltinClass::kHarmless) {
    Fail(fmt::format("column {} does not exist", name));
  }
  const Flow arguments = row;
  NoteComputed(arguments);
  for (const Function* function : functions) CallUser(*function, arguments, location, &row);
  row.Compute();
  return row;
}

void Analyzer::ExprFuncCall(const ::Node* node, const Scope& scope, Flow* out) {
  const auto* call = As<::FuncCall>(node);
  const QualifiedName name = SplitName(call->funcname);
  const Items args(call->args);

  // email(c) is c.email when there is no such function.
  if (args.size() == 1 && name.schema.empty() && nodeTag(args[0]) == T_ColumnRef && call->agg_order == nullptr &&
      call->over == nullptr && ClassifyBuiltin(name.name) == BuiltinClass::kNotListed &&
      UserFunctions("", name.name).empty()) {
    const Items fields(As<::ColumnRef>(args[0])->fields);
    Range* range = fields.size() == 1 ? FindRange(scope, "", StringOf(fields[0])) : nullptr;
    if (range != nullptr && !range->open) {
      if (std::optional<Flow> field = ColumnNamed(range, name.name)) {
        NoteComputed(*field);
        out->Add(*field);
        return;
      }
    }
  }

  if (GathersRows(name.name)) gathers_rows_ = true;
  Flow arguments;
  Expressions(call->args, scope, &arguments);
  Expressions(call->agg_order, scope, &arguments);
  Expression(call->agg_filter, scope, &arguments);
  Window(call->over, scope, &arguments);
  Flow result;
  Call(call, arguments, &result);
  out->Add(arguments);
  out->Add(result);
}

void Analyzer::Call(const ::FuncCall* call, const Flow& arguments, Flow* result) {
  const QualifiedName name = SplitName(call->funcname);
  if (!message_.names_uncertain.empty()) Fail(message_.names_uncertain);
  if (IsUnsafeExtensionFunction(name.name)) {
    std::string_view schema = name.schema.empty() ? "pg_catalog" : name.schema;
    for (const Function* function : UserFunctions(name.schema, name.name)) schema = function->schema;
    EffectIndex(Operation::kUnsafeFunction, ObjectKind::kFunction, schema, name.name, 0, false, call->location);
    NoteStored(arguments);
    result->opaque = true;
    return;
  }
  // Information schema's own helpers, which JDBC and ORMs call.
  if (name.schema == "information_schema" && name.name.starts_with("_pg_")) return;

  bool user = false;
  bool in_pg_catalog = false;
  for (const Function* function : Functions(name.schema, name.name)) {
    if (function->schema == "pg_catalog") {
      in_pg_catalog = true;
      continue;
    }
    // Which overload the server picks depends on types that analysis does not know; each of them counts.
    CallUser(*function, arguments, call->location, result);
    user = true;
  }
  const bool builtin = name.schema.empty() || name.schema == "pg_catalog";
  const bool knows_builtins = catalog_.knows_system_functions();
  if (builtin && !user && !in_pg_catalog && knows_builtins && !message_.options.open_catalog) {
    Fail(fmt::format("function {} does not exist or is not visible", name.name));
    return;
  }
  if (builtin && (!user || in_pg_catalog || ClassifyBuiltin(name.name) != BuiltinClass::kNotListed)) {
    if (message_.options.open_catalog && !in_pg_catalog && ClassifyBuiltin(name.name) == BuiltinClass::kNotListed &&
        name.schema.empty() && !message_.search_path.empty()) {
      EffectIndex(Operation::kCall, ObjectKind::kFunction, message_.search_path.front(), name.name, 0, false,
                  call->location);
      result->AddUnseen();
      return;
    }
    CallBuiltin(call, name.name, arguments, result);
    return;
  }
  if (user) return;
  if (message_.options.open_catalog) {
    EffectIndex(Operation::kCall, ObjectKind::kFunction, name.schema, name.name, 0, false, call->location);
    result->AddUnseen();
    return;
  }
  Fail(fmt::format("function {}.{} does not exist or is not visible", name.schema, name.name));
}

void Analyzer::CallBuiltin(const ::FuncCall* call, std::string_view name, const Flow& arguments, Flow* result) {
  switch (ClassifyBuiltin(name)) {
    case BuiltinClass::kHarmless:
      return;
    case BuiltinClass::kNotListed:
    case BuiltinClass::kUnsafe:
      EffectIndex(Operation::kUnsafeFunction, ObjectKind::kFunction, "pg_catalog", name, 0, false, call->location);
      NoteStored(arguments);
      result->opaque = true;
      return;
    case BuiltinClass::kSequenceRead:
      CallSequence(call, name, false, arguments);
      return;
    case BuiltinClass::kSequenceWrite:
      CallSequence(call, name, true, arguments);
      return;
    case BuiltinClass::kSetConfig:
      CallSetConfig(call, arguments);
      return;
    case BuiltinClass::kNotify: {
      const Items args(call->args);
      const std::optional<std::string> channel = args.empty() ? std::nullopt : ReadConstant(args[0]);
      NoteNamed(Operation::kNotify, channel.value_or(""), ObjectKind::kOther, call->location);
      NoteStored(arguments);
      return;
    }
    case BuiltinClass::kSleep:
      EffectIndex(Operation::kCall, ObjectKind::kFunction, "pg_catalog", name, 0, false, call->location);
      NotePredicate(arguments, false);
      return;
    case BuiltinClass::kStatistics:
      EffectIndex(Operation::kStatistics, ObjectKind::kFunction, "pg_catalog", name, 0, false, call->location);
      result->opaque = true;
      return;
  }
}

void Analyzer::CallSequence(const ::FuncCall* call, std::string_view name, bool write, const Flow& arguments) {
  const Items args(call->args);
  NoteStored(arguments);
  const std::optional<std::string> text = args.empty() ? std::nullopt : ReadConstant(args[0]);
  std::string schema;
  std::string sequence;
  if (!text.has_value() || !SplitRegclass(*text, &schema, &sequence)) {
    // Which sequence is known only at run time.
    EffectIndex(Operation::kUnsafeFunction, ObjectKind::kFunction, "pg_catalog", name, 0, false, call->location);
    return;
  }
  NoteRelationName(write ? Operation::kUpdate : Operation::kSelect, schema, sequence, false, call->location);
}

void Analyzer::CallSetConfig(const ::FuncCall* call, const Flow& arguments) {
  const Items args(call->args);
  NoteStored(arguments);
  bool constant = args.size() == 3 && nodeTag(args[2]) == T_A_Const && !As<::A_Const>(args[2])->isnull &&
                  nodeTag(&As<::A_Const>(args[2])->val.node) == T_Boolean;
  const std::optional<std::string> setting = constant ? ReadConstant(args[0]) : std::nullopt;
  const std::optional<std::string> value = constant ? ReadConstant(args[1]) : std::nullopt;
  if (!setting.has_value() || !value.has_value()) {
    EffectIndex(Operation::kUnsafeFunction, ObjectKind::kFunction, "pg_catalog", "set_config", 0, false,
                call->location);
    return;
  }
  ChangeSetting(absl::AsciiStrToLower(*setting), *value, As<::A_Const>(args[2])->val.boolval.boolval);
}

void Analyzer::CallUser(const Function& function, const Flow& arguments, int location, Flow* result) {
  EffectIndex(Operation::kCall, ObjectKind::kFunction, function.schema, function.name, function.oid, false, location);
  if (function.kind == 'a') gathers_rows_ = true;
  const Lineage* lineage = FunctionLineage(function);
  if (lineage == nullptr || !lineage->failure.empty()) {
    // It may do anything with its arguments and return anything.
    if (function.volatility == 'v') NoteStored(arguments);
    result->AddUnseen();
    return;
  }
  NoteLineage(*lineage);
  // The operators of its body are looked for on the path of the caller.
  uses_operators_ = uses_operators_ || lineage->uses_operators;
  for (const Flow& column : lineage->columns) result->Add(column);
  for (const ColumnId& column : lineage->predicates) {
    predicates_.Add(column, false);
    result->sources.Add(column);
  }
}

void Analyzer::NoteFunction(const ::List* name, Operation operation) {
  const QualifiedName function = SplitName(name);
  EffectIndex(operation, ObjectKind::kFunction, function.schema, function.name, 0, false, -1);
}

}  // namespace postern::sql::internal
