#include "common/policy/write_yaml.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/time/time.h"
#include "common/base/timestamps.h"
#include "common/policy/vocabulary.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace postern::policy {
namespace {

// Words that YAML takes for something else than text.
bool IsSpecial(std::string_view word) {
  for (const std::string_view special : {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}) {
    if (word == special) return true;
  }
  return false;
}

// Plain where that is safe beyond doubt, else in double quotes (YAML 1.2, 7.3.1).
std::string Scalar(std::string_view text) {
  const bool plain = !text.empty() && absl::ascii_islower(static_cast<unsigned char>(text.front())) &&
                     !IsSpecial(text) && std::all_of(text.begin(), text.end(), [](char c) {
                       return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.';
                     });
  if (plain) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (c == '\n') {
      quoted += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      quoted += fmt::format("\\x{:02x}", byte);
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

template <typename Texts>
std::string List(const Texts& texts) {
  std::vector<std::string> items;
  for (const std::string& text : texts) items.push_back(Scalar(text));
  return fmt::format("[{}]", fmt::join(items, ", "));
}

// The pairs of one flow mapping; empty values are left out.
class FlowMap {
 public:
  void Text(std::string_view key, std::string_view value) {
    if (!value.empty()) Raw(key, Scalar(value));
  }
  template <typename Texts>
  void Each(std::string_view key, const Texts& values) {
    if (!values.empty()) Raw(key, List(values));
  }
  void Number(std::string_view key, int64_t value) {
    if (value != 0) Raw(key, std::to_string(value));
  }
  void Milliseconds(std::string_view key, int64_t value) {
    if (value > 0) Raw(key, FormatDuration(value));
  }
  void Seconds(std::string_view key, int64_t value) { Milliseconds(key, value * 1000); }
  void True(std::string_view key, bool value) {
    if (value) Raw(key, "true");
  }
  void Raw(std::string_view key, std::string value) { pairs_.push_back(fmt::format("{}: {}", key, value)); }
  void Nested(std::string_view key, const FlowMap& value) {
    if (!value.pairs_.empty()) Raw(key, value.Done());
  }
  bool empty() const { return pairs_.empty(); }
  std::string Done() const { return fmt::format("{{{}}}", fmt::join(pairs_, ", ")); }

 private:
  std::vector<std::string> pairs_;
};

std::string SubjectText(const v1::SubjectMatcher& subject) {
  FlowMap map;
  map.Text("agent", subject.agent());
  map.Text("on_behalf_of", subject.on_behalf_of());
  map.Text("group", subject.group());
  return map.Done();
}

FlowMap SessionMap(const v1::SessionSettings& session) {
  FlowMap map;
  map.Text("role", session.role());
  map.Seconds("ttl", session.ttl_seconds());
  map.Milliseconds("statement_timeout", session.statement_timeout_ms());
  map.Seconds("on_disconnect", session.on_disconnect_seconds());
  map.Text("audit", session.audit());
  map.True("read_only", session.read_only());
  return map;
}

FlowMap HoldMap(const v1::HoldSettings& hold) {
  FlowMap map;
  map.Each("by", hold.by());
  map.Number("approvals", hold.approvals());
  if (!hold.steps().empty()) {
    std::vector<std::string> steps;
    for (const v1::HoldStep& step : hold.steps()) {
      FlowMap each;
      each.Each("by", step.by());
      each.Number("approvals", step.approvals());
      steps.push_back(each.Done());
    }
    map.Raw("steps", fmt::format("[{}]", fmt::join(steps, ", ")));
    if (hold.any_step()) map.Text("need", "any");
  }
  map.Seconds("request_ttl", hold.request_ttl_seconds());
  map.Seconds("use_within", hold.use_within_seconds());
  map.Seconds("run_within", hold.run_within_seconds());
  map.Seconds("in_transaction_ttl", hold.in_transaction_ttl_seconds());
  map.Text("mode", hold.mode());
  FlowMap preview;
  preview.Text("show", hold.preview().show());
  preview.Number("rows_max", hold.preview().rows_max());
  preview.Each("redact", hold.preview().redact());
  map.Nested("preview", preview);
  if (hold.has_template_()) {
    FlowMap shape;
    shape.Number("rows_max", hold.template_().rows_max());
    shape.Seconds("for", hold.template_().for_seconds());
    map.Nested("template", shape);
  }
  map.Each("break_glass", hold.break_glass());
  return map;
}

class Writer {
 public:
  std::string Write(const v1::Policy& policy, const std::vector<std::string>& comments) {
    out_ = "apiVersion: postern/v1\nkind: Policy\n";
    FlowMap head;
    head.Text("name", policy.name());
    head.Text("owner", policy.owner());
    Line("metadata: " + head.Done());
    Line("subjects:");
    for (const v1::SubjectMatcher& subject : policy.subjects()) Line("  - " + SubjectText(subject));
    FlowMap targets;
    targets.Each("databases", policy.targets().databases());
    targets.Each("env", policy.targets().env());
    targets.Each("names", policy.targets().names());
    if (!targets.empty()) Line("targets: " + targets.Done());
    if (const FlowMap session = SessionMap(policy.session()); !session.empty()) Line("session: " + session.Done());
    if (!policy.rules().empty()) Line("rules:");
    for (int i = 0; i < policy.rules_size(); ++i) {
      if (static_cast<size_t>(i) < comments.size()) Comment(comments[static_cast<size_t>(i)]);
      Rule(policy.rules(i));
    }
    Freezes(policy);
    Detectors(policy);
    if (!policy.tests().empty()) Line("tests:");
    for (const v1::PolicyTest& test : policy.tests()) Test(test);
    return std::move(out_);
  }

 private:
  void Line(const std::string& text) { out_ += text + "\n"; }

  void Comment(std::string_view text) {
    while (!text.empty()) {
      const size_t end = text.find('\n');
      Line(fmt::format("  # {}", text.substr(0, end)));
      if (end == std::string_view::npos) return;
      text.remove_prefix(end + 1);
    }
  }

  void Rule(const v1::Rule& rule) {
    Line("  - id: " + Scalar(rule.id()));
    constexpr std::string_view kEffects[] = {"", "allow", "hold", "deny"};
    Line(fmt::format("    effect: {}", kEffects[rule.effect()]));
    Line("    do: " + List(rule.do_()));
    if (!rule.objects().empty()) Line("    objects: " + List(rule.objects()));
    if (!rule.functions().empty()) Line("    functions: " + List(rule.functions()));
    if (rule.has_columns()) Columns(rule.columns());
    FlowMap require;
    require.Each("where_on", rule.require().where_on());
    require.Number("limit_max", rule.require().limit_max());
    require.True("where", rule.require().where());
    if (!require.empty()) Line("    require: " + require.Done());
    if (rule.affected().rows_max() > 0) Line(fmt::format("    affected: {{rows_max: {}}}", rule.affected().rows_max()));
    if (rule.has_hold()) Line("    hold: " + HoldMap(rule.hold()).Done());
    if (!rule.on().empty()) Line("    on: " + Scalar(rule.on()));
    if (!rule.message().empty()) Line("    message: " + Scalar(rule.message()));
  }

  void Columns(const v1::ColumnRules& columns) {
    if (columns.only().empty() && columns.except().empty() && columns.mask().empty()) return;
    Line("    columns:");
    if (!columns.only().empty()) Line("      only: " + List(columns.only()));
    if (!columns.except().empty()) Line("      except: " + List(columns.except()));
    if (columns.mask().empty()) return;
    Line("      mask:");
    std::vector<std::string> lookups, counts;
    int64_t probes_max = 0;
    bool placeholder = false;
    for (const v1::MaskRule& mask : columns.mask()) {
      const std::string column = Scalar(mask.column());
      Line(fmt::format("        {}: {}", column, StrategyName(mask.strategy())));
      if (mask.lookup()) lookups.push_back(column);
      if (mask.count_min() > 0) counts.push_back(fmt::format("{}: {}", column, mask.count_min()));
      if (mask.lookup() || mask.count_min() > 0) probes_max = std::max(probes_max, mask.probes_max());
      placeholder = placeholder || mask.placeholder();
    }
    if (!lookups.empty()) Line(fmt::format("      lookup: [{}]", fmt::join(lookups, ", ")));
    if (!counts.empty()) Line(fmt::format("      count_min: {{{}}}", fmt::join(counts, ", ")));
    if (probes_max > 0) Line(fmt::format("      probes_max: {}", probes_max));
    if (placeholder) Line("      in_expression: placeholder");
  }

  void Freezes(const v1::Policy& policy) {
    if (policy.freezes().empty()) return;
    Line("freezes:");
    for (const v1::Freeze& freeze : policy.freezes()) {
      FlowMap map;
      map.Text("name", freeze.name());
      map.Text("from", absl::FormatTime(absl::RFC3339_full, FromTimestamp(freeze.from()), absl::UTCTimeZone()));
      map.Text("until", absl::FormatTime(absl::RFC3339_full, FromTimestamp(freeze.until()), absl::UTCTimeZone()));
      map.Text("message", freeze.message());
      Line("  - " + map.Done());
    }
  }

  void Detectors(const v1::Policy& policy) {
    if (policy.detect().empty()) return;
    Line("detect:");
    for (const v1::DetectRule& detect : policy.detect()) {
      FlowMap map;
      map.Each("find", detect.find());
      map.Each("columns", detect.columns());
      map.Each("except", detect.except());
      map.Text("on_hit", detect.on_hit());
      Line("  - " + map.Done());
    }
  }

  void Test(const v1::PolicyTest& test) {
    FlowMap map;
    map.Text("name", test.name());
    if (test.has_as()) map.Raw("as", SubjectText(test.as()));
    map.Text("db", test.database());
    map.Text("sql", test.sql());
    map.Text("expect", test.expect());
    map.Text("rule", test.rule());
    Line("  - " + map.Done());
  }

  std::string out_;
};

}  // namespace

std::string WriteYaml(const v1::Policy& policy, const std::vector<std::string>& comments) {
  return Writer().Write(policy, comments);
}

}  // namespace postern::policy
