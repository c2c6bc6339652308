// What lint warns about beyond what loading refuses.
#include <string>
#include <vector>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/common/policy/policy_testing.h"

namespace postern::policy::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr std::string_view kHead =
    "apiVersion: postern/v1\nkind: Policy\nmetadata: {name: p}\nsubjects: [{group: agents}]\n"
    "targets: {env: [prod]}\nrules:\n";

std::vector<std::string> Findings(std::string_view yaml, const sql::Catalog* catalog) {
  std::vector<std::string> texts;
  for (const v1::PolicyFinding& finding : Lint(Parse(yaml), catalog)) {
    EXPECT_EQ(finding.severity(), v1::PolicyFinding::WARNING);
    EXPECT_EQ(finding.path(), "test.yaml");
    texts.push_back(fmt::format("{}: {}", finding.line(), finding.message()));
  }
  return texts;
}

std::vector<std::string> OfRules(std::string_view rules, const sql::Catalog* catalog = &TestCatalog()) {
  return Findings(std::string(kHead) + std::string(rules), catalog);
}

TEST(Lint, IsSilentAboutASoundPolicy) {
  EXPECT_THAT(OfRules(R"(
  - {id: r, effect: allow, do: [select], objects: [app.orders], columns: {mask: {app.orders.total: hash}},
     require: {where_on: [customer_id]}}
  - {id: s, effect: allow, do: [create], objects: [app.new_table]}
)"),
              IsEmpty());
}

TEST(Lint, FindsRulesThatADenyRuleTakesBack) {
  EXPECT_THAT(OfRules(R"(  - {id: r, effect: allow, do: [select, update], objects: [app.orders]}
  - {id: d, effect: deny, do: [read, write], objects: ["app.*"]}
)"),
              ElementsAre("7: rule `r` can never match: `d` (line 8) denies all of it"));
}

TEST(Lint, FindsRulesThatAddNothing) {
  EXPECT_THAT(OfRules(R"(  - {id: wide, effect: allow, do: [select], objects: ["app.*"]}
  - {id: narrow, effect: allow, do: [select], objects: [app.orders]}
  - {id: wide-again, effect: allow, do: [read], objects: ["app.*"]}
)"),
              ElementsAre("8: rule `narrow` adds nothing to `wide` (line 7), which matches all of it",
                          "9: rule `wide-again` adds nothing to `wide` (line 7), which matches all of it"));
}

TEST(Lint, FindsRulesThatAHoldRuleDecidesInsteadOf) {
  EXPECT_THAT(OfRules(R"(  - {id: a, effect: allow, do: [delete], objects: [app.orders]}
  - {id: h, effect: hold, do: [write], objects: ["app.*"], hold: {by: [leads]}}
)"),
              ElementsAre("7: rule `a` never decides: `h` (line 8) holds all of it"));
}

TEST(Lint, RulesThatCarryMasksAddThem) {
  EXPECT_THAT(OfRules(R"(  - {id: a, effect: allow, do: [select]}
  - {id: b, effect: allow, do: [select], objects: [app.customers], columns: {mask: {app.customers.email: hash}}}
)"),
              IsEmpty());
}

TEST(Lint, FindsRulesThatAnotherPolicyTakesBackFromAll) {
  constexpr std::string_view kOther = R"(---
apiVersion: postern/v1
kind: Policy
metadata: {name: q}
subjects: [{agent: "*"}]
targets: {env: [prod, test]}
rules: [{id: d, effect: deny, do: [read, write], objects: ["app.*"]}]
)";
  const std::string rules(R"(  - {id: r, effect: allow, do: [select], objects: [app.orders]}
)");
  EXPECT_THAT(OfRules(rules + std::string(kOther)),
              ElementsAre("7: rule `r` can never match: q/d (test.yaml:14) denies all of it"));
  std::string narrower(kOther);
  narrower.replace(narrower.find("{agent: \"*\"}"), 12, "{agent: \"x\"}");
  EXPECT_THAT(OfRules(rules + narrower), IsEmpty());
}

TEST(Lint, KnowsSystemColumns) {
  EXPECT_THAT(OfRules("  - {id: r, effect: allow, do: [select], objects: [app.orders], columns: {only: [tableoid]}}\n"),
              IsEmpty());
}

TEST(Lint, FindsColumnsThatCancelOut) {
  EXPECT_THAT(OfRules("  - {id: r, effect: allow, do: [select], columns: {only: [id], except: [id]}}\n"),
              ElementsAre("7: rule `r` can never match: `columns.except` takes away every column of `columns.only`"));
}

