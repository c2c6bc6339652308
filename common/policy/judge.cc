// Judge(): one statement against the policies that speak of its subject.
//
// Nothing here depends on the order of policies, rules or effects: rules are visited sorted by policy and id, and among
// effects of one verdict the decisive one is chosen by name.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "common/policy/compiled.h"
#include "common/policy/masks.h"
#include "common/policy/pinned.h"
#include "common/policy/policy.h"
#include "fmt/format.h"

namespace postern::policy {
namespace {

using sql::ObjectKind;
using sql::Operation;

// The grant's narrowing, in a form that is cheap to ask.
struct CompiledIntent {
  VerbSet verbs;
  std::vector<ObjectPattern> objects;

  explicit CompiledIntent(const IntentView& intent)
      : verbs(IntentVerbs(intent)), objects(ObjectPatterns(intent.objects)) {}

  bool VerbFits(const sql::Effect& effect) const { return verbs.Contains(effect.operation); }
  bool ObjectFits(const sql::Effect& effect) const {
    // Functions, settings and what has no schema are narrowed by the verb alone.
    if (objects.empty() || effect.object_kind == ObjectKind::kFunction) return true;
    if (effect.object_kind == ObjectKind::kSchema) {
      const std::string& schema = effect.name.empty() ? effect.schema : effect.name;
      return std::any_of(objects.begin(), objects.end(), [&](const ObjectPattern& pattern) {
        return pattern.name().any() && pattern.schema().Matches(schema);
      });
    }
    if (effect.schema.empty() && effect.object_kind != ObjectKind::kRelation) return true;
    return std::any_of(objects.begin(), objects.end(),
                       [&](const ObjectPattern& pattern) { return pattern.Matches(effect.schema, effect.name); });
  }
};

struct Outcome {
  Verdict verdict = Verdict::kDeny;
  // Of a deny.
  std::string_view code = kReasonNoRule;
  const CompiledRule* rule = nullptr;
  int64_t rows_max = 0;
};

bool Before(const RuleRef& a, const RuleRef& b) { return a.policy != b.policy ? a.policy < b.policy : a.rule < b.rule; }

// The hold that asks more: more approvals, then the first by name.
const CompiledRule* StricterHold(const CompiledRule* a, const CompiledRule* b) {
  if (a == nullptr || b == nullptr) return a == nullptr ? b : a;
  if (a->hold.approvals != b->hold.approvals) return a->hold.approvals > b->hold.approvals ? a : b;
  return Before(b->ref, a->ref) ? b : a;
}

// A hold rule reaches an operation that needs no rule only when it names it: a hold on `all` is not meant for BEGIN,
// nor one on every object for the catalogs that psql reads.
bool HoldNames(const CompiledRule& rule, const sql::Effect& effect) {
  if (!IsCatalogRead(effect)) return rule.named_verbs.Contains(effect.operation);
  return std::any_of(rule.objects.begin(), rule.objects.end(), [&](const ObjectPattern& pattern) {
    return !pattern.schema().any() && pattern.Matches(effect.schema, effect.name);
  });
}

Outcome JudgeEffect(const EffectView& view, const Matching& matching) {
  const bool needs_no_rule = NeedsNoRule(view.effect);
  const CompiledRule* allow = nullptr;
  const CompiledRule* hold = nullptr;
  bool covered = needs_no_rule || view.effect.derived;
  int64_t rows_max = 0;
  for (const CompiledDocument* document : matching) {
    for (const CompiledRule& rule : document->rules) {
      if (!rule.verbs.Contains(view.effect.operation) || rule.on_token) continue;
      if (rule.effect == v1::RULE_EFFECT_DENY) {
        if (ObjectTouched(rule, view) && ColumnsTouched(rule, view.effect)) {
          return {Verdict::kDeny, kReasonDenyRule, &rule, 0};
        }
        continue;
      }
      if (view.effect.derived) continue;
      const bool covers = ObjectCovered(rule, view.effect) && !FirstObstacle(rule, view, false);
      if (rule.effect == v1::RULE_EFFECT_HOLD) {
        // Failing a hold's conditions is no way around it when another rule would allow: touching is enough.
        const bool holds = covers || (ObjectTouched(rule, view) && ColumnsTouched(rule, view.effect));
        if (holds && (!needs_no_rule || HoldNames(rule, view.effect))) hold = StricterHold(hold, &rule);
      } else if (covers && allow == nullptr) {
        allow = &rule;
      }
      if (!covers) continue;
      covered = true;
      if (rule.rows_max > 0) rows_max = rows_max == 0 ? rule.rows_max : std::min(rows_max, rule.rows_max);
    }
  }
  if (!covered) return {Verdict::kDeny, kReasonNoRule, nullptr, 0};
  if (hold != nullptr) return {Verdict::kHold, "", hold, rows_max};
  return {Verdict::kAllow, "", allow, rows_max};
}

// strict if any policy says so; relaxed only if all do.
std::string AuditOf(const Matching& matching) {
  size_t relaxed = 0;
  for (const CompiledDocument* document : matching) {
    if (document->session.audit() == "strict") return "strict";
    if (document->session.audit() == "relaxed") ++relaxed;
  }
  return relaxed == matching.size() ? "relaxed" : "";
}

// Why no rule covers the effect, and the least that would.
void ExplainNoRule(const EffectView& view, const Matching& matching, EffectDecision* decision) {
  const std::string_view verb = sql::OperationName(view.effect.operation);
  std::string by_statement, by_verb, by_object;
  for (const CompiledDocument* document : matching) {
    for (const CompiledRule& rule : document->rules) {
      if (!rule.grants() || rule.on_token) continue;
      const bool verb_fits = rule.verbs.Contains(view.effect.operation);
      const bool object_fits = ObjectCovered(rule, view.effect);
      if (verb_fits && object_fits) {
        const Obstacle obstacle = FirstObstacle(rule, view, true).value_or(Obstacle());
        decision->near_misses.push_back(
            fmt::format("{}: {} ({}:{})", rule.ref.ToString(), obstacle.condition, rule.ref.path, rule.ref.line));
        if (by_statement.empty()) {
          by_statement = fmt::format("change the statement: {}; then {} {} it", obstacle.statement_change,
                                     rule.ref.ToString(), rule.effect == v1::RULE_EFFECT_HOLD ? "holds" : "allows");
        }
      } else if (object_fits && by_verb.empty()) {
        by_verb = fmt::format("change the policy: add `{}` to `do` of {}", verb, RuleWithPlace(rule.ref));
      } else if (verb_fits && by_object.empty()) {
        by_object = fmt::format("change the policy: add `{}` to `{}` of {}", ObjectName(view.effect),
                                view.effect.object_kind == ObjectKind::kFunction ? "functions" : "objects",
                                RuleWithPlace(rule.ref));
      }
    }
  }
  decision->smallest_change = !by_statement.empty() ? by_statement : !by_verb.empty() ? by_verb : by_object;
  if (decision->smallest_change.empty()) {
    decision->smallest_change = fmt::format("change the policy: add a rule with `do: [{}]` to policy {} ({})", verb,
                                            matching.front()->name, matching.front()->path);
  }
}

// Judges one statement; holds what the parts share.
class StatementJudge {
 public:
  StatementJudge(const Matching& matching, const IntentView& intent, const sql::Statement& statement,
                 const sql::Catalog& catalog, Decision* decision)
      : matching_(matching), intent_(intent), statement_(statement), catalog_(catalog), decision_(*decision) {}

