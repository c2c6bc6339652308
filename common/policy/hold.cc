#include "common/policy/hold.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/base/strings.h"
#include "common/base/timestamps.h"
#include "common/policy/check.h"
#include "common/policy/yaml_section.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace postern::policy {
namespace {

constexpr int64_t kMaxApprovals = 20;
constexpr int64_t kMaxPreviewRows = 20;
constexpr int64_t kMaxTemplateRows = std::numeric_limits<int32_t>::max();
constexpr int64_t kMaxTemplateSeconds = int64_t{24} * 3600;

constexpr int64_t kInTransactionTtl = 60;
constexpr int64_t kPreviewRows = 5;

template <typename Strings>
void CopyTexts(std::vector<std::string> from, Strings* to) {
  for (std::string& text : from) *to->Add() = std::move(text);
}

int64_t Seconds(Section& section, std::string_view key) { return section.Duration(key, true).value_or(0) / 1000; }

// One of `words`, of which the first is the default; reports anything else.
std::string Word(Section& section, std::string_view key, const std::vector<std::string>& words) {
  std::string value = section.String(key);
  if (value.empty() || std::find(words.begin(), words.end(), value) != words.end()) return value;
  section.sink().Error(section.LineOfKey(key),
                       fmt::format("`{}` must be one of {}, not `{}`", key, fmt::join(words, ", "), value));
  return "";
}

void ReadStep(const YAML::Node& node, FindingSink& sink, v1::HoldStep* step) {
  Section section(node, "a step of `hold`", {"by", "approvals"}, sink);
  CopyTexts(section.Strings("by"), step->mutable_by());
  step->set_approvals(static_cast<int32_t>(section.Positive("approvals", kMaxApprovals).value_or(0)));
}

void ReadPreview(const YAML::Node& node, FindingSink& sink, v1::PreviewSettings* preview) {
  Section section(node, "`preview`", {"show", "rows_max", "redact"}, sink);
  preview->set_show(Word(section, "show", {"none", "plan", "count", "rows"}));
  preview->set_rows_max(section.Positive("rows_max", kMaxPreviewRows).value_or(0));
  CopyTexts(section.Strings("redact"), preview->mutable_redact());
  const std::vector<int> lines = section.LinesOf("redact");
  for (int i = 0; i < preview->redact_size(); ++i) {
    ColumnPath path;
    if (SplitColumnPath(preview->redact(i), &path)) continue;
    sink.Error(lines[static_cast<size_t>(i)],
               fmt::format("`redact` names `schema.relation.column`, not `{}`", preview->redact(i)));
  }
}

void ReadTemplate(const YAML::Node& node, FindingSink& sink, v1::TemplateSettings* settings) {
  Section section(node, "`template`", {"rows_max", "for"}, sink);
  settings->set_rows_max(section.Positive("rows_max", kMaxTemplateRows).value_or(0));
  settings->set_for_seconds(Seconds(section, "for"));
  if (settings->rows_max() == 0 || settings->for_seconds() == 0) {
    sink.Error(section.line(), "`template` needs both bounds, e.g. `template: {rows_max: 100, for: 30m}`");
  }
}

// RFC 3339 with its offset: a freeze that began at somebody else's midnight would be a surprise.
void ReadInstant(Section& section, std::string_view key, google::protobuf::Timestamp* time) {
  const std::string text = section.RequiredString(key, "\"2026-12-20T00:00:00Z\"");
  if (text.empty()) return;
  absl::Time parsed;
  std::string error;
  if (absl::ParseTime(absl::RFC3339_full, AbslView(text), &parsed, &error)) {
    *time = ToTimestamp(parsed);
  } else {
    section.sink().Error(section.LineOfKey(key),
                         fmt::format("`{}` is a time such as \"2026-12-20T00:00:00Z\", not `{}`", key, text));
  }
}

// What several quorums come to, for those who want one number and one list.
void CombineSteps(const v1::HoldSettings& settings, HoldTerms* terms) {
  std::set<std::string> groups;
  int sum = 0;
  int least = std::numeric_limits<int>::max();
  for (const v1::HoldStep& step : settings.steps()) {
    groups.insert(step.by().begin(), step.by().end());
    sum += std::max(1, step.approvals());
    least = std::min(least, std::max(1, step.approvals()));
  }
  terms->groups.assign(groups.begin(), groups.end());
  terms->approvals = settings.any_step() ? least : sum;
}

}  // namespace

void ReadHold(const YAML::Node& node, FindingSink& sink, v1::HoldSettings* hold) {
  Section section(node, "`hold`",
                  {"by", "approvals", "steps", "need", "request_ttl", "use_within", "run_within", "in_transaction_ttl",
                   "mode", "preview", "template", "break_glass"},
                  sink);
  CopyTexts(section.Strings("by"), hold->mutable_by());
  hold->set_approvals(static_cast<int32_t>(section.Positive("approvals", kMaxApprovals).value_or(0)));
  if (const YAML::Node* steps = section.List("steps")) {
    for (const auto& step : *steps) ReadStep(step, sink, hold->add_steps());
  }
  hold->set_any_step(Word(section, "need", {"all", "any"}) == "any");
  if (section.Has("need") && hold->steps().empty()) {
    sink.Error(section.LineOfKey("need"), "`need` says how many of `steps` are needed, and there are none");
  }
  hold->set_request_ttl_seconds(Seconds(section, "request_ttl"));
  hold->set_use_within_seconds(Seconds(section, "use_within"));
  hold->set_run_within_seconds(Seconds(section, "run_within"));
  hold->set_in_transaction_ttl_seconds(Seconds(section, "in_transaction_ttl"));
  hold->set_mode(Word(section, "mode", {"wait", "return"}));
  if (const YAML::Node* preview = section.Map("preview")) ReadPreview(*preview, sink, hold->mutable_preview());
  if (const YAML::Node* shape = section.Map("template")) ReadTemplate(*shape, sink, hold->mutable_template_());
  CopyTexts(section.Strings("break_glass"), hold->mutable_break_glass());
}