TEST(Lint, NamesThePermissionsThatAreGranted) {
  EXPECT_THAT(OfRules("  - {id: r, effect: allow, do: [all, do_block, load]}\n"),
              ElementsAre("7: rule `r` grants load, do_block, which can lead around other rules; make sure that it is "
                          "meant"));
}

TEST(Lint, WarnsOfAlterOnMaskedRelations) {
  EXPECT_THAT(OfRules(R"(  - {id: a, effect: allow, do: [alter], objects: ["app.*"]}
  - {id: r, effect: allow, do: [select], objects: [app.customers], columns: {mask: {app.customers.email: hash}}}
)"),
              ElementsAre("7: rule `a` grants alter on app.customers, whose masked column email could then be renamed; "
                          "hold it instead"));
}

TEST(Lint, DoesNotWarnOfAlterThatADenyRuleTakesAway) {
  EXPECT_THAT(OfRules(R"(  - {id: a, effect: allow, do: [alter], objects: ["app.*"]}
  - {id: d, effect: deny, do: [alter, drop], objects: ["app.cust*"]}
  - {id: r, effect: allow, do: [select], objects: [app.customers], columns: {mask: {app.customers.email: hash}}}
)"),
              IsEmpty());
}

TEST(Lint, SaysWhatLookupsAndCountsLetOut) {
  EXPECT_THAT(OfRules(R"(  - id: r
    effect: allow
    do: [select]
    objects: [app.customers]
    columns:
      mask: {app.customers.email: hash, app.customers.city: redact}
      lookup: [app.customers.email]
      count_min: {app.customers.city: 3}
)"),
              UnorderedElementsAre(HasSubstr("`lookup` lets every value of app.customers.email be found out by trying"),
                                   HasSubstr("`count_min` of app.customers.city is 3")));
}

TEST(Lint, WarnsOfConditionsThatAreNeverAsked) {
  EXPECT_THAT(OfRules(R"(  - {id: a, effect: allow, do: [select], affected: {rows_max: 1}}
  - {id: b, effect: allow, do: [insert], require: {limit_max: 1}}
  - {id: c, effect: allow, do: [update], functions: [app.f]}
)"),
              ElementsAre("7: rule `a` has `affected.rows_max`, but none of insert, update and delete",
                          "8: rule `b` has `require.limit_max`, but neither select nor copy_out",
                          "9: rule `c` has `functions`, but neither call nor unsafe_function"));
}

TEST(Lint, ComparesNamesWithTheCatalog) {
  constexpr std::string_view kRules = R"(  - id: r
    effect: allow
    do: [select]
    objects: [app.orders, app.ordres]
    columns: {only: [id, totl], mask: {app.orders.totl: hash, app.customer_view.email: hash}}
    require: {where_on: [custmer_id]}
)";
  EXPECT_THAT(
      OfRules(kRules),
      ElementsAre("7: rule `r` names app.ordres, and the database has no such relation",
                  "7: rule `r` names column custmer_id in `require.where_on`, and none of its relations has it",
                  "7: rule `r` names column totl in `columns.only`, and none of its relations has it",
                  "11: app.orders.totl is masked, and the database has no such column",
                  "11: app.customer_view.email is masked, but no rule of this policy grants anything on it",
                  "11: app.customer_view.email is a view's column: mask the table's column that it shows; until then "
                  "reading it is refused"));
  EXPECT_THAT(OfRules(kRules, nullptr),
              ElementsAre("11: app.customer_view.email is masked, but no rule of this policy grants anything on it"));
}

TEST(Lint, WarnsOfPoliciesForEverywhereAndForNothing) {
  EXPECT_THAT(Findings("apiVersion: postern/v1\nkind: Policy\nmetadata: {name: p}\nsubjects: [{group: g}]\n", nullptr),
              ElementsAre("1: policy `p` has no rules", "1: policy `p` has no `targets`, so it holds on every target"));
}

TEST(Lint, WarnsOfRolesThatContradict) {
  const auto policy = [](std::string_view name, std::string_view env, std::string_view role) {
    return fmt::format(
        "---\napiVersion: postern/v1\nkind: Policy\nmetadata: {{name: {}}}\nsubjects: [{{group: agents}}]\n"
        "targets: {{env: [{}]}}\nsession: {{role: {}}}\nrules: [{{id: r, effect: allow, do: [select]}}]\n",
        name, env, role);
  };
  EXPECT_THAT(Findings(policy("a", "prod", "x") + policy("b", "dev", "y"), nullptr), IsEmpty());
  EXPECT_THAT(Findings(policy("a", "prod", "x") + policy("b", "\"*\"", "y"), nullptr),
              ElementsAre("1: policies `a` and `b` may both speak of one subject, but ask for different roles (x and "
                          "y); the first by name wins"));
}

}  // namespace
}  // namespace postern::policy::testing
