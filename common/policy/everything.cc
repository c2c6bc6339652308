// Does policy allow whatever a statement may be? Then no statement needs to be understood to be allowed.
#include <algorithm>

#include "common/policy/compiled.h"

namespace postern::policy {
namespace {

bool IsUnconditional(const CompiledRule& rule) {
  return rule.any_object && rule.functions.empty() && rule.only.empty() && rule.except.empty() &&
         rule.where_on.empty() && rule.limit_max == 0 && !rule.where && rule.rows_max == 0;
}

bool PinsNothing(const v1::SessionSettings& session) {
  return session.role().empty() && session.statement_timeout_ms() == 0 && !session.read_only();
}

}  // namespace

const CompiledRule* RuleOfEverything(const Matching& matching, const IntentView& intent) {
  const VerbSet everything = AllVerbs() | NamedPermissions();
  if (!intent.objects.empty() || !IntentVerbs(intent).ContainsAll(everything)) return nullptr;
  const CompiledRule* found = nullptr;
  for (const CompiledDocument* document : matching) {
    if (!document->masks.empty() || !document->detects.empty() || !PinsNothing(document->session)) return nullptr;
    for (const CompiledRule& rule : document->rules) {
      if (rule.on_token) continue;
      if (rule.effect != v1::RULE_EFFECT_ALLOW || rule.rows_max > 0) return nullptr;
      if (found == nullptr && IsUnconditional(rule) && rule.verbs.ContainsAll(everything)) found = &rule;
    }
  }
  return found;
}

bool CompiledPolicy::AllowsEverything(const Subject& subject, const TargetView& target,
                                      const IntentView& intent) const {
  return RuleOfEverything(MatchingDocuments(impl_->documents, subject, target), intent) != nullptr;
}

}  // namespace postern::policy
