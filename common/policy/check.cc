#include "common/policy/check.h"

#include <algorithm>
#include <set>
#include <vector>

#include "common/policy/detectors.h"
#include "common/policy/hold.h"
#include "common/policy/vocabulary.h"
#include "fmt/format.h"

namespace postern::policy {
namespace {

// A name that reads well in `policy/rule` and in a URL.
bool IsPlainName(std::string_view name) {
  return !name.empty() && name.size() <= 63 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  });
}

void CheckVerbs(const v1::Rule& rule, const std::string& name, FindingSink& sink) {
  if (rule.do_().empty()) {
    sink.Error(rule.line(), fmt::format("{} needs `do`, e.g. `do: [select]`", name));
  }
  for (const std::string& verb : rule.do_()) {
    if (VerbsOf(verb)) continue;
    const std::string nearest = NearestVerb(verb);
    sink.Error(rule.line(), nearest.empty()
                                ? fmt::format("{}: unknown verb `{}`; docs/policy.md lists them", name, verb)
                                : fmt::format("{}: unknown verb `{}`; did you mean `{}`?", name, verb, nearest));
  }
}

void CheckPatterns(const v1::Rule& rule, const std::string& name, FindingSink& sink) {
  const auto check = [&](const auto& patterns, std::string_view key) {
    for (const std::string& pattern : patterns) {
      if (pattern.empty() || pattern.front() == '.' || pattern.back() == '.') {
        sink.Error(rule.line(), fmt::format("{}: `{}` in `{}` is no name; write `schema.name`, `schema.*` or `name`",
                                            name, pattern, key));
      }
    }
  };
  check(rule.objects(), "objects");
  check(rule.functions(), "functions");
}

void CheckColumnNames(const v1::Rule& rule, const std::string& name, FindingSink& sink) {
  const auto check = [&](const auto& columns, std::string_view key) {
    for (const std::string& column : columns) {
      if (column.empty() || column.find_first_of(".*") != std::string::npos) {
        sink.Error(rule.line(), fmt::format("{}: `{}` in `{}` must be a column's bare name; `objects` says of which "
                                            "relation",
                                            name, column, key));
      }
    }
  };
  check(rule.columns().only(), "columns.only");
  check(rule.columns().except(), "columns.except");
  check(rule.require().where_on(), "require.where_on");
}

void CheckMasks(const v1::Rule& rule, const std::string& name, FindingSink& sink) {
  for (const v1::MaskRule& mask : rule.columns().mask()) {
    ColumnPath path;
    const int line = mask.line() > 0 ? mask.line() : rule.line();
    if (!SplitColumnPath(mask.column(), &path)) {
      sink.Error(line, fmt::format("{}: a mask names `schema.relation.column`, not `{}`", name, mask.column()));
    }
    if (StrategyName(mask.strategy()).empty()) {
      sink.Error(line, fmt::format("{}: `{}` has no masking strategy", name, mask.column()));
    }
    if (mask.probes_max() < 0) {
      sink.Error(line, fmt::format("{}: `probes_max` of `{}` must not be negative", name, mask.column()));
    }
    // Of one row a count says everything.
    if (mask.count_min() < 0 || mask.count_min() == 1) {
      sink.Error(line, fmt::format("{}: `count_min` of `{}` must be at least 2", name, mask.column()));
    }
  }
  if (rule.effect() == v1::RULE_EFFECT_DENY && !rule.columns().mask().empty()) {
    sink.Error(rule.line(), fmt::format("{}: a deny rule shows nothing, so it masks nothing; move `columns.mask` to an "
                                        "allow or hold rule",
                                        name));
  }
}

// Conditions that make no sense together with the rule's effect.
void CheckEffect(const v1::Rule& rule, const std::string& name, FindingSink& sink) {
  const bool is_deny = rule.effect() == v1::RULE_EFFECT_DENY;
  const bool is_hold = rule.effect() == v1::RULE_EFFECT_HOLD;
  if (rule.effect() != v1::RULE_EFFECT_ALLOW && !is_deny && !is_hold) {
    sink.Error(rule.line(), fmt::format("{} needs `effect`: allow, hold or deny", name));
    return;
  }
  if (is_deny && rule.has_require()) {
    sink.Error(rule.line(), fmt::format("{}: `require` says what an allowed statement must look like and belongs to "
                                        "allow and hold rules",
                                        name));
  }
  if (is_deny && !rule.columns().except().empty()) {
    sink.Error(rule.line(), fmt::format("{}: a deny rule names the columns it denies in `columns.only`, not in "
                                        "`columns.except`",
                                        name));
  }
  if (is_deny && rule.has_affected()) {
    sink.Error(rule.line(), fmt::format("{}: `affected` belongs to allow and hold rules", name));
  }
}

