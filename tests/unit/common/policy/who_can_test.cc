// WhoCan(): who may do something, by which rule, and what takes it back.
#include "common/policy/who_can.h"

#include <memory>
#include <string>
#include <vector>

#include "common/policy/harden.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/common/policy/policy_testing.h"

namespace postern::policy::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr std::string_view kPolicies = R"(apiVersion: postern/v1
kind: Policy
metadata: {name: desk}
subjects: [{agent: support-bot, group: agents}, {agent: "ci-*"}]
targets: {databases: [shop], env: [prod]}
session: {role: app_support}
rules:
  - {id: look, effect: allow, do: [read], objects: ["app.*"], columns: {mask: {app.customers.email: hash}},
     require: {where_on: [customer_id], limit_max: 200}}
  - {id: status, effect: allow, do: [update], objects: [app.orders], columns: {only: [status]}}
  - {id: price, effect: hold, do: [write], objects: [app.orders], affected: {rows_max: 1}, hold: {by: [leads], approvals: 2}}
---
apiVersion: postern/v1
kind: Policy
metadata: {name: guard}
subjects: [{group: agents}]
rules:
  - {id: no-phones, effect: deny, do: [all], objects: [app.customers], columns: {only: [phone]}}
---
apiVersion: postern/v1
kind: Policy
metadata: {name: lawyers}
subjects: [{agent: "*"}]
targets: {env: [prod]}
rules:
  - {id: no-totals, effect: deny, do: [update], objects: [app.orders], columns: {only: [total]}}
)";

// "hold update agent x by desk/price | remarks".
std::vector<std::string> Ask(std::string_view verb, std::string_view object, const sql::Catalog* catalog = nullptr,
                             std::string_view policies = kPolicies) {
  const auto query = ParseWhoCan(verb, object);
  EXPECT_TRUE(query.ok()) << query.status();
  std::vector<std::string> lines;
  for (const Way& way : WhoCan(Parse(policies), *query, catalog)) {
    std::vector<std::string> parts;
    if (!way.through.empty()) parts.push_back("through " + way.through);
    if (!way.columns.empty()) parts.push_back(way.columns);
    for (const std::string& condition : way.conditions) parts.push_back(condition);
    if (!way.decided_by.rule.empty()) parts.push_back("by " + way.decided_by.ToString());
    for (const std::string& mask : way.masks) parts.push_back(mask);
    for (const std::string& unless : way.unless) parts.push_back("unless " + unless);
    constexpr std::string_view kWords[] = {"allow", "hold", "deny"};
    lines.push_back(fmt::format("{} {} {} by {}:{}{}{}", kWords[static_cast<int>(way.verdict)],
                                sql::OperationName(way.verb), MatcherInWords(way.subject), way.rule.ToString(),
                                way.rule.line, parts.empty() ? "" : " | ", fmt::join(parts, "; ")));
  }
  return lines;
}

TEST(WhoCan, NamesRulesSubjectsAndConditions) {
  EXPECT_THAT(
      Ask("insert", "app.orders.total"),
      UnorderedElementsAre("hold insert agent support-bot, in group agents by desk/price:11 | at most 1 rows changed",
                           "hold insert agent ci-* by desk/price:11 | at most 1 rows changed"));
  EXPECT_THAT(Ask("select", "app.orders"),
              ElementsAre("allow select agent support-bot, in group agents by desk/look:8 | a WHERE on customer_id; a "
                          "LIMIT of at most 200",
                          "allow select agent ci-* by desk/look:8 | a WHERE on customer_id; a LIMIT of at most 200"));
  EXPECT_THAT(Ask("delete", "app.customers"), IsEmpty());
}

TEST(WhoCan, ADenyRuleOfAPolicyForEverybodyShadows) {
  EXPECT_THAT(
      Ask("update", "app.orders.total"),
      ElementsAre("deny update agent support-bot, in group agents by desk/price:11 | at most 1 rows changed; by "
                  "lawyers/no-totals",
                  "deny update agent ci-* by desk/price:11 | at most 1 rows changed; by lawyers/no-totals"));
}

TEST(WhoCan, AHoldRuleOfTheSamePolicyHoldsWhatAnotherAllows) {
  EXPECT_THAT(
      Ask("update", "app.orders.status"),
      UnorderedElementsAre("hold update agent support-bot, in group agents by desk/price:11 | at most 1 rows changed",
                           "hold update agent ci-* by desk/price:11 | at most 1 rows changed",
                           "hold update agent support-bot, in group agents by desk/status:10 | by desk/price",
                           "hold update agent ci-* by desk/status:10 | by desk/price"));
}

