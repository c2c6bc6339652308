// Compile(): messages to what judging reads; which policies speak of whom; session terms.
#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/base/errors.h"
#include "common/base/timestamps.h"
#include "common/policy/check.h"
#include "common/policy/compiled.h"
#include "common/policy/findings.h"
#include "common/policy/hold.h"
#include "common/policy/policy.h"
#include "fmt/format.h"

namespace postern::policy {
namespace {

Pattern OrAny(const std::string& text) { return Pattern(text.empty() ? "*" : text); }

std::vector<Pattern> Patterns(const google::protobuf::RepeatedPtrField<std::string>& texts) {
  std::vector<Pattern> patterns;
  for (const std::string& text : texts) patterns.emplace_back(text);
  return patterns;
}

template <typename Texts>
std::vector<std::string> ToVector(const Texts& texts) {
  return {texts.begin(), texts.end()};
}

CompiledRule CompileRule(const v1::Policy& policy, const v1::Rule& source) {
  CompiledRule rule;
  rule.ref = {policy.name(), source.id(), policy.path(), source.line(), source.message()};
  rule.effect = source.effect();
  rule.on_token = source.on() == "token";
  for (const std::string& verb : source.do_()) {
    const VerbSet verbs = VerbsOf(verb).value_or(VerbSet());
    rule.verbs |= verbs;
    if (verb != "all") rule.named_verbs |= verbs;
  }
  rule.objects = ObjectPatterns(ToVector(source.objects()));
  rule.any_object = rule.objects.empty() || std::any_of(rule.objects.begin(), rule.objects.end(),
                                                        [](const ObjectPattern& object) { return object.any(); });
  rule.functions = ObjectPatterns(ToVector(source.functions()));
  rule.only = ToVector(source.columns().only());
  rule.except = ToVector(source.columns().except());
  rule.where_on = ToVector(source.require().where_on());
  rule.limit_max = source.require().limit_max();
  rule.where = source.require().where();
  rule.rows_max = source.affected().rows_max();
  if (source.effect() == v1::RULE_EFFECT_HOLD) rule.hold = CompileHold(source.hold());
  return rule;
}

bool MatchesAny(const std::vector<Pattern>& patterns, std::string_view text) {
  return patterns.empty() ||
         std::any_of(patterns.begin(), patterns.end(), [&](const Pattern& pattern) { return pattern.Matches(text); });
}

bool Matches(const CompiledSubject& matcher, const Subject& subject) {
  if (!matcher.agent.Matches(subject.agent) || !matcher.on_behalf_of.Matches(subject.on_behalf_of)) return false;
  return matcher.group.any() || std::any_of(subject.groups.begin(), subject.groups.end(),
                                            [&](const std::string& group) { return matcher.group.Matches(group); });
}

// The smaller of two limits of which 0 means "none".
int64_t Tighter(int64_t a, int64_t b) {
  if (a == 0 || b == 0) return std::max(a, b);
  return std::min(a, b);
}

}  // namespace

bool CompiledDocument::Matches(const Subject& subject, const TargetView& target) const {
  return MatchesAny(databases, target.database) && MatchesAny(env, target.env) && MatchesAny(names, target.name) &&
         std::any_of(subjects.begin(), subjects.end(),
                     [&](const CompiledSubject& matcher) { return policy::Matches(matcher, subject); });
}

static std::vector<ColumnPattern> ColumnPatterns(const google::protobuf::RepeatedPtrField<std::string>& columns) {
  std::vector<ColumnPattern> patterns;
  for (const std::string& column : columns) {
    ColumnPath path;
    if (!SplitColumnPath(column, &path)) continue;  // CheckPolicy has refused it
    patterns.push_back({Pattern(path.schema), Pattern(path.relation), Pattern(path.column)});
  }
  return patterns;
}

CompiledDocument CompileDocument(const v1::Policy& policy) {
  CompiledDocument document;
  document.name = policy.name();
  document.path = policy.path();
  for (const v1::SubjectMatcher& subject : policy.subjects()) {
    document.subjects.push_back({OrAny(subject.agent()), OrAny(subject.on_behalf_of()), OrAny(subject.group())});
  }
  document.databases = Patterns(policy.targets().databases());
  document.env = Patterns(policy.targets().env());
  document.names = Patterns(policy.targets().names());
  document.session = policy.session();
  for (const v1::Freeze& freeze : policy.freezes()) {
    document.freezes.push_back({FromTimestamp(freeze.from()),
                                {.policy = policy.name(),
                                 .name = freeze.name(),
                                 .message = freeze.message(),
                                 .until = FromTimestamp(freeze.until())}});
  }
  for (const v1::DetectRule& detect : policy.detect()) {
    CompiledDetect& compiled = document.detects.emplace_back();
    compiled.alarm = detect.on_hit() == "alarm";
    for (const std::string& name : detect.find()) {
      if (const std::optional<Detector> detector = DetectorFromName(name)) compiled.find.Add(*detector);
    }
    compiled.columns = ColumnPatterns(detect.columns());
    compiled.except = ColumnPatterns(detect.except());
  }
  for (const v1::Rule& source : policy.rules()) {
    const CompiledRule& rule = document.rules.emplace_back(CompileRule(policy, source));
    for (const v1::MaskRule& mask : source.columns().mask()) {
      ColumnPath path;
      if (!SplitColumnPath(mask.column(), &path)) continue;  // CheckPolicy has refused it
      document.masks.push_back({Pattern(path.schema), Pattern(path.relation), Pattern(path.column), mask.strategy(),
                                mask.lookup(), mask.count_min(),
                                mask.probes_max() > 0 ? mask.probes_max() : kDefaultProbesMax, mask.placeholder(),
                                rule.ref});
      if (mask.line() > 0) document.masks.back().ref.line = mask.line();
    }
  }
  std::sort(document.rules.begin(), document.rules.end(),
            [](const CompiledRule& a, const CompiledRule& b) { return a.ref.rule < b.ref.rule; });
  return document;
}

Matching MatchingDocuments(const std::vector<CompiledDocument>& documents, const Subject& subject,
                           const TargetView& target) {
  Matching matching;
  for (const CompiledDocument& document : documents) {
    if (document.Matches(subject, target)) matching.push_back(&document);
  }
  return matching;
}

std::string RuleRef::ToString() const { return rule.empty() ? "" : fmt::format("{}/{}", policy, rule); }

absl::StatusOr<std::shared_ptr<const CompiledPolicy>> CompiledPolicy::Compile(const v1::PolicySet& set) {
  auto impl = std::make_shared<Impl>();
  impl->revision = set.revision();
  std::set<std::string> names;
  for (const v1::Policy& policy : set.policies()) {
    std::vector<v1::PolicyFinding> findings;
    FindingSink sink(policy.path(), &findings);
    CheckPolicy(policy, 1, sink);
    if (!names.insert(policy.name()).second) sink.Error(1, fmt::format("policy `{}` exists twice", policy.name()));
    if (sink.errors() > 0) {
      return Error(absl::StatusCode::kInvalidArgument, "POLICY_INVALID",
                   fmt::format("policy {}: {}:{}: {}", policy.name(), findings[0].path(), findings[0].line(),
                               findings[0].message()),
                   "run `postern policy lint` on the policy's folder");
    }
    impl->documents.push_back(CompileDocument(policy));
  }
  std::sort(impl->documents.begin(), impl->documents.end(),
            [](const CompiledDocument& a, const CompiledDocument& b) { return a.name < b.name; });
  // The constructor is private, so make_shared cannot reach it.
  return std::shared_ptr<const CompiledPolicy>(new CompiledPolicy(std::move(impl)));
}

int64_t CompiledPolicy::revision() const { return impl_->revision; }

SessionTerms CompiledPolicy::TermsFor(const Subject& subject, const TargetView& target) const {
  SessionTerms terms;
  int64_t ttl = 0, on_disconnect = 0;
  for (const CompiledDocument& document : impl_->documents) {
    if (!document.Matches(subject, target)) continue;
    const v1::SessionSettings& session = document.session;
    terms.matched = true;
    if (terms.role.empty()) terms.role = session.role();
    ttl = Tighter(ttl, session.ttl_seconds());
    on_disconnect = Tighter(on_disconnect, session.on_disconnect_seconds());
    terms.statement_timeout_ms = Tighter(terms.statement_timeout_ms, session.statement_timeout_ms());
    terms.read_only = terms.read_only || session.read_only();
  }
  if (ttl > 0) terms.ttl_seconds = ttl;
  if (on_disconnect > 0) terms.on_disconnect_seconds = on_disconnect;
  return terms;
}

}  // namespace postern::policy