  void Run() {
    decision_.audit = AuditOf(matching_);
    decision_.verdict = Verdict::kAllow;
    lone_relation_ = HasLoneRelation();
    for (size_t i = 0; i < statement_.effects.size(); ++i) JudgeOne(i);
    const bool masks_hold = JudgeMasks(matching_, statement_, catalog_, &decision_);
    // What the effects say comes first: without the right to read at all, how to read matters little.
    if (denied_ != nullptr) {
      Deny();
    } else if (!masks_hold) {
      decision_.verdict = Verdict::kDeny;
    } else if (hold_ != nullptr) {
      Hold();
    } else if (allow_ != nullptr) {
      decision_.rule = allow_->ref;
    }
    if (decision_.verdict == Verdict::kDeny) {
      decision_.masks.clear();
      decision_.affected_rows_max.reset();
    }
  }

 private:
  bool HasLoneRelation() const {
    const sql::Effect* first = nullptr;
    for (const sql::Effect& effect : statement_.effects) {
      if (effect.object_kind != ObjectKind::kRelation || effect.derived || IsCatalogRead(effect)) continue;
      if (first == nullptr) first = &effect;
      if (first->schema != effect.schema || first->name != effect.name) return false;
    }
    return true;
  }

  EffectView View(const sql::Effect& effect) const {
    EffectView view{effect, statement_, {}, lone_relation_};
    if (effect.object_kind == ObjectKind::kRelation && effect.oid != 0) {
      const sql::Relation* relation = catalog_.FindRelation(effect.oid);
      if (relation != nullptr) view.relatives = RelativesOf(*relation, catalog_);
    }
    return view;
  }