TEST(WhoCan, ADenyRuleForSomeIsSaidToBe) {
  EXPECT_THAT(
      Ask("select", "app.customers.phone"),
      ElementsAre(HasSubstr("deny select agent support-bot, in group agents by desk/look:8"),
                  HasSubstr("unless denied by guard/no-phones (test.yaml:18), for those of them that policy guard "
                            "speaks of")));
  EXPECT_THAT(Ask("select", "app.customers"),
              ElementsAre(HasSubstr("email: hash by desk/look (test.yaml:8); unless denied by guard/no-phones "
                                    "(test.yaml:18) for phone"),
                          HasSubstr("for phone, for those of them that policy guard speaks of")));
}

TEST(WhoCan, ColumnsOutsideARuleAreNotItsOwn) {
  EXPECT_THAT(Ask("update", "app.orders.id"),
              ElementsAre(HasSubstr("by desk/price:11"), HasSubstr("by desk/price:11")));
  EXPECT_THAT(Ask("update", "app.orders"), ::testing::Contains(HasSubstr("desk/status:10 | only status")));
}

TEST(WhoCan, SaysThatAColumnIsMasked) {
  EXPECT_THAT(Ask("select", "app.customers.email")[0], HasSubstr("email: hash by desk/look (test.yaml:8)"));
  EXPECT_THAT(Ask("select", "app.customers.name")[0], ::testing::Not(HasSubstr("hash")));
}

constexpr std::string_view kRoundabout = R"(apiVersion: postern/v1
kind: Policy
metadata: {name: p}
subjects: [{group: agents}]
rules:
  - {id: whole, effect: allow, do: [read], objects: [app.orders]}
  - {id: part, effect: allow, do: [select, update], objects: [app.orders_2025]}
)";

TEST(WhoCan, WithACatalogParentsAndPartitionsCount) {
  EXPECT_THAT(Ask("select", "app.orders_2025.total", &TestCatalog(), kRoundabout),
              UnorderedElementsAre("allow select in group agents by p/part:7",
                                   "allow select in group agents by p/whole:6 | through parent table app.orders"));
  EXPECT_THAT(Ask("update", "app.orders.total", &TestCatalog(), kRoundabout),
              ElementsAre("allow update in group agents by p/part:7 | through partition or child app.orders_2025"));
  EXPECT_THAT(Ask("update", "app.orders.total", nullptr, kRoundabout), IsEmpty());
}

// customers (id, email) and a view that shows both under other names.
std::shared_ptr<const sql::Catalog> CatalogWithView() {
  v1::CatalogContents contents;
  contents.set_server_version(150000);
  v1::CatalogContents::Schema* schema = contents.add_schemas();
  schema->set_oid(10);
  schema->set_name("app");
  AddRelation(&contents, 100, "customers", "r", {"id", "email"});
  AddRelation(&contents, 101, "contacts", "v", {"number", "mail"});
  contents.mutable_relations(1)->set_view_definition(
      " SELECT customers.id AS number, customers.email AS mail FROM app.customers;");
  return sql::Catalog::Build(contents);
}

TEST(WhoCan, WithACatalogViewsCountByTheColumnsThatTheyShow) {
  constexpr std::string_view kPolicy = R"(apiVersion: postern/v1
kind: Policy
metadata: {name: p}
subjects: [{group: agents}]
rules:
  - {id: numbers, effect: allow, do: [select], objects: [app.contacts], columns: {only: [number]}}
  - {id: mails, effect: allow, do: [select, update], objects: [app.contacts], columns: {only: [mail]}}
)";
  const auto catalog = CatalogWithView();
  EXPECT_THAT(Ask("select", "app.customers.email", catalog.get(), kPolicy),
              ElementsAre("allow select in group agents by p/mails:7 | through view app.contacts (mail)"));
  EXPECT_THAT(Ask("update", "app.customers.email", catalog.get(), kPolicy),
              ElementsAre("allow update in group agents by p/mails:7 | through view app.contacts (mail)"));
  EXPECT_THAT(Ask("update", "app.customers.id", catalog.get(), kPolicy), IsEmpty());
  EXPECT_THAT(Ask("delete", "app.customers", catalog.get(), kPolicy), IsEmpty());
}

