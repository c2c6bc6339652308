// JudgeToken(): may this be asked for at all, and does a person have to say so first?
#include <algorithm>
#include <string>
#include <vector>

#include "common/policy/compiled.h"
#include "common/policy/policy.h"
#include "fmt/format.h"

namespace postern::policy {
namespace {

using sql::Operation;

// What a request's `objects` narrow; functions, settings and the rest are narrowed by the verb alone.
bool ActsOnRelations(Operation operation) {
  switch (operation) {
    case Operation::kSelect:
    case Operation::kInsert:
    case Operation::kUpdate:
    case Operation::kDelete:
    case Operation::kTruncate:
    case Operation::kLock:
    case Operation::kCopyOut:
    case Operation::kCopyIn:
    case Operation::kMaintain:
    case Operation::kCreate:
    case Operation::kAlter:
    case Operation::kDrop:
    case Operation::kComment:
    case Operation::kGrant:
      return true;
    default:
      return false;
  }
}

class TokenJudge {
 public:
  TokenJudge(const Matching& matching, const IntentView& intent, TokenDecision* decision)
      : matching_(matching), intent_(intent), objects_(ObjectPatterns(intent.objects)), decision_(*decision) {}

  void Run() {
    decision_.verdict = Verdict::kDeny;
    if (!ReadVerbs() || !CheckCoverage() || !CheckObjects()) return;
    if (const CompiledRule* rule = TokenRule(v1::RULE_EFFECT_DENY)) {
      decision_.rule = rule->ref;
      decision_.reason =
          fmt::format("denied by {}: a token for {}{}{}", RuleWithPlace(rule->ref), (rule->verbs & asked_).ToString(),
                      rule->ref.message.empty() ? "" : ": ", rule->ref.message);
      decision_.hint = "request a token without these operations";
      return;
    }
    decision_.verdict = Verdict::kAllow;
    if (const CompiledRule* rule = TokenRule(v1::RULE_EFFECT_HOLD)) {
      decision_.verdict = Verdict::kHold;
      decision_.rule = rule->ref;
      decision_.hold = rule->hold;
      decision_.reason =
          fmt::format("held by {}: a token for {}{}{}", RuleWithPlace(rule->ref), (rule->verbs & asked_).ToString(),
                      rule->ref.message.empty() ? "" : ": ", rule->ref.message);
      decision_.hint = fmt::format("{} of {} must approve", rule->hold.approvals, fmt::join(rule->hold.groups, ", "));
    }
  }

 private:
  bool Fail(std::string reason, std::string hint) {
    decision_.reason = std::move(reason);
    decision_.hint = std::move(hint);
    return false;
  }

  bool ReadVerbs() {
    if (intent_.verbs.empty()) {
      return Fail("the request names no operation", "name what is needed, e.g. --do select, or --do all");
    }
    for (const std::string& word : intent_.verbs) {
      if (word == "all") {
        asks_all_ = true;
      } else if (const std::optional<VerbSet> verbs = VerbsOf(word)) {
        asked_ |= *verbs;
      } else {
        const std::string nearest = NearestVerb(word);
        return Fail(fmt::format("`{}` is no operation", word),
                    nearest.empty() ? "docs/policy.md lists the operations" : fmt::format("did you mean {}?", nearest));
      }
    }
    return true;
  }

  bool CheckCoverage() {
    std::string denied_by;
    for (const Operation operation : asked_.Operations()) {
      if (Grantable(operation, &denied_by)) continue;
      const std::string objects = objects_.empty() || !ActsOnRelations(operation)
                                      ? ""
                                      : fmt::format(" on {}", fmt::join(intent_.objects, ", "));
      return Fail(fmt::format("{}{}: {}", sql::OperationName(operation), objects,
                              denied_by.empty() ? "no rule grants it to this subject on this target" : denied_by),
                  GrantedHint());
    }
    if (asks_all_) {
      const VerbSet grantable = Grantable();
      // Session operations are granted to everybody who is granted anything.
      bool more = false;
      for (const Operation operation : grantable.Operations()) more = more || !SessionVerbs().Contains(operation);
      if (!more) return Fail("policy grants this subject nothing on this target", "ask the policy's owner for a rule");
      asked_ |= grantable;
    }
    return true;
  }

  // Each object that was named must be of some use, or a typing error would show only at the first statement.
  bool CheckObjects() {
    for (size_t i = 0; i < objects_.size(); ++i) {
      bool granted = false;
      ForEachGrant([&](const CompiledRule& rule) {
        granted = granted || (rule.verbs.Intersects(asked_) && Meets(rule, {objects_[i]}));
      });
      if (!granted) {
        return Fail(fmt::format("{}: no rule grants {} on it", intent_.objects[i], asked_.ToString()), GrantedHint());
      }
    }
    return true;
  }

