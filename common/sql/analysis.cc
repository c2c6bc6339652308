#include "common/sql/analysis.h"

#include <utility>

#include "common/sql/analyzer.h"
#include "common/sql/parse.h"
#include "fmt/format.h"

namespace postern::sql {
namespace {

using internal::Items;
using internal::MessageState;

// The session's path with "$user" filled in, and without schemas that do not exist.
std::vector<std::string> EffectivePath(const std::vector<std::string>& path, std::string_view role) {
  std::vector<std::string> effective;
  for (const std::string& schema : path) {
    if (schema == "$user") {
      if (!role.empty()) effective.emplace_back(role);
    } else {
      effective.push_back(schema);
    }
  }
  return effective;
}

// What the statements after this one must know: settings that change names, new definitions, changed catalog.
void Remember(const Statement& statement, MessageState* state, bool* path_changed) {
  if (statement.changes_catalog) {
    state->names_uncertain = "an earlier statement of the message changes the catalog; send it on its own";
  }
  for (const SettingChange& change : statement.settings) {
    if (change.name == "ALL" || (change.name == "search_path" && !change.value.has_value())) {
      state->names_uncertain = "an earlier statement of the message resets search_path; send it on its own";
    } else if (change.name == "search_path") {
      state->search_path = EffectivePath(SplitSearchPath(*change.value), state->session.role);
      *path_changed = true;
    } else if (change.name == "role" || change.name == "session_authorization") {
      state->names_uncertain = "an earlier statement of the message changes the role; send it on its own";
    }
  }
  switch (statement.transaction) {
    case TransactionAction::kNone:
    case TransactionAction::kBegin:
    case TransactionAction::kSavepoint:
    case TransactionAction::kRelease:
      break;
    default:
      // SET is undone by a rollback, SET LOCAL by any end.
      if (*path_changed) {
        state->names_uncertain = "search_path changes and a transaction ends in the same message; send them apart";
      }
  }
  if (statement.kind == StatementKind::kPrepare) state->prepared.insert_or_assign(statement.name, statement);
  if (statement.kind == StatementKind::kDeclareCursor) state->cursors.insert_or_assign(statement.name, statement);
}

// Leaves white space at both ends out of the statement's place.
void Trim(std::string_view text, Statement* statement) {
  const auto is_space = [&](int i) { return text[i] == ' ' || (text[i] >= '\t' && text[i] <= '\r'); };
  while (statement->length > 0 && is_space(statement->begin)) {
    ++statement->begin;
    --statement->length;
  }
  while (statement->length > 0 && is_space(statement->begin + statement->length - 1)) --statement->length;
}

}  // namespace

absl::StatusOr<Analysis> Analyze(std::string_view text, const Catalog& catalog, const SessionView& session,
                                 const AnalysisOptions& options) {
  internal::ParsedText parsed;
  if (absl::Status status = parsed.Parse(text, options.limits); !status.ok()) return status;
  return internal::AnalyzeParsed(parsed, text, catalog, session, options, nullptr);
}

namespace internal {

Analysis AnalyzeParsed(const ParsedText& parsed, std::string_view text, const Catalog& catalog,
                       const SessionView& session, const AnalysisOptions& options,
                       const std::function<void(const Analyzer&, const Statement&)>& seen) {
  Analysis analysis;
  analysis.fingerprint = Fingerprint(text);
  MessageState state{catalog, session, options, EffectivePath(session.search_path, session.role), "", {},
                     {},      {},      false};
  bool path_changed = false;
  int end = 0;
  for (const ::Node* node : Items(parsed.statements())) {
    const auto* raw = As<::RawStmt>(node);
    Analyzer analyzer(state);
    Statement statement = analyzer.Run(raw, static_cast<int>(text.size()));
    if (statement.begin < end) statement.unanalysable = "statements overlap in the text";
    end = statement.begin + statement.length;
    Trim(text, &statement);
    if (seen != nullptr) seen(analyzer, statement);
    Remember(statement, &state, &path_changed);
    analysis.statements.push_back(std::move(statement));
  }
  return analysis;
}

}  // namespace internal
}  // namespace postern::sql
