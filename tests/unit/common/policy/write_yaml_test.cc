// What WriteYaml() writes, Load() reads back.
#include "common/policy/write_yaml.h"

#include <fstream>
#include <sstream>
#include <string>

#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"
#include "tests/unit/common/policy/policy_testing.h"

namespace postern::policy::testing {
namespace {

// Places in files differ, and so does nothing else.
v1::Policy WithoutPlaces(v1::Policy policy) {
  policy.clear_path();
  for (v1::SubjectMatcher& subject : *policy.mutable_subjects()) subject.clear_line();
  for (v1::Freeze& freeze : *policy.mutable_freezes()) freeze.clear_line();
  for (v1::Rule& rule : *policy.mutable_rules()) {
    rule.clear_line();
    for (v1::MaskRule& mask : *rule.mutable_columns()->mutable_mask()) mask.clear_line();
    if (rule.columns().ByteSizeLong() == 0) rule.clear_columns();
  }
  for (v1::PolicyTest& test : *policy.mutable_tests()) {
    test.clear_line();
    test.mutable_as()->clear_line();
  }
  return policy;
}

void ExpectRoundTrip(const v1::Policy& policy) {
  const std::string yaml = WriteYaml(policy, {});
  const std::vector<v1::Policy> again = Parse(yaml);
  ASSERT_EQ(again.size(), 1u) << yaml;
  const v1::Policy before = WithoutPlaces(policy);
  const v1::Policy after = WithoutPlaces(again[0]);
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equivalent(before, after))
      << yaml << "\n--- was\n"
      << before.DebugString() << "\n--- is\n"
      << after.DebugString();
}

TEST(WriteYaml, EveryKeyComesBack) {
  std::ifstream file(std::string(POSTERN_SOURCE_DIR) + "/tests/unit/common/policy/golden/load/everything.yaml");
  std::stringstream text;
  text << file.rdbuf();
  for (const v1::Policy& policy : Parse(text.str())) ExpectRoundTrip(policy);
}

TEST(WriteYaml, MasksWithTheirConditionsComeBack) {
  for (const v1::Policy& policy : Parse(R"(apiVersion: postern/v1
kind: Policy
metadata: {name: p}
subjects: [{agent: "*", on_behalf_of: "*@example.com"}, {group: "null"}]
rules:
  - id: r
    effect: hold
    do: [select]
    objects: ["app.*"]
    columns:
      mask: {app.customers.email: null, app.customers.city: redact}
      lookup: [app.customers.email]
      count_min: {app.customers.city: 10}
      probes_max: 20
      in_expression: placeholder
    hold: {steps: [{by: [leads, "7"], approvals: 2}, {by: [dbas]}], need: any, run_within: 10s}
tests:
  - {name: "a \"test\": #1\n", sql: "select 'it''s' -- \\ ö\n", expect: deny}
)")) {
    ExpectRoundTrip(policy);
  }
}

TEST(WriteYaml, CommentsStandAboveTheirRules) {
  v1::Policy policy = Parse(R"(apiVersion: postern/v1
kind: Policy
metadata: {name: p}
subjects: [{group: g}]
rules: [{id: a, effect: allow, do: [select]}, {id: b, effect: allow, do: [update]}]
)")[0];
  const std::string yaml = WriteYaml(policy, {"one\ntwo", "three"});
  EXPECT_NE(yaml.find("  # one\n  # two\n  - id: a\n"), std::string::npos) << yaml;
  EXPECT_NE(yaml.find("  # three\n  - id: b\n"), std::string::npos) << yaml;
}

}  // namespace
}  // namespace postern::policy::testing