  void JudgeOne(size_t index) {
    const sql::Effect& effect = statement_.effects[index];
    const EffectView view = View(effect);
    Outcome outcome = JudgeEffect(view, matching_);
    const bool narrowed = !effect.derived && !NeedsNoRule(effect);
    if (outcome.verdict != Verdict::kDeny && narrowed && !(intent_.VerbFits(effect) && intent_.ObjectFits(effect))) {
      outcome = {Verdict::kDeny, kReasonIntent, nullptr, 0};
    }
    EffectDecision& decision = decision_.effects[index];
    decision.verdict = outcome.verdict;
    if (outcome.rule != nullptr) decision.rule = outcome.rule->ref;
    switch (outcome.verdict) {
      case Verdict::kDeny:
        if (outcome.code == kReasonNoRule) ExplainNoRule(view, matching_, &decision);
        if (outcome.code == kReasonDenyRule) {
          decision.smallest_change =
              fmt::format("change the policy: narrow or remove {}", RuleWithPlace(decision.rule));
        }
        ConsiderDenied(index, outcome);
        return;
      case Verdict::kHold:
        hold_ = StricterHold(hold_, outcome.rule);
        break;
      case Verdict::kAllow:
        if (outcome.rule != nullptr && (allow_ == nullptr || Before(outcome.rule->ref, allow_->ref))) {
          allow_ = outcome.rule;
        }
        break;
    }
    if (outcome.rows_max > 0) {
      decision_.affected_rows_max = std::min(decision_.affected_rows_max.value_or(outcome.rows_max), outcome.rows_max);
    }
  }

  // A deny rule's word before a missing rule before the intent; then by name, so that order never matters.
  static int Rank(std::string_view code) { return code == kReasonDenyRule ? 0 : code == kReasonNoRule ? 1 : 2; }

  void ConsiderDenied(size_t index, const Outcome& outcome) {
    const sql::Effect& effect = statement_.effects[index];
    if (denied_ != nullptr) {
      const auto key = [](const Outcome& o, const sql::Effect& e) {
        return std::make_pair(Rank(o.code), e.ToString());
      };
      if (!(key(outcome, effect) < key(denied_outcome_, *denied_))) return;
    }
    denied_ = &effect;
    denied_index_ = index;
    denied_outcome_ = outcome;
  }

  void Deny() {
    const sql::Effect& effect = *denied_;
    EffectDecision& effect_decision = decision_.effects[denied_index_];
    decision_.verdict = Verdict::kDeny;
    decision_.placeholders.clear();
    decision_.reason_code = denied_outcome_.code;
    decision_.rule = effect_decision.rule;
    if (denied_outcome_.code == kReasonDenyRule) {
      const RuleRef& rule = effect_decision.rule;
      decision_.reason = fmt::format("denied by {}: {}{}{}", RuleWithPlace(rule), EffectName(effect),
                                     rule.message.empty() ? "" : ": ", rule.message);
      decision_.hint = "no other rule outweighs a deny rule; ask the policy's owner if this is needed";
    } else if (denied_outcome_.code == kReasonNoRule) {
      decision_.reason = fmt::format("{}: no rule of {} covers it", EffectName(effect), PolicyNames());
      if (!effect_decision.near_misses.empty()) decision_.reason += "; " + effect_decision.near_misses.front();
      decision_.hint = AllowedInstead(matching_, effect);
      if (decision_.hint.empty()) {
        const std::string object = ObjectName(effect);
        decision_.hint = fmt::format("policy allows nothing{}", object.empty() ? " of the kind" : " on " + object);
      }
    } else {
      DenyForIntent(effect, &effect_decision);
    }
  }

