// Load(): YAML to messages. Shape, types and words are checked here, with the line of each; what must hold between the
// parts of a policy is CheckPolicy's.
#include <algorithm>
#include <cstddef>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/policy/check.h"
#include "common/policy/findings.h"
#include "common/policy/hold.h"
#include "common/policy/policy.h"
#include "common/policy/vocabulary.h"
#include "common/policy/yaml_section.h"
#include "fmt/format.h"

namespace postern::policy {
namespace {

constexpr size_t kMaxDocumentBytes = 1 << 20;
constexpr int64_t kMaxRows = std::numeric_limits<int32_t>::max();

template <typename Strings>
void Copy(std::vector<std::string> from, Strings* to) {
  for (std::string& text : from) *to->Add() = std::move(text);
}

void ReadSubject(const YAML::Node& node, std::string what, FindingSink& sink, v1::SubjectMatcher* subject) {
  Section section(node, std::move(what), {"agent", "on_behalf_of", "group"}, sink);
  subject->set_agent(section.String("agent"));
  subject->set_on_behalf_of(section.String("on_behalf_of"));
  subject->set_group(section.String("group"));
  subject->set_line(section.line());
}

void ReadTargets(const YAML::Node& node, FindingSink& sink, v1::TargetMatcher* targets) {
  Section section(node, "`targets`", {"databases", "env", "names"}, sink);
  Copy(section.Strings("databases"), targets->mutable_databases());
  Copy(section.Strings("env"), targets->mutable_env());
  Copy(section.Strings("names"), targets->mutable_names());
}

// A word out of a few; reports anything else.
std::string OneOf(Section& section, std::string_view key, const std::vector<std::string>& words) {
  const std::string value = section.String(key);
  if (value.empty() || std::find(words.begin(), words.end(), value) != words.end()) return value;
  section.sink().Error(section.LineOfKey(key),
                       fmt::format("`{}` must be one of {}, not `{}`", key, fmt::join(words, ", "), value));
  return "";
}

void ReadSession(const YAML::Node& node, FindingSink& sink, v1::SessionSettings* session) {
  Section section(node, "`session`", {"role", "ttl", "statement_timeout", "on_disconnect", "audit", "read_only"}, sink);
  session->set_role(section.String("role"));
  session->set_ttl_seconds(section.Duration("ttl", true).value_or(0) / 1000);
  session->set_statement_timeout_ms(section.Duration("statement_timeout", false).value_or(0));
  session->set_on_disconnect_seconds(section.Duration("on_disconnect", true).value_or(0) / 1000);
  session->set_audit(OneOf(section, "audit", {"strict", "relaxed"}));
  session->set_read_only(section.Bool("read_only").value_or(false));
}

// {schema.relation.column: strategy}. The keys are free, so Section does not fit.
void ReadMasks(const YAML::Node& masks, FindingSink& sink, v1::ColumnRules* columns) {
  std::map<std::string, int> seen;
  for (const auto& pair : masks) {
    const int line = LineOf(pair.first);
    // To YAML, `null` is not a word but nothing; here it is the name of a strategy.
    const bool is_null = pair.second.IsNull();
    if (!pair.first.IsScalar() || !(pair.second.IsScalar() || is_null)) {
      sink.Error(line, "each mask reads `schema.relation.column: strategy`");
      continue;
    }
    const std::string& column = pair.first.Scalar();
    const auto [first, is_new] = seen.emplace(column, line);
    if (!is_new) {
      sink.Error(line, fmt::format("`mask` has `{}` twice, first in line {}; keep one", column, first->second));
      continue;
    }
    const std::string word = is_null ? "null" : pair.second.Scalar();
    const std::optional<v1::MaskStrategy> strategy = StrategyFromName(word);
    if (!strategy) {
      const std::string nearest = Nearest(word, StrategyNames());
      sink.Error(LineOf(pair.second),
                 fmt::format("unknown strategy `{}` for {}; {}", word, column,
                             nearest.empty() ? fmt::format("there are {}", fmt::join(StrategyNames(), ", "))
                                             : fmt::format("did you mean `{}`?", nearest)));
      continue;
    }
    v1::MaskRule* mask = columns->add_mask();
    mask->set_column(column);
    mask->set_strategy(*strategy);
    mask->set_line(line);
  }
}

v1::MaskRule* FindMask(const std::string& column, v1::ColumnRules* columns) {
  for (v1::MaskRule& mask : *columns->mutable_mask()) {
    if (mask.column() == column) return &mask;
  }
  return nullptr;
}

void ReportNotMasked(std::string_view key, const std::string& column, int line, FindingSink& sink) {
  sink.Error(line, fmt::format("`{}` says how conditions may use a masked column, and `mask` of this rule has no `{}`",
                               key, column));
}

// [schema.relation.column], each a key of `mask`.
void ReadLookups(Section& section, v1::ColumnRules* columns) {
  const std::vector<std::string> names = section.Strings("lookup");
  const std::vector<int> lines = section.LinesOf("lookup");
  for (size_t i = 0; i < names.size(); ++i) {
    if (v1::MaskRule* mask = FindMask(names[i], columns)) {
      mask->set_lookup(true);
    } else {
      ReportNotMasked("lookup", names[i], lines[i], section.sink());
    }
  }
}

// Holds for the columns of `lookup` and `count_min`, and says nothing without them.
void ReadProbesMax(Section& section, v1::ColumnRules* columns) {
  const std::optional<int64_t> most = section.Positive("probes_max", kMaxRows);
  if (!most) return;
  bool holds = false;
  for (v1::MaskRule& mask : *columns->mutable_mask()) {
    if (!mask.lookup() && mask.count_min() == 0) continue;
    mask.set_probes_max(*most);
    holds = true;
  }
  if (!holds) {
    section.sink().Error(
        section.LineOfKey("probes_max"),
        "`probes_max` limits how often `lookup` and `count_min` may be used, and this rule has neither");
  }
}

// {schema.relation.column: N}, each a key of `mask`.
void ReadCountMins(const YAML::Node& counts, FindingSink& sink, v1::ColumnRules* columns) {
  for (const auto& pair : counts) {
    const int line = LineOf(pair.first);
    int64_t least = 0;
    if (!pair.first.IsScalar() || !YAML::convert<int64_t>::decode(pair.second, least) || least < 2 ||
        least > kMaxRows) {
      sink.Error(line, "each entry of `count_min` reads `schema.relation.column: N`, and N is at least 2");
      continue;
    }
    if (v1::MaskRule* mask = FindMask(pair.first.Scalar(), columns)) {
      mask->set_count_min(least);
    } else {
      ReportNotMasked("count_min", pair.first.Scalar(), line, sink);
    }
  }
}

// Holds for every mask of the rule.
void ReadInExpression(Section& section, v1::ColumnRules* columns) {
  const std::string word = OneOf(section, "in_expression", {"refuse", "placeholder"});
  if (word.empty()) return;
  if (columns->mask().empty()) {
    section.sink().Error(section.LineOfKey("in_expression"),
                         "`in_expression` says how expressions may use masked columns, and this rule has no `mask`");
  }
  for (v1::MaskRule& mask : *columns->mutable_mask()) mask.set_placeholder(word == "placeholder");
}

void ReadColumns(const YAML::Node& node, FindingSink& sink, v1::ColumnRules* columns) {
  Section section(node, "`columns`", {"only", "except", "mask", "lookup", "count_min", "probes_max", "in_expression"},
                  sink);
  Copy(section.Strings("only"), columns->mutable_only());
  Copy(section.Strings("except"), columns->mutable_except());
  if (const YAML::Node* masks = section.Map("mask")) ReadMasks(*masks, sink, columns);
  ReadLookups(section, columns);
  if (const YAML::Node* counts = section.Map("count_min")) ReadCountMins(*counts, sink, columns);
  ReadProbesMax(section, columns);
  ReadInExpression(section, columns);
}

void ReadRequirements(const YAML::Node& node, FindingSink& sink, v1::Requirements* require) {
  Section section(node, "`require`", {"where_on", "limit_max", "where"}, sink);
  Copy(section.Strings("where_on"), require->mutable_where_on());
  require->set_limit_max(section.Positive("limit_max", kMaxRows).value_or(0));
  require->set_where(section.Bool("where").value_or(false));
}

v1::RuleEffect EffectFromName(std::string_view name) {
  if (name == "allow") return v1::RULE_EFFECT_ALLOW;
  if (name == "hold") return v1::RULE_EFFECT_HOLD;
  return name == "deny" ? v1::RULE_EFFECT_DENY : v1::RULE_EFFECT_UNSPECIFIED;
}

// Verbs are checked here, beside CheckPolicy, for the line of the very word.
void ReadVerbs(Section& section, v1::Rule* rule) {
  const std::vector<std::string> verbs = section.Strings("do");
  const std::vector<int> lines = section.LinesOf("do");
  for (size_t i = 0; i < verbs.size(); ++i) {
    *rule->add_do_() = verbs[i];
    if (VerbsOf(verbs[i])) continue;
    const std::string nearest = NearestVerb(verbs[i]);
    section.sink().Error(lines[i], nearest.empty()
                                       ? fmt::format("unknown verb `{}`; docs/policy.md lists them", verbs[i])
                                       : fmt::format("unknown verb `{}`; did you mean `{}`?", verbs[i], nearest));
  }
}

void ReadRule(const YAML::Node& node, FindingSink& sink, v1::Rule* rule) {
  Section section(
      node, "a rule",
      {"id", "effect", "do", "objects", "functions", "columns", "require", "affected", "hold", "on", "message"}, sink);
  rule->set_line(section.line());
  if (!node.IsMap()) return;
  rule->set_id(section.RequiredString("id", "read-orders"));
  if (!section.Has("effect")) section.RequiredString("effect", "allow");
  rule->set_effect(EffectFromName(OneOf(section, "effect", {"allow", "hold", "deny"})));
  if (!section.Has("do")) sink.Error(section.line(), "a rule needs `do`, e.g. `do: [select]`");
  ReadVerbs(section, rule);
  Copy(section.Strings("objects"), rule->mutable_objects());
  Copy(section.Strings("functions"), rule->mutable_functions());
  if (const YAML::Node* columns = section.Map("columns")) ReadColumns(*columns, sink, rule->mutable_columns());
  if (const YAML::Node* require = section.Map("require")) ReadRequirements(*require, sink, rule->mutable_require());
  if (const YAML::Node* affected = section.Map("affected")) {
    Section rows(*affected, "`affected`", {"rows_max"}, sink);
    rule->mutable_affected()->set_rows_max(rows.Positive("rows_max", kMaxRows).value_or(0));
  }
  if (const YAML::Node* hold = section.Map("hold")) ReadHold(*hold, sink, rule->mutable_hold());
  rule->set_on(OneOf(section, "on", {"statement", "token"}));
  rule->set_message(section.String("message"));
}

void ReadTest(const YAML::Node& node, FindingSink& sink, v1::PolicyTest* test) {
  Section section(node, "a test", {"name", "as", "db", "sql", "expect", "rule"}, sink);
  test->set_line(section.line());
  if (!node.IsMap()) return;
  test->set_name(section.RequiredString("name", "reads are masked"));
  if (const YAML::Node* as = section.Map("as")) ReadSubject(*as, "`as` of a test", sink, test->mutable_as());
  test->set_database(section.String("db"));
  test->set_sql(section.RequiredString("sql", "\"select 1\""));
  if (!section.Has("expect")) section.RequiredString("expect", "deny");
  test->set_expect(OneOf(section, "expect", {"allow", "hold", "deny"}));
  test->set_rule(section.String("rule"));
}

// Returns the line that names the policy.
int ReadHead(Section& section, FindingSink& sink, v1::Policy* policy) {
  const std::string api = section.RequiredString("apiVersion", "postern/v1");
  if (!api.empty() && api != "postern/v1") {
    sink.Error(section.LineOfKey("apiVersion"), fmt::format("`apiVersion` must be postern/v1, not `{}`", api));
  }
  const std::string kind = section.RequiredString("kind", "Policy");
  if (!kind.empty() && kind != "Policy") {
    sink.Error(section.LineOfKey("kind"), fmt::format("`kind` must be Policy, not `{}`", kind));
  }
  if (!section.Has("metadata")) {
    sink.Error(section.line(), "a policy needs `metadata`, e.g. `metadata: {name: support-desk, owner: support-eng}`");
  } else if (const YAML::Node* metadata = section.Map("metadata")) {
    Section head(*metadata, "`metadata`", {"name", "owner"}, sink);
    policy->set_name(head.RequiredString("name", "support-desk"));
    policy->set_owner(head.String("owner"));
    return head.LineOfKey("name");
  }
  return section.line();
}

void ReadDetect(const YAML::Node& node, FindingSink& sink, v1::DetectRule* detect) {
  Section section(node, "`detect`", {"find", "columns", "except", "on_hit"}, sink);
  detect->set_line(section.line());
  Copy(section.Strings("find"), detect->mutable_find());
  Copy(section.Strings("columns"), detect->mutable_columns());
  Copy(section.Strings("except"), detect->mutable_except());
  detect->set_on_hit(OneOf(section, "on_hit", {"mask", "alarm"}));
}

int ReadPolicy(const YAML::Node& node, FindingSink& sink, v1::Policy* policy) {
  Section section(
      node, "a policy",
      {"apiVersion", "kind", "metadata", "subjects", "targets", "session", "rules", "freezes", "detect", "tests"},
      sink);
  if (!node.IsMap()) return section.line();
  const int head_line = ReadHead(section, sink, policy);
  if (const YAML::Node* subjects = section.List("subjects")) {
    for (const auto& subject : *subjects) ReadSubject(subject, "a subject", sink, policy->add_subjects());
  }
  if (policy->subjects().empty()) {
    sink.Error(section.LineOfKey("subjects"), "`subjects` names nobody; write e.g. `subjects: [{group: agents}]`");
  }
  if (const YAML::Node* targets = section.Map("targets")) ReadTargets(*targets, sink, policy->mutable_targets());
  if (const YAML::Node* session = section.Map("session")) ReadSession(*session, sink, policy->mutable_session());
  if (const YAML::Node* rules = section.List("rules")) {
    for (const auto& rule : *rules) ReadRule(rule, sink, policy->add_rules());
  }
  if (const YAML::Node* freezes = section.List("freezes")) {
    for (const auto& freeze : *freezes) ReadFreeze(freeze, sink, policy->add_freezes());
  }
  if (const YAML::Node* detects = section.List("detect")) {
    for (const auto& detect : *detects) ReadDetect(detect, sink, policy->add_detect());
  }
  if (const YAML::Node* tests = section.List("tests")) {
    for (const auto& test : *tests) ReadTest(test, sink, policy->add_tests());
  }
  return head_line;
}

// `head_lines` grows with `result->policies`.
void LoadDocument(const v1::PolicyDocument& document, LoadResult* result, std::vector<int>* head_lines) {
  const size_t first = result->findings.size();
  FindingSink sink(document.path(), &result->findings);
  if (document.text().size() > kMaxDocumentBytes) {
    sink.Error(
        1, fmt::format("the file has {} bytes; a policy file may have {}", document.text().size(), kMaxDocumentBytes));
    return;
  }
  try {
    for (const YAML::Node& node : YAML::LoadAll(document.text())) {
      if (!node.IsDefined() || node.IsNull()) continue;
      v1::Policy policy;
      policy.set_path(document.path());
      const int before = sink.errors();
      const int head_line = ReadPolicy(node, sink, &policy);
      if (sink.errors() == before) CheckPolicy(policy, head_line, sink);
      head_lines->push_back(head_line);
      result->policies.push_back(std::move(policy));
    }
  } catch (const YAML::Exception& e) {
    // yaml-cpp says "bad file" for nesting deeper than it follows.
    sink.Error(std::max(e.mark.line, 0) + 1,
               fmt::format("not readable as YAML: {}", e.msg == "bad file" ? "nested too deeply" : e.msg));
  }
  // People read a file from its top.
  std::stable_sort(result->findings.begin() + static_cast<std::ptrdiff_t>(first), result->findings.end(),
                   [](const v1::PolicyFinding& a, const v1::PolicyFinding& b) { return a.line() < b.line(); });
}

// Names are how rules are spoken of: each must mean one policy in the whole set.
void CheckNamesAreUnique(const std::vector<v1::Policy>& policies, const std::vector<int>& head_lines,
                         std::vector<v1::PolicyFinding>* findings) {
  std::map<std::string, size_t> by_name;
  for (size_t i = 0; i < policies.size(); ++i) {
    const v1::Policy& policy = policies[i];
    if (policy.name().empty()) continue;
    const auto [first, is_new] = by_name.emplace(policy.name(), i);
    if (!is_new) {
      FindingSink(policy.path(), findings)
          .Error(head_lines[i], fmt::format("policy `{}` exists already in {}:{}; give it a name of its own",
                                            policy.name(), policies[first->second].path(), head_lines[first->second]));
    }
  }
}

}  // namespace

bool LoadResult::ok() const {
  return std::none_of(findings.begin(), findings.end(),
                      [](const v1::PolicyFinding& f) { return f.severity() == v1::PolicyFinding::ERROR; });
}

LoadResult Load(const std::vector<v1::PolicyDocument>& documents) {
  LoadResult result;
  std::vector<int> head_lines;
  for (const v1::PolicyDocument& document : documents) {
    const size_t before = result.policies.size();
    const size_t findings = result.findings.size();
    LoadDocument(document, &result, &head_lines);
    if (result.policies.size() == before && result.findings.size() == findings) {
      FindingSink(document.path(), &result.findings).Warning(1, "the file holds no policy");
    }
  }
  CheckNamesAreUnique(result.policies, head_lines, &result.findings);
  return result;
}

}  // namespace postern::policy