void CheckTokenRule(const v1::Rule& rule, const std::string& name, FindingSink& sink) {
  if (rule.on() != "" && rule.on() != "statement" && rule.on() != "token") {
    sink.Error(rule.line(), fmt::format("{}: `on` is `statement` (the default) or `token`, not `{}`", name, rule.on()));
  }
  if (rule.on() != "token") return;
  if (rule.effect() == v1::RULE_EFFECT_ALLOW) {
    sink.Error(rule.line(), fmt::format("{}: a rule `on: token` holds or denies token requests; what may be asked for "
                                        "follows from the allow and hold rules for statements",
                                        name));
  }
  if (rule.has_columns() || rule.has_require() || rule.has_affected() || !rule.functions().empty()) {
    sink.Error(rule.line(), fmt::format("{}: a token request has no columns, functions or shape; a rule `on: token` "
                                        "takes only `do`, `objects`, `hold` and `message`",
                                        name));
  }
}

void CheckRule(const v1::Rule& rule, FindingSink& sink) {
  const std::string name = fmt::format("rule `{}`", rule.id());
  CheckEffect(rule, name, sink);
  CheckVerbs(rule, name, sink);
  CheckPatterns(rule, name, sink);
  CheckColumnNames(rule, name, sink);
  CheckMasks(rule, name, sink);
  CheckTokenRule(rule, name, sink);
  CheckHold(rule, name, sink);
  if (rule.require().limit_max() < 0 || rule.affected().rows_max() < 0) {
    sink.Error(rule.line(), fmt::format("{}: numbers must not be negative", name));
  }
}

void CheckSession(const v1::SessionSettings& session, int head_line, FindingSink& sink) {
  if (session.audit() != "" && session.audit() != "strict" && session.audit() != "relaxed") {
    sink.Error(head_line, fmt::format("`session.audit` is `strict` or `relaxed`, not `{}`", session.audit()));
  }
  if (session.ttl_seconds() < 0 || session.statement_timeout_ms() < 0 || session.on_disconnect_seconds() < 0) {
    sink.Error(head_line, "durations of `session` must not be negative");
  }
}

void CheckDetect(const v1::DetectRule& detect, FindingSink& sink) {
  const std::string names = fmt::format("{}", fmt::join(kDetectorNames, ", "));
  if (detect.find().empty()) {
    sink.Error(detect.line(), fmt::format("`detect` finds nothing; `find` takes some of {}", names));
  }
  for (const std::string& name : detect.find()) {
    if (!DetectorFromName(name)) {
      sink.Error(detect.line(), fmt::format("there is no detector `{}`; `find` takes some of {}", name, names));
    }
  }
  for (const auto* columns : {&detect.columns(), &detect.except()}) {
    for (const std::string& column : *columns) {
      ColumnPath path;
      if (SplitColumnPath(column, &path)) continue;
      sink.Error(detect.line(), fmt::format("`detect` names `schema.relation.column`, not `{}`", column));
    }
  }
  if (detect.on_hit() != "" && detect.on_hit() != "mask" && detect.on_hit() != "alarm") {
    sink.Error(detect.line(), fmt::format("`on_hit` is `mask` or `alarm`, not `{}`", detect.on_hit()));
  }
}

}  // namespace

bool SplitColumnPath(std::string_view text, ColumnPath* path) {
  const size_t first = text.find('.');
  const size_t last = text.rfind('.');
  if (first == std::string_view::npos || first == last || first == 0 || last + 1 == text.size()) return false;
  const std::string_view relation = text.substr(first + 1, last - first - 1);
  if (relation.empty() || relation.find('.') != std::string_view::npos) return false;
  *path = {std::string(text.substr(0, first)), std::string(relation), std::string(text.substr(last + 1))};
  return true;
}

void CheckPolicy(const v1::Policy& policy, int head_line, FindingSink& sink) {
  if (!IsPlainName(policy.name())) {
    sink.Error(head_line, fmt::format("`metadata.name` must be 1 to 63 letters, digits, `-`, `_` or `.`, not `{}`",
                                      policy.name()));
  }
  if (policy.subjects().empty()) {
    sink.Error(head_line,
               "`subjects` is missing, so the policy is for nobody; write e.g. `subjects: [{group: agents}]`");
  }
  for (const v1::SubjectMatcher& subject : policy.subjects()) {
    if (subject.agent().empty() && subject.on_behalf_of().empty() && subject.group().empty()) {
      sink.Error(subject.line(), "this subject would match everybody; if that is meant, write `agent: \"*\"`");
    }
  }
  CheckSession(policy.session(), head_line, sink);
  CheckFreezes(policy, sink);
  for (const v1::DetectRule& detect : policy.detect()) CheckDetect(detect, sink);

  std::set<std::string> ids;
  for (const v1::Rule& rule : policy.rules()) {
    if (!IsPlainName(rule.id())) {
      sink.Error(rule.line(),
                 fmt::format("a rule's `id` must be 1 to 63 letters, digits, `-`, `_` or `.`, not `{}`", rule.id()));
    } else if (!ids.insert(rule.id()).second) {
      sink.Error(rule.line(), fmt::format("rule `{}` exists twice in policy `{}`; give it an id of its own", rule.id(),
                                          policy.name()));
    }
    CheckRule(rule, sink);
  }
}

}  // namespace postern::policy