  void DenyForIntent(const sql::Effect& effect, EffectDecision* effect_decision) {
    if (!intent_.VerbFits(effect)) {
      const VerbSet asked = intent_.verbs;
      decision_.reason = fmt::format("{}: the token was requested for {} only", EffectName(effect),
                                     asked.empty() ? "nothing" : asked.ToString());
    } else {
      std::vector<std::string> objects;
      for (const ObjectPattern& object : intent_.objects) objects.push_back(object.ToString());
      decision_.reason =
          fmt::format("{}: the token was requested for {} only", EffectName(effect), fmt::join(objects, ", "));
    }
    decision_.hint =
        fmt::format("policy allows this; request a token whose --do has {}{}", sql::OperationName(effect.operation),
                    intent_.ObjectFits(effect) ? "" : " and whose --objects has " + ObjectName(effect));
    effect_decision->smallest_change = decision_.hint;
  }

  void Hold() {
    decision_.verdict = Verdict::kHold;
    decision_.rule = hold_->ref;
    decision_.hold = hold_->hold;
    const auto held = std::min_element(
        statement_.effects.begin(), statement_.effects.end(), [&](const sql::Effect& a, const sql::Effect& b) {
          return std::make_pair(!IsHeldByHold(a), EffectName(a)) < std::make_pair(!IsHeldByHold(b), EffectName(b));
        });
    decision_.reason = fmt::format("held by {}: {}{}{}", RuleWithPlace(hold_->ref), EffectName(*held),
                                   hold_->ref.message.empty() ? "" : ": ", hold_->ref.message);
    decision_.hint = fmt::format(
        "{} of {} must approve",
        hold_->hold.approvals == 1 ? std::string("a member") : fmt::format("{} members", hold_->hold.approvals),
        fmt::join(hold_->hold.groups, ", "));
  }

  bool IsHeldByHold(const sql::Effect& effect) const {
    const RuleRef& rule = decision_.effects[static_cast<size_t>(&effect - statement_.effects.data())].rule;
    return rule.policy == hold_->ref.policy && rule.rule == hold_->ref.rule;
  }

  std::string PolicyNames() const {
    std::vector<std::string> names;
    for (const CompiledDocument* document : matching_) names.push_back(document->name);
    return fmt::format("{} {}", names.size() == 1 ? "policy" : "policies", fmt::join(names, ", "));
  }

  const Matching& matching_;
  const CompiledIntent intent_;
  const sql::Statement& statement_;
  const sql::Catalog& catalog_;
  Decision& decision_;

  bool lone_relation_ = true;
  const CompiledRule* hold_ = nullptr;
  const CompiledRule* allow_ = nullptr;
  const sql::Effect* denied_ = nullptr;
  size_t denied_index_ = 0;
  Outcome denied_outcome_;
};

}  // namespace

Decision CompiledPolicy::Judge(const Subject& subject, const TargetView& target, const IntentView& intent,
                               const sql::Statement& statement, const sql::Catalog& catalog) const {
  Decision decision;
  decision.effects.resize(statement.effects.size());
  const Matching matching = MatchingDocuments(impl_->documents, subject, target);
  if (matching.empty()) {
    decision.reason_code = kReasonNoRule;
    decision.reason = fmt::format("no policy speaks of {} on target {} (database {})", SubjectInWords(subject),
                                  target.name, target.database);
    decision.hint = "ask the policy's owner to name this agent or one of its groups under `subjects`";
    return decision;
  }
  const CompiledRule* everything = RuleOfEverything(matching, intent);
  decision.everything = everything != nullptr;
  if (statement.unanalysable && decision.everything) {
    decision.verdict = Verdict::kAllow;
    decision.rule = everything->ref;
    decision.audit = AuditOf(matching);
    if (decision.audit.empty()) decision.audit = "strict";  // it may write
    return decision;
  }
  if (statement.unanalysable) {
    decision.reason_code = kReasonUnanalysable;
    decision.reason = fmt::format("unanalysable: {}", *statement.unanalysable);
    decision.hint = "what cannot be judged is refused; write the statement in a plainer form";
    return decision;
  }
  StatementJudge(matching, intent, statement, catalog, &decision).Run();
  FindDetections(matching, statement, catalog, &decision);
  if (decision.verdict == Verdict::kDeny) return decision;
  // Not even a named permission outweighs what policy sets for the session.
  if (std::optional<std::string> undoes = UndoesTerms(TermsFor(subject, target), statement)) {
    decision.verdict = Verdict::kDeny;
    decision.reason_code = kReasonPinned;
    decision.reason = *std::move(undoes);
    decision.hint = "leave the setting as the session has it; ask the policy's owner if another value is needed";
  }
  return decision;
}

}  // namespace postern::policy
