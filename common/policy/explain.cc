// Explain(), and the judging of texts that it shares with the tests embedded in policies.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "common/base/status_macros.h"
#include "common/policy/compiled.h"
#include "common/policy/judge_text.h"
#include "common/policy/policy.h"
#include "common/policy/vocabulary.h"
#include "fmt/format.h"

namespace postern::policy {
namespace {

void AddEffect(const sql::Effect& effect, const EffectDecision& decision, v1::ExplainPolicyResponse* response) {
  v1::ExplainedEffect* explained = response->add_effects();
  explained->set_operation(std::string(sql::OperationName(effect.operation)));
  explained->set_object(ObjectName(effect));
  for (const std::string& column : effect.columns) explained->add_columns(column);
  if (effect.all_columns) explained->add_columns("*");
  explained->set_decision(std::string(VerdictName(decision.verdict)));
  explained->set_rule(decision.rule.ToString());
  explained->set_path(decision.rule.path);
  explained->set_line(decision.rule.line);
  for (const std::string& near_miss : decision.near_misses) explained->add_near_misses(near_miss);
}

std::string SmallestChange(const Decision& decision) {
  switch (decision.verdict) {
    case Verdict::kAllow:
      return "";
    case Verdict::kHold:
      return fmt::format("an approval: {}", decision.hint);
    case Verdict::kDeny:
      break;
  }
  // All that is denied must change, each effect by the least; masks and unanalysable statements have only the hint.
  std::vector<std::string> changes;
  for (const EffectDecision& effect : decision.effects) {
    const bool counts = effect.verdict == Verdict::kDeny && !effect.smallest_change.empty();
    if (counts && std::find(changes.begin(), changes.end(), effect.smallest_change) == changes.end()) {
      changes.push_back(effect.smallest_change);
    }
  }
  return changes.empty() ? decision.hint : fmt::format("{}", fmt::join(changes, "; and "));
}

void AddNames(const std::vector<sql::ColumnId>& columns, const sql::Catalog& catalog,
              google::protobuf::RepeatedPtrField<std::string>* names) {
  for (const sql::ColumnId column : columns) {
    std::string name = ColumnName(column, catalog);
    if (std::find(names->begin(), names->end(), name) == names->end()) *names->Add() = std::move(name);
  }
}

// What comes from where: for people who wonder why a column is masked or refused.
void AddLineage(const sql::Statement& statement, const Decision& decision, const sql::Catalog& catalog,
                v1::ExplainPolicyResponse* response) {
  for (size_t i = 0; i < statement.outputs.size(); ++i) {
    const sql::OutputColumn& output = statement.outputs[i];
    v1::ExplainedOutput* explained = response->add_outputs();
    explained->set_name(output.name);
    AddNames(output.sources, catalog, explained->mutable_sources());
    explained->set_unchanged(output.bare.has_value() && output.bare->attnum != 0);
    explained->set_opaque(output.opaque);
    for (const OutputMask& mask : decision.masks) {
      if (mask.column == static_cast<int>(i)) explained->set_mask(std::string(StrategyName(mask.strategy)));
    }
  }
  AddNames(statement.predicates, catalog, response->mutable_tested());
  AddNames(statement.stored, catalog, response->mutable_stored());
}

}  // namespace

std::string_view VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kAllow:
      return "allow";
    case Verdict::kHold:
      return "hold";
    case Verdict::kDeny:
      return "deny";
  }
  return "deny";
}

absl::StatusOr<JudgedText> JudgeText(const CompiledPolicy& policy, const Subject& subject, const TargetView& target,
                                     std::string_view text, const sql::Catalog* catalog) {
  std::shared_ptr<const sql::Catalog> empty;
  sql::AnalysisOptions options;
  if (catalog == nullptr) {
    empty = sql::Catalog::Build(v1::CatalogContents());
    catalog = empty.get();
    options.open_catalog = true;
  }
  JudgedText judged;
  POSTERN_ASSIGN_OR_RETURN(judged.analysis, sql::Analyze(text, *catalog, sql::SessionView(), options));
  const IntentView everything{{"all"}, {}};
  // A text without statements does nothing; whether the subject is known still counts.
  if (judged.analysis.statements.empty()) judged.analysis.statements.emplace_back();
  for (const sql::Statement& statement : judged.analysis.statements) {
    judged.decisions.push_back(policy.Judge(subject, target, everything, statement, *catalog));
  }
  judged.changed = WithPlaceholders(policy, {subject, target, everything}, text, judged.analysis, *catalog,
                                    sql::SessionView(), options, &judged.decisions);
  if (judged.changed) {
    judged.analysis = judged.changed->analysis;
    judged.decisions = judged.changed->decisions;
  }
  for (size_t i = 0; i < judged.decisions.size(); ++i) {
    if (judged.decisions[i].verdict > judged.decisions[judged.decisive].verdict) judged.decisive = i;
  }
  judged.verdict = judged.decisions[judged.decisive].verdict;
  return judged;
}

absl::StatusOr<v1::ExplainPolicyResponse> Explain(const CompiledPolicy& policy, const Subject& subject,
                                                  const TargetView& target, std::string_view sql,
                                                  const sql::Catalog* catalog) {
  POSTERN_ASSIGN_OR_RETURN(const JudgedText judged, JudgeText(policy, subject, target, sql, catalog));
  v1::ExplainPolicyResponse response;
  response.set_revision(policy.revision());
  response.set_decision(std::string(VerdictName(judged.verdict)));
  const Decision& decisive = judged.decisions[judged.decisive];
  response.set_reason(decisive.reason);
  if (judged.decisions.size() > 1) {
    response.set_reason(fmt::format("statement {}: {}", judged.decisive + 1, decisive.reason));
  }
  response.set_smallest_change(SmallestChange(decisive));
  if (judged.changed) {
    response.set_forwarded_sql(judged.changed->text);
    for (const std::string& column : judged.changed->columns) response.add_masks(column);
  }
  for (size_t i = 0; i < judged.decisions.size(); ++i) {
    const sql::Statement& statement = judged.analysis.statements[i];
    const Decision& decision = judged.decisions[i];
    for (size_t e = 0; e < statement.effects.size(); ++e)
      AddEffect(statement.effects[e], decision.effects[e], &response);
    for (const OutputMask& mask : decision.masks) {
      const sql::OutputColumn& output = statement.outputs[static_cast<size_t>(mask.column)];
      response.add_masks(fmt::format("{}: {}", output.name, StrategyName(mask.strategy)));
    }
    for (size_t d = 0; d < decision.detections.size(); ++d) {
      for (int n = 0; n < kDetectorCount; ++n) {
        const auto detector = static_cast<Detector>(n);
        if (!decision.detections[d].find.Contains(detector)) continue;
        response.add_masks(fmt::format("{}: {} if found", statement.outputs[d].name, DetectorName(detector)));
      }
    }
    for (const std::string& probe : decision.probes) response.add_masks(probe);
    if (catalog != nullptr) AddLineage(statement, decision, *catalog, &response);
  }
  return response;
}

}  // namespace postern::policy