void ReadFreeze(const YAML::Node& node, FindingSink& sink, v1::Freeze* freeze) {
  Section section(node, "a freeze", {"name", "from", "until", "message"}, sink);
  freeze->set_line(section.line());
  if (!node.IsMap()) return;
  freeze->set_name(section.RequiredString("name", "year-end"));
  ReadInstant(section, "from", freeze->mutable_from());
  ReadInstant(section, "until", freeze->mutable_until());
  freeze->set_message(section.String("message"));
}

void CheckHold(const v1::Rule& rule, const std::string& name, FindingSink& sink) {
  const v1::HoldSettings& hold = rule.hold();
  if (rule.effect() != v1::RULE_EFFECT_HOLD) {
    if (rule.has_hold()) {
      sink.Error(rule.line(), fmt::format("{}: `hold` belongs to rules with `effect: hold`", name));
    }
    return;
  }
  if (hold.by().empty() && hold.steps().empty()) {
    sink.Error(rule.line(), fmt::format("{}: nobody could approve; write `hold: {{by: [GROUP]}}`", name));
  }
  if (!hold.steps().empty() && (!hold.by().empty() || hold.approvals() != 0)) {
    sink.Error(rule.line(), fmt::format("{}: `steps` name their own groups and numbers; leave out `by` and `approvals` "
                                        "beside them",
                                        name));
  }
  for (const v1::HoldStep& step : hold.steps()) {
    if (step.by().empty()) sink.Error(rule.line(), fmt::format("{}: a step of `hold` needs `by`", name));
    if (step.approvals() < 0) sink.Error(rule.line(), fmt::format("{}: numbers must not be negative", name));
  }
  if (hold.approvals() < 0 || hold.request_ttl_seconds() < 0 || hold.use_within_seconds() < 0 ||
      hold.run_within_seconds() < 0 || hold.in_transaction_ttl_seconds() < 0) {
    sink.Error(rule.line(), fmt::format("{}: numbers must not be negative", name));
  }
  if (hold.has_template_() && hold.template_().for_seconds() > kMaxTemplateSeconds) {
    sink.Error(rule.line(), fmt::format("{}: a template lives for 24h at most", name));
  }
  const bool statement_only = hold.run_within_seconds() > 0 || hold.in_transaction_ttl_seconds() > 0 ||
                              !hold.mode().empty() || hold.has_preview() || hold.has_template_();
  if (rule.on() == "token" && statement_only) {
    sink.Error(rule.line(), fmt::format("{}: `run_within`, `in_transaction_ttl`, `mode`, `preview` and `template` of "
                                        "`hold` are for statements, not for token requests",
                                        name));
  }
}

void CheckFreezes(const v1::Policy& policy, FindingSink& sink) {
  std::set<std::string> names;
  for (const v1::Freeze& freeze : policy.freezes()) {
    if (!names.insert(freeze.name()).second) {
      sink.Error(freeze.line(), fmt::format("freeze `{}` exists twice; give it a name of its own", freeze.name()));
    }
    if (FromTimestamp(freeze.until()) <= FromTimestamp(freeze.from())) {
      sink.Error(freeze.line(), fmt::format("freeze `{}` ends before it begins", freeze.name()));
    }
  }
}

HoldTerms CompileHold(const v1::HoldSettings& settings) {
  HoldTerms terms;
  terms.groups.assign(settings.by().begin(), settings.by().end());
  if (settings.approvals() > 0) terms.approvals = settings.approvals();
  if (!settings.steps().empty()) CombineSteps(settings, &terms);
  if (settings.request_ttl_seconds() > 0) terms.request_ttl_seconds = settings.request_ttl_seconds();
  if (settings.use_within_seconds() > 0) terms.use_within_seconds = settings.use_within_seconds();

  auto complete = std::make_shared<v1::HoldSettings>(settings);
  complete->set_request_ttl_seconds(terms.request_ttl_seconds);
  complete->set_use_within_seconds(terms.use_within_seconds);
  if (settings.steps().empty()) complete->set_approvals(terms.approvals);
  for (v1::HoldStep& step : *complete->mutable_steps()) step.set_approvals(std::max(1, step.approvals()));
  if (settings.in_transaction_ttl_seconds() == 0) {
    complete->set_in_transaction_ttl_seconds(std::min(kInTransactionTtl, terms.request_ttl_seconds));
  }
  if (settings.mode().empty()) complete->set_mode("wait");
  v1::PreviewSettings* preview = complete->mutable_preview();
  if (preview->show().empty()) preview->set_show("none");
  if (preview->rows_max() == 0) preview->set_rows_max(kPreviewRows);
  terms.settings = std::move(complete);
  return terms;
}

std::optional<FreezeView> CompiledPolicy::FreezeAt(const Subject& subject, const TargetView& target,
                                                   absl::Time now) const {
  std::optional<FreezeView> found;
  for (const CompiledDocument& document : impl_->documents) {
    if (document.freezes.empty() || !document.Matches(subject, target)) continue;
    for (const auto& [from, freeze] : document.freezes) {
      if (now < from || now >= freeze.until) continue;
      if (!found.has_value() || freeze.until > found->until) found = freeze;
    }
  }
  return found;
}

}  // namespace postern::policy
