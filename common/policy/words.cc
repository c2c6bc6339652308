// Rules and effects in words, for DETAIL, HINT and explain.
#include <algorithm>
#include <string>
#include <vector>

#include "common/policy/compiled.h"
#include "fmt/format.h"

namespace postern::policy {

std::string SubjectInWords(const Subject& subject) {
  std::string text = fmt::format("agent {}", subject.agent);
  if (!subject.on_behalf_of.empty()) text += fmt::format(" on behalf of {}", subject.on_behalf_of);
  if (!subject.groups.empty()) text += fmt::format(" in {}", fmt::join(subject.groups, ", "));
  return text;
}

std::string ObjectName(const sql::Effect& effect) {
  const std::string name = effect.schema.empty() ? effect.name
                           : effect.name.empty() ? effect.schema
                                                 : fmt::format("{}.{}", effect.schema, effect.name);
  switch (effect.object_kind) {
    case sql::ObjectKind::kFunction:
      return fmt::format("function {}", name);
    case sql::ObjectKind::kSchema:
      return fmt::format("schema {}", name);
    case sql::ObjectKind::kSetting:
      return fmt::format("setting {}", name);
    default:
      return name;
  }
}

std::string EffectName(const sql::Effect& effect) {
  const std::string object = ObjectName(effect);
  const std::string_view operation = sql::OperationName(effect.operation);
  return object.empty() ? std::string(operation) : fmt::format("{} on {}", operation, object);
}

std::string ColumnName(sql::ColumnId id, const sql::Catalog& catalog) {
  const sql::Relation* relation = catalog.FindRelation(id.relation);
  if (relation == nullptr) return "a column";
  const auto column = std::find_if(relation->columns.begin(), relation->columns.end(),
                                   [&](const sql::Column& c) { return c.attnum == id.attnum; });
  const std::string name = column == relation->columns.end() ? "*" : column->name;
  return fmt::format("{}.{}.{}", relation->schema, relation->name, name);
}

std::string RuleWithPlace(const RuleRef& ref) { return fmt::format("{} ({}:{})", ref.ToString(), ref.path, ref.line); }

std::string RuleInWords(const CompiledRule& rule, VerbSet verbs) {
  std::string text = verbs.ToString();
  if (!rule.only.empty()) text += fmt::format(" of {}", fmt::join(rule.only, ", "));
  if (!rule.except.empty()) text += fmt::format(" of all columns but {}", fmt::join(rule.except, ", "));
  std::vector<std::string> conditions;
  if (!rule.where_on.empty()) conditions.push_back(fmt::format("a WHERE on {}", fmt::join(rule.where_on, ", ")));
  if (rule.limit_max > 0) conditions.push_back(fmt::format("a LIMIT of at most {}", rule.limit_max));
  if (rule.where && rule.where_on.empty()) conditions.push_back("a WHERE");
  if (rule.rows_max > 0) conditions.push_back(fmt::format("at most {} rows changed", rule.rows_max));
  if (!conditions.empty()) text += fmt::format(" with {}", fmt::join(conditions, " and "));
  if (rule.effect == v1::RULE_EFFECT_HOLD) text += fmt::format(" (held for {})", fmt::join(rule.hold.groups, ", "));
  return text;
}

std::string AllowedInstead(const Matching& matching, const sql::Effect& effect) {
  constexpr size_t kMostRules = 6;
  std::vector<std::string> parts;
  for (const CompiledDocument* document : matching) {
    for (const CompiledRule& rule : document->rules) {
      if (!rule.grants() || rule.on_token || rule.verbs.empty() || !ObjectCovered(rule, effect)) continue;
      std::string words = RuleInWords(rule, rule.verbs);
      // `all` in full would drown the rest.
      if (rule.verbs.ContainsAll(AllVerbs())) words = "every operation that is not a named permission";
      if (std::find(parts.begin(), parts.end(), words) == parts.end()) parts.push_back(std::move(words));
    }
  }
  if (parts.empty()) return "";
  if (parts.size() > kMostRules) parts.resize(kMostRules);
  const std::string object = ObjectName(effect);
  return fmt::format("allowed{}: {}", object.empty() ? "" : " on " + object, fmt::join(parts, "; "));
}

}  // namespace postern::policy
