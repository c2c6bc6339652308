#include "common/policy/recorded.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "common/sql/literals.h"

namespace postern::policy {
namespace {

using sql::ObjectKind;
using sql::Operation;

ObjectKind KindOf(Operation operation, bool has_schema) {
  switch (operation) {
    case Operation::kCall:
    case Operation::kUnsafeFunction:
    case Operation::kCreateFunction:
    case Operation::kFunctionCall:
      return ObjectKind::kFunction;
    case Operation::kSet:
    case Operation::kShow:
    case Operation::kSetProtected:
    case Operation::kAlterSystem:
      return ObjectKind::kSetting;
    default:
      return has_schema ? ObjectKind::kRelation : ObjectKind::kOther;
  }
}

void SplitColumns(std::string_view list, sql::Effect* effect) {
  if (list == "*") {
    effect->all_columns = true;
    return;
  }
  while (!list.empty()) {
    const size_t comma = list.find(", ");
    effect->columns.emplace_back(list.substr(0, comma));
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 2);
  }
}

bool SameEffect(const sql::Effect& a, const sql::Effect& b) {
  return a.operation == b.operation && a.schema == b.schema && a.name == b.name;
}

// Strings whose content no judgement depends on say too much for a file that people share.
std::string WithoutStrings(std::string_view text, const std::vector<sql::Statement>& statements) {
  sql::TextShape shape;
  if (!sql::ShapeOf(text, &shape)) return "";
  std::string out;
  size_t at = 0;
  for (const sql::Literal& literal : shape.literals) {
    const bool read = std::any_of(statements.begin(), statements.end(), [&](const sql::Statement& statement) {
      return std::binary_search(statement.read_constants.begin(), statement.read_constants.end(),
                                static_cast<int>(literal.begin));
    });
    if (!literal.is_string || read) continue;
    out += text.substr(at, literal.begin - at);
    out += "'x'";
    at = literal.end;
  }
  return out + std::string(text.substr(at));
}

bool Understood(const absl::StatusOr<sql::Analysis>& analysis) {
  return analysis.ok() && std::none_of(analysis->statements.begin(), analysis->statements.end(),
                                       [](const sql::Statement& s) { return s.unanalysable.has_value(); });
}

}  // namespace

std::optional<sql::Effect> ParseEffect(std::string_view text) {
  sql::Effect effect;
  constexpr std::string_view kDerived = " [derived]";
  if (text.ends_with(kDerived)) {
    effect.derived = true;
    text.remove_suffix(kDerived.size());
  }
  if (text.ends_with(')')) {
    const size_t open = text.rfind(" (");
    if (open != std::string_view::npos) {
      SplitColumns(text.substr(open + 2, text.size() - open - 3), &effect);
      text = text.substr(0, open);
    }
  }
  const size_t space = text.find(' ');
  const std::optional<Operation> operation = sql::OperationFromName(text.substr(0, space));
  if (!operation) return std::nullopt;
  effect.operation = *operation;
  if (space == std::string_view::npos) return effect;
  const std::string_view object = text.substr(space + 1);
  const size_t dot = object.find('.');
  if (dot != std::string_view::npos) effect.schema = std::string(object.substr(0, dot));
  effect.name = std::string(object.substr(dot == std::string_view::npos ? 0 : dot + 1));
  effect.object_kind = KindOf(effect.operation, !effect.schema.empty());
  return effect;
}

const sql::Statement* Replayer::Session::FindPrepared(std::string_view name) const {
  const auto it = prepared.find(name);
  return it == prepared.end() ? nullptr : &it->second;
}

const sql::Statement* Replayer::Session::FindCursor(std::string_view name) const {
  const auto it = cursors.find(name);
  return it == cursors.end() ? nullptr : &it->second;
}

std::shared_ptr<const sql::Catalog> Replayer::CatalogOf(const v1::AuditRecord& record) const {
  return catalogs_ == nullptr ? nullptr : catalogs_->Find(record.target(), record.database());
}

Recorded Replayer::Read(const v1::AuditRecord& record) {
  static const std::shared_ptr<const sql::Catalog> kEmpty = sql::Catalog::Build(v1::CatalogContents());
  Recorded read;
  read.record = &record;
  Session& session = sessions_[record.session_id()];
  session.search_path = sql::SplitSearchPath(record.search_path());
  session.role = record.role();
  const std::shared_ptr<const sql::Catalog> catalog = CatalogOf(record);
  absl::StatusOr<sql::Analysis> analysis = absl::NotFoundError("no catalog");
  if (catalog != nullptr) analysis = sql::Analyze(record.sql(), *catalog, session);
  read.by_catalog = Understood(analysis);
  if (!read.by_catalog) {
    // The catalog has moved on since, or there is none.
    sql::AnalysisOptions options;
    options.open_catalog = true;
    analysis = sql::Analyze(record.sql(), *kEmpty, session, options);
  }
  if (Understood(analysis)) {
    for (const sql::Statement& statement : analysis->statements) {
      if (statement.kind == sql::StatementKind::kPrepare) session.prepared[statement.name] = statement;
      if (statement.kind == sql::StatementKind::kDeclareCursor) session.cursors[statement.name] = statement;
    }
    read.statements = std::move(analysis->statements);
    read.text = WithoutStrings(record.sql(), read.statements);
  }
  for (const std::string& text : record.effects()) {
    std::optional<sql::Effect> effect = ParseEffect(text);
    if (!effect) continue;
    for (const sql::Statement& statement : read.statements) {
      for (const sql::Effect& known : statement.effects) {
        if (!SameEffect(known, *effect)) continue;
        effect->object_kind = known.object_kind;
        effect->oid = known.oid;
      }
    }
    read.effects.push_back(*std::move(effect));
  }
  return read;
}

}  // namespace postern::policy