TEST(Harden, GrantsWhatRulesNeedAndNoMaskedColumn) {
  const std::vector<v1::Policy> policies = Parse(R"(apiVersion: postern/v1
kind: Policy
metadata: {name: p}
subjects: [{group: agents}]
session: {role: "o'role"}
rules:
  - {id: r, effect: allow, do: [select], objects: ["app.*"], columns: {mask: {app.customers.email: hash}}}
)");
  const HardenOptions options{{"demo", "shop", "prod"}, "gate", ""};
  const auto sql = HardenSql(policies, options, *CatalogWithView());
  ASSERT_TRUE(sql.ok()) << sql.status();
  EXPECT_THAT(*sql, HasSubstr("GRANT SELECT (\"id\") ON \"app\".\"customers\" TO \"o'role\";"));
  EXPECT_THAT(*sql, HasSubstr("GRANT SELECT (\"number\") ON \"app\".\"contacts\" TO \"o'role\";"));
  EXPECT_THAT(*sql, HasSubstr("rolname = 'o''role'"));
  EXPECT_THAT(*sql, ::testing::Not(HasSubstr("GRANT SELECT (\"email\"")));
  EXPECT_THAT(*sql, HasSubstr("('\"app\".\"contacts\"', 'mail')"));
}

TEST(Harden, AsksForARoleOfItsOwn) {
  const std::vector<v1::Policy> policies =
      Parse("apiVersion: postern/v1\nkind: Policy\nmetadata: {name: p}\nsubjects: [{group: g}]\n");
  const HardenOptions options{{"demo", "shop", "prod"}, "gate", ""};
  EXPECT_THAT(HardenSql(policies, options, TestCatalog()).status().message(), HasSubstr("run as gate"));
  EXPECT_THAT(HardenSql({}, options, TestCatalog()).status().message(), HasSubstr("no policy speaks of target demo"));
}

TEST(WhoCan, VerbsWithoutObjectsAndSessionVerbs) {
  constexpr std::string_view kPolicy = R"(apiVersion: postern/v1
kind: Policy
metadata: {name: p}
subjects: [{group: dbas}]
rules:
  - {id: blocks, effect: allow, do: [do_block]}
  - {id: narrow, effect: allow, do: [do_block], objects: [app.orders]}
  - {id: quiet, effect: deny, do: [show]}
)";
  EXPECT_THAT(Ask("do_block", "", nullptr, kPolicy), ElementsAre("allow do_block in group dbas by p/blocks:6"));
  EXPECT_THAT(Ask("transaction", "", nullptr, kPolicy), ElementsAre("allow transaction in group dbas by :0"));
  EXPECT_THAT(Ask("show", "", nullptr, kPolicy), ElementsAre("deny show in group dbas by :0 | by p/quiet"));
  EXPECT_THAT(Ask("load", "", nullptr, kPolicy), IsEmpty());
}

TEST(WhoCan, RefusesQuestionsThatMakeNoSense) {
  EXPECT_THAT(ParseWhoCan("updat", "app.orders").status().message(), HasSubstr("did you mean `update`?"));
  EXPECT_FALSE(ParseWhoCan("update", "app.*").ok());
  EXPECT_FALSE(ParseWhoCan("update", "a.b.c.d").ok());
  EXPECT_FALSE(ParseWhoCan("update", "app.").ok());
  EXPECT_FALSE(ParseWhoCan("update", ".orders").ok());
}

TEST(WhoCan, AGrantCanWhatItsIntentLeavesOfThat) {
  const std::vector<v1::Policy> policies = Parse(kPolicies);
  const auto compiled = Compiled(kPolicies);
  const auto query = ParseWhoCan("select", "app.orders");
  const auto can = [&](const IntentView& intent, sql::Operation verb) {
    return CanAtBest(*compiled, policies, Bot(), Demo(), intent, verb, *query, &TestCatalog());
  };
  EXPECT_EQ(can(All(), sql::Operation::kSelect).verdict, Verdict::kAllow);
  EXPECT_EQ(can({{"update"}, {}}, sql::Operation::kSelect).verdict, Verdict::kDeny);
  EXPECT_EQ(can({{"all"}, {"app.customers"}}, sql::Operation::kSelect).verdict, Verdict::kDeny);
  EXPECT_EQ(can(All(), sql::Operation::kInsert).verdict, Verdict::kHold);
}

}  // namespace
}  // namespace postern::policy::testing
