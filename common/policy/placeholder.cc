#include "common/policy/placeholder.h"

#include <algorithm>
#include <utility>

#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/policy/compiled.h"
#include "fmt/format.h"

namespace postern::policy {
namespace {

absl::StatusOr<PlaceholderText> Change(const CompiledPolicy& policy, const Asking& asking, std::string_view text,
                                       const sql::Analysis& before, const sql::Catalog& catalog,
                                       const sql::SessionView& session, const sql::AnalysisOptions& options,
                                       const std::vector<size_t>& statements,
                                       const std::vector<sql::ColumnId>& columns) {
  PlaceholderText changed;
  POSTERN_ASSIGN_OR_RETURN(changed.edits, sql::PlaceholderEdits(text, catalog, session, options, statements, columns));
  changed.text = sql::ApplyEdits(text, changed.edits);
  POSTERN_ASSIGN_OR_RETURN(changed.analysis, sql::Analyze(changed.text, catalog, session, options));
  POSTERN_RETURN_IF_ERROR(sql::CheckSameMeaning(before, changed.analysis));
  for (const sql::Statement& statement : changed.analysis.statements) {
    Decision decision = policy.Judge(asking.subject, asking.target, asking.intent, statement, catalog);
    if (decision.verdict == Verdict::kDeny) return absl::FailedPreconditionError(decision.reason);
    changed.decisions.push_back(std::move(decision));
  }
  return changed;
}

// Those of `columns` that the statements read: of the others nothing needs to be said.
std::vector<std::string> Names(const sql::Analysis& analysis, const std::vector<sql::ColumnId>& columns,
                               const sql::Catalog& catalog) {
  std::vector<std::string> names;
  for (const sql::ColumnId column : columns) {
    const sql::Relation* relation = catalog.FindRelation(column.relation);
    if (relation == nullptr) continue;
    const std::string name = ColumnName(column, catalog);
    const std::string own = name.substr(relation->schema.size() + relation->name.size() + 2);
    const auto reads = [&](const sql::Effect& effect) {
      return effect.oid == column.relation &&
             (effect.all_columns ||
              std::find(effect.columns.begin(), effect.columns.end(), own) != effect.columns.end());
    };
    const bool read =
        std::any_of(analysis.statements.begin(), analysis.statements.end(), [&](const sql::Statement& statement) {
          return std::any_of(statement.effects.begin(), statement.effects.end(), reads);
        });
    if (read) names.push_back(name + ": placeholder");
  }
  return names;
}

}  // namespace

std::optional<PlaceholderText> WithPlaceholders(const CompiledPolicy& policy, const Asking& asking,
                                                std::string_view text, const sql::Analysis& analysis,
                                                const sql::Catalog& catalog, const sql::SessionView& session,
                                                const sql::AnalysisOptions& options, std::vector<Decision>* decisions) {
  std::vector<size_t> statements;
  std::vector<sql::ColumnId> columns;
  for (size_t i = 0; i < decisions->size(); ++i) {
    const Decision& decision = (*decisions)[i];
    if (decision.verdict != Verdict::kDeny) continue;
    if (decision.placeholders.empty()) return std::nullopt;
    statements.push_back(i);
    columns.insert(columns.end(), decision.placeholders.begin(), decision.placeholders.end());
  }
  if (statements.empty()) return std::nullopt;
  std::sort(columns.begin(), columns.end());
  columns.erase(std::unique(columns.begin(), columns.end()), columns.end());
  absl::StatusOr<PlaceholderText> changed =
      Change(policy, asking, text, analysis, catalog, session, options, statements, columns);
  if (!changed.ok()) {
    for (const size_t i : statements) {
      (*decisions)[i].hint +=
          fmt::format("; no placeholder can stand in for it here, because {}", StdView(changed.status().message()));
    }
    return std::nullopt;
  }
  changed->columns = Names(analysis, columns, catalog);
  return *std::move(changed);
}

}  // namespace postern::policy
