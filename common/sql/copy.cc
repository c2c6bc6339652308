// COPY: what it reads or writes, and how its stream looks.
#include "absl/strings/ascii.h"
#include "common/base/strings.h"
#include "common/sql/analyzer.h"
#include "fmt/format.h"

namespace postern::sql::internal {
namespace {

std::string OptionText(const ::DefElem* option) {
  return option->arg == nullptr ? std::string() : std::string(StringOf(option->arg));
}

// HEADER, HEADER true, HEADER match, HEADER 1.
bool HeaderOption(const ::DefElem* option) {
  if (option->arg == nullptr) return true;
  if (nodeTag(option->arg) == T_Integer) return As<::Integer>(option->arg)->ival != 0;
  if (nodeTag(option->arg) == T_Boolean) return As<::Boolean>(option->arg)->boolval;
  const std::string text = absl::AsciiStrToLower(OptionText(option));
  return text != "false" && text != "off";
}

}  // namespace

void Analyzer::CopyOptions(const ::CopyStmt* copy) {
  Statement::Copy& details = result_.copy.emplace();
  details.to = !copy->is_from;
  std::string format = "text";
  std::optional<std::string> delimiter, null_string;
  for (const ::Node* node : Items(copy->options)) {
    const auto* option = As<::DefElem>(node);
    const std::string_view name = View(option->defname);
    if (name == "format") {
      format = absl::AsciiStrToLower(OptionText(option));
    } else if (name == "delimiter") {
      delimiter = OptionText(option);
    } else if (name == "null") {
      null_string = OptionText(option);
    } else if (name == "header") {
      details.header = HeaderOption(option);
    } else if (name == "quote") {
      details.quote = OptionText(option);
    } else if (name == "escape") {
      details.escape = OptionText(option);
    } else if (name == "encoding") {
      details.encoding = OptionText(option);
    } else if (name != "freeze" && name != "force_quote" && name != "force_not_null" && name != "force_null") {
      Fail(fmt::format("COPY option {} is not known", name));
    }
  }
  details.csv = format == "csv";
  details.binary = format == "binary";
  if (!details.csv && !details.binary && format != "text") Fail(fmt::format("COPY format {} is not known", format));
  details.delimiter = delimiter.value_or(details.csv ? "," : "\t");
  details.null_string = null_string.value_or(details.csv ? "" : "\\N");
  if (details.delimiter.size() != 1) Fail("COPY's delimiter is not one byte");
  if (details.csv) {
    if (details.quote.empty()) details.quote = "\"";
    if (details.escape.empty()) details.escape = details.quote;
  }
}

void Analyzer::CopyRelation(const ::CopyStmt* copy) {
  Range* range = RelationRange(copy->relation, copy->is_from);
  std::vector<std::string_view> columns;
  for (const ::Node* node : Items(copy->attlist)) columns.push_back(StringOf(node));
  const bool all_columns = columns.empty();
  if (all_columns && range->relation != nullptr) {
    // COPY leaves generated columns out.
    for (const postern::sql::Column& column : range->relation->columns) {
      if (!column.generated) columns.push_back(column.name);
    }
  }
  Scope scope(nullptr);
  scope.Add(NamedItem(range, nullptr));
  if (copy->is_from) {
    NoteWrite(Operation::kInsert, range, columns, all_columns);
    Predicate(copy->whereClause, scope);
    result_.outputs_known = true;
    return;
  }
  if (range->view != nullptr && range->relation->kind == RelationKind::kView) Fail("COPY from a view");
  Rows rows;
  for (std::string_view column : columns) {
    std::optional<Flow> flow = ColumnNamed(range, column);
    if (!flow.has_value()) {
      Fail(fmt::format("column {} does not exist", column));
      continue;
    }
    rows.columns.push_back({std::string(column), *std::move(flow)});
  }
  rows.open = all_columns && range->open;
  if (all_columns) result_.effects[range->read_effect].all_columns = true;
  SetOutputs(rows);
}

void Analyzer::CopyStatement(const ::Node* node) {
  const auto* copy = As<::CopyStmt>(node);
  CopyOptions(copy);
  if (copy->relation != nullptr) {
    CopyRelation(copy);
  } else {
    const Scope outer(nullptr);
    const Rows rows = Query(copy->query, outer);
    if (select_into_) Fail("COPY of SELECT INTO");
    SetOutputs(rows);
    if (nodeTag(copy->query) == T_SelectStmt) {
      const auto* select = As<::SelectStmt>(copy->query);
      NoteShape(select->whereClause, nullptr, LimitOf(select));
    }
  }
  std::string_view schema;
  std::string_view name;
  if (copy->relation != nullptr && !ranges_.empty()) {
    schema = ranges_.front().schema;
    name = ranges_.front().name;
  }
  const ObjectKind kind = name.empty() ? ObjectKind::kNone : ObjectKind::kRelation;
  const Oid oid = name.empty() || ranges_.front().relation == nullptr ? 0 : ranges_.front().relation->oid;
  if (copy->is_program) {
    NoteNamed(Operation::kCopyProgram, "");
  } else if (copy->filename != nullptr) {
    NoteNamed(Operation::kCopyFile, View(copy->filename));
  } else {
    EffectIndex(copy->is_from ? Operation::kCopyIn : Operation::kCopyOut, kind, schema, name, oid, false, -1);
  }
}

}  // namespace postern::sql::internal