  template <typename Each>
  void ForEachGrant(Each each) const {
    for (const CompiledDocument* document : matching_) {
      for (const CompiledRule& rule : document->rules) {
        if (rule.grants() && !rule.on_token) each(rule);
      }
    }
  }

  static bool Meets(const CompiledRule& rule, const std::vector<ObjectPattern>& objects) {
    if (rule.any_object || objects.empty()) return true;
    return std::any_of(objects.begin(), objects.end(), [&](const ObjectPattern& wanted) {
      return std::any_of(rule.objects.begin(), rule.objects.end(),
                         [&](const ObjectPattern& pattern) { return pattern.Intersects(wanted); });
    });
  }

  // Some rule lets the subject do it to something that was asked for, and no deny rule takes all of it back.
  bool Grantable(Operation operation, std::string* denied_by) const {
    const bool by_relation = ActsOnRelations(operation);
    bool granted = SessionVerbs().Contains(operation);
    ForEachGrant([&](const CompiledRule& rule) {
      granted = granted || (rule.verbs.Contains(operation) && (!by_relation || Meets(rule, objects_)));
    });
    if (!granted) return false;
    for (const CompiledDocument* document : matching_) {
      for (const CompiledRule& rule : document->rules) {
        if (rule.grants() || rule.on_token || !rule.verbs.Contains(operation) || !DeniesAll(rule, by_relation))
          continue;
        if (denied_by != nullptr) {
          *denied_by = fmt::format("denied by {}{}{}", RuleWithPlace(rule.ref), rule.ref.message.empty() ? "" : ": ",
                                   rule.ref.message);
        }
        return false;
      }
    }
    return true;
  }

  bool DeniesAll(const CompiledRule& rule, bool by_relation) const {
    if (!rule.only.empty() || !rule.functions.empty()) return false;
    if (rule.any_object) return true;
    return by_relation && !objects_.empty() &&
           std::all_of(objects_.begin(), objects_.end(), [&](const ObjectPattern& wanted) {
             return std::any_of(rule.objects.begin(), rule.objects.end(),
                                [&](const ObjectPattern& pattern) { return pattern.Includes(wanted); });
           });
  }

  VerbSet Grantable() const {
    VerbSet verbs;
    for (const Operation operation : (AllVerbs() | NamedPermissions()).Operations()) {
      if (Grantable(operation, nullptr)) verbs |= VerbSet(operation);
    }
    return verbs;
  }

  std::string GrantedHint() const {
    std::vector<std::string_view> names;
    for (const Operation operation : Grantable().Operations()) {
      if (!SessionVerbs().Contains(operation)) names.push_back(sql::OperationName(operation));
    }
    return names.empty() ? "policy grants nothing of this" : fmt::format("policy grants {}", fmt::join(names, ", "));
  }

  // The first rule `on: token` of this effect that the request meets; of holds, the strictest.
  const CompiledRule* TokenRule(v1::RuleEffect effect) const {
    const CompiledRule* found = nullptr;
    for (const CompiledDocument* document : matching_) {
      for (const CompiledRule& rule : document->rules) {
        if (!rule.on_token || rule.effect != effect || !rule.verbs.Intersects(asked_) || !Meets(rule, objects_))
          continue;
        if (found == nullptr || rule.hold.approvals > found->hold.approvals) found = &rule;
      }
    }
    return found;
  }

  const Matching& matching_;
  const IntentView& intent_;
  const std::vector<ObjectPattern> objects_;
  TokenDecision& decision_;
  VerbSet asked_;
  bool asks_all_ = false;
};

}  // namespace

TokenDecision CompiledPolicy::JudgeToken(const Subject& subject, const TargetView& target, const IntentView& intent,
                                         int64_t ttl_seconds) const {
  TokenDecision decision;
  decision.session = TermsFor(subject, target);
  if (ttl_seconds > 0) decision.session.ttl_seconds = std::min(decision.session.ttl_seconds, ttl_seconds);
  const Matching matching = MatchingDocuments(impl_->documents, subject, target);
  if (matching.empty()) {
    decision.reason = fmt::format("no policy speaks of {} on target {} (database {})", SubjectInWords(subject),
                                  target.name, target.database);
    decision.hint = "ask the policy's owner to name this agent or one of its groups under `subjects`";
    return decision;
  }
  TokenJudge(matching, intent, &decision).Run();
  return decision;
}

}  // namespace postern::policy
