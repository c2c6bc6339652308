// RunTests(): the tests that policies carry in themselves.
#include <string>
#include <vector>

#include "common/policy/compiled.h"
#include "common/policy/judge_text.h"
#include "common/policy/pattern.h"
#include "common/policy/policy.h"
#include "fmt/format.h"

namespace postern::policy {
namespace {

// A text that the pattern matches: `*@example.com` becomes `someone@example.com`.
std::string Sample(const std::string& pattern) {
  std::string text;
  for (const char c : pattern) text += c == '*' ? std::string("someone") : std::string(1, c);
  return text;
}

std::string FirstSample(const google::protobuf::RepeatedPtrField<std::string>& patterns) {
  return patterns.empty() ? "" : Sample(patterns.Get(0));
}

// Whom the test speaks of. What `as` leaves open is taken from the first subject of the policy that agrees with the
// rest, so that a test need not repeat it.
Subject SubjectOf(const v1::PolicyTest& test, const v1::Policy& policy) {
  const v1::SubjectMatcher& as = test.as();
  const auto agrees = [](const std::string& given, const std::string& pattern) {
    return given.empty() || pattern.empty() || Pattern(pattern).Matches(given);
  };
  v1::SubjectMatcher whole = as;
  for (const v1::SubjectMatcher& subject : policy.subjects()) {
    if (!agrees(as.agent(), subject.agent()) || !agrees(as.on_behalf_of(), subject.on_behalf_of()) ||
        !agrees(as.group(), subject.group())) {
      continue;
    }
    if (whole.agent().empty()) whole.set_agent(Sample(subject.agent()));
    if (whole.on_behalf_of().empty()) whole.set_on_behalf_of(Sample(subject.on_behalf_of()));
    if (whole.group().empty()) whole.set_group(Sample(subject.group()));
    break;
  }
  Subject subject{whole.agent(), whole.on_behalf_of(), {}};
  if (!whole.group().empty()) subject.groups.push_back(whole.group());
  return subject;
}

TargetView TargetOf(const v1::PolicyTest& test, const v1::Policy& policy) {
  TargetView target;
  target.name = FirstSample(policy.targets().names());
  target.env = FirstSample(policy.targets().env());
  target.database = test.database().empty() ? FirstSample(policy.targets().databases()) : test.database();
  return target;
}

void Judge(const CompiledPolicy& compiled, const v1::Policy& policy, const v1::PolicyTest& test,
           const CatalogSource& catalogs, v1::PolicyTestResult* result) {
  const TargetView target = TargetOf(test, policy);
  const std::shared_ptr<const sql::Catalog> catalog = catalogs.Find(target.name, target.database);
  const absl::StatusOr<JudgedText> judged =
      JudgeText(compiled, SubjectOf(test, policy), target, test.sql(), catalog.get());
  if (!judged.ok()) {
    result->set_detail(fmt::format("the statement cannot be read: {}", std::string(judged.status().message())));
    return;
  }
  const Decision& decision = judged->decisions[judged->decisive];
  std::string got(VerdictName(judged->verdict));
  if (!decision.rule.rule.empty()) got += " by " + decision.rule.ToString();
  const bool rule_fits =
      test.rule().empty() || test.rule() == decision.rule.rule || test.rule() == decision.rule.ToString();
  result->set_passed(test.expect() == VerdictName(judged->verdict) && rule_fits);
  result->set_detail(fmt::format("expected {}{}, got {}{}{}", test.expect(),
                                 test.rule().empty() ? "" : " by " + test.rule(), got,
                                 decision.reason.empty() ? "" : ": ", decision.reason));
}

}  // namespace

std::vector<v1::PolicyTestResult> RunTests(const std::vector<v1::Policy>& policies, const CatalogSource& catalogs) {
  v1::PolicySet set;
  for (const v1::Policy& policy : policies) *set.add_policies() = policy;
  const auto compiled = CompiledPolicy::Compile(set);
  std::vector<v1::PolicyTestResult> results;
  for (const v1::Policy& policy : policies) {
    for (const v1::PolicyTest& test : policy.tests()) {
      v1::PolicyTestResult& result = results.emplace_back();
      result.set_policy(policy.name());
      result.set_name(test.name());
      result.set_path(policy.path());
      result.set_line(test.line());
      if (compiled.ok()) {
        Judge(**compiled, policy, test, catalogs, &result);
      } else {
        result.set_detail(std::string(compiled.status().message()));
      }
    }
  }
  return results;
}

}  // namespace postern::policy
