// Looks into views and SQL functions with the same analyser.
#include <algorithm>

#include "common/sql/analyzer.h"
#include "common/sql/lineage_cache.h"
#include "common/sql/parse.h"
#include "fmt/format.h"

namespace postern::sql::internal {
namespace {

// Views of views of views… beyond this are not followed.
constexpr size_t kMaxExpansion = 32;

// Definitions stand alone: no session state, no prepared statements, and a search_path that holds pg_catalog only, so
// that a name which is not qualified cannot be taken for something else.
std::unique_ptr<const Lineage> AnalyseDefinition(Oid oid, std::string_view text, const MessageState& outer,
                                                 bool function_body) {
  auto failed = [](std::string why) {
    auto lineage = std::make_unique<Lineage>();
    lineage->failure = std::move(why);
    return lineage;
  };
  if (outer.expanding.size() >= kMaxExpansion) return failed("views are nested too deeply");
  if (std::find(outer.expanding.begin(), outer.expanding.end(), oid) != outer.expanding.end()) {
    return failed("it refers to itself");
  }
  ParsedText parsed;
  if (!parsed.Parse(text, outer.options.limits).ok()) return failed("its definition does not parse");
  const Items statements(parsed.statements());
  if (statements.size() != 1) return failed("its definition is not one statement");
  const ::Node* statement = As<::RawStmt>(statements[0])->stmt;
  if (nodeTag(statement) != T_SelectStmt) return failed("its definition is not a query");
  const SessionView session;
  AnalysisOptions options = outer.options;
  options.open_catalog = false;
  MessageState state{outer.catalog, session, options, {}, "", {}, {}, outer.expanding, function_body};
  state.expanding.push_back(oid);
  return Analyzer(state).RunLineage(statement);
}

}  // namespace

const Lineage* Analyzer::ViewLineage(const Relation& view) {
  LineageCache& cache = catalog_.lineages();
  const Lineage* lineage = cache.Find(view.oid);
  if (lineage == nullptr) {
    std::unique_ptr<const Lineage> made = AnalyseDefinition(view.oid, view.view_definition, message_, false);
    if (made->failure.empty() && made->columns.size() != view.columns.size()) {
      auto mismatch = std::make_unique<Lineage>();
      mismatch->failure = "its definition has other columns than the catalog says";
      made = std::move(mismatch);
    }
    lineage = cache.Insert(view.oid, std::move(made));
  }
  if (!lineage->failure.empty()) {
    Fail(fmt::format("view {}.{} cannot be looked into: {}", view.schema, view.name, lineage->failure));
  }
  return lineage;
}

// nullptr: not a function that is looked into.
const Lineage* Analyzer::FunctionLineage(const Function& function) {
  if (function.language != "sql" || function.source.empty() || function.kind != 'f') return nullptr;
  LineageCache& cache = catalog_.lineages();
  const Lineage* lineage = cache.Find(function.oid);
  if (lineage != nullptr) return lineage;
  return cache.Insert(function.oid, AnalyseDefinition(function.oid, function.source, message_, true));
}

void Analyzer::NoteLineage(const Lineage& lineage) {
  for (const Effect& effect : lineage.effects) {
    const int index =
        EffectIndex(effect.operation, effect.object_kind, effect.schema, effect.name, effect.oid, true, -1);
    Effect& mine = result_.effects[index];
    mine.columns.insert(mine.columns.end(), effect.columns.begin(), effect.columns.end());
    mine.all_columns = mine.all_columns || effect.all_columns;
  }
  result_.relations.insert(result_.relations.end(), lineage.relations.begin(), lineage.relations.end());
}

}  // namespace postern::sql::internal
