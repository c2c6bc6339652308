// Which outputs of a statement are searched by content detectors.
#include <algorithm>

#include "common/policy/compiled.h"

namespace postern::policy {
namespace {

bool MatchesAny(const std::vector<ColumnPattern>& patterns, sql::ColumnId id, const sql::Catalog& catalog) {
  const sql::Relation* relation = catalog.FindRelation(id.relation);
  if (relation == nullptr) return false;
  return std::any_of(patterns.begin(), patterns.end(), [&](const ColumnPattern& pattern) {
    if (!pattern.schema.Matches(relation->schema) || !pattern.relation.Matches(relation->name)) return false;
    return std::any_of(relation->columns.begin(), relation->columns.end(), [&](const sql::Column& column) {
      return (id.attnum == 0 || column.attnum == id.attnum) && pattern.column.Matches(column.name);
    });
  });
}

// Where an output comes from cannot always be told; then it may come from any of the columns.
bool Searches(const CompiledDetect& detect, const sql::OutputColumn& output, const sql::Catalog& catalog) {
  const std::vector<sql::ColumnId>& sources = output.sources;
  const auto excepted = [&](sql::ColumnId id) { return MatchesAny(detect.except, id, catalog); };
  if (!output.opaque && !sources.empty() && std::all_of(sources.begin(), sources.end(), excepted)) return false;
  return detect.columns.empty() || output.opaque || std::any_of(sources.begin(), sources.end(), [&](sql::ColumnId id) {
           return !excepted(id) && MatchesAny(detect.columns, id, catalog);
         });
}

void Add(const CompiledDetect& detect, Detection* detection) {
  detection->find.AddAll(detect.find);
  if (detect.alarm) detection->alarm.AddAll(detect.find);
}

}  // namespace

void FindDetections(const Matching& matching, const sql::Statement& statement, const sql::Catalog& catalog,
                    Decision* decision) {
  for (const CompiledDocument* document : matching) {
    for (const CompiledDetect& detect : document->detects) {
      Add(detect, &decision->detect_rest);
      for (size_t i = 0; i < statement.outputs.size(); ++i) {
        if (!Searches(detect, statement.outputs[i], catalog)) continue;
        decision->detections.resize(statement.outputs.size());
        Add(detect, &decision->detections[i]);
      }
    }
  }
}

}  // namespace postern::policy
