// The quickstart's policy: it loads, it says nothing odd, its tests pass with and without the database's catalog, and
// it keeps what it promises.
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "common/policy/judge_text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/common/policy/policy_testing.h"

namespace postern::policy::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string SampleText() {
  std::ifstream file(std::string(POSTERN_SOURCE_DIR) + "/deploy/policies/sample.yaml");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// The sample database's schema app.
std::shared_ptr<const sql::Catalog> SampleCatalog() {
  struct Table {
    const char* name;
    std::vector<const char*> columns;
  };
  const std::vector<Table> tables = {
      {"customers", {"id", "name", "email", "phone", "national_id", "date_of_birth", "city", "created_at"}},
      {"orders", {"id", "customer_id", "status", "total", "refunded_at", "created_at"}},
      {"order_items", {"id", "order_id", "product_id", "quantity", "unit_price"}},
      {"products", {"id", "name", "price", "stock"}},
      {"payments", {"id", "order_id", "method", "card_number", "amount", "paid_at"}},
      {"employees", {"id", "name", "email", "title", "salary", "manager_id", "hired_at"}},
      {"support_tickets", {"id", "customer_id", "subject", "body", "status", "created_at"}},
  };
  v1::CatalogContents contents;
  contents.set_server_version(150000);
  contents.add_schemas()->set_oid(16000);
  contents.mutable_schemas(0)->set_name("app");
  uint32_t oid = 16001;
  for (const Table& table : tables) {
    auto* relation = contents.add_relations();
    relation->set_oid(oid++);
    relation->set_schema_oid(16000);
    relation->set_name(table.name);
    relation->set_relkind("r");
    for (const char* name : table.columns) {
      auto* column = relation->add_columns();
      column->set_name(name);
      column->set_attnum(relation->columns_size());
      column->set_type_oid(25);
    }
  }
  return sql::Catalog::Build(contents);
}

class FixedCatalog : public CatalogSource {
 public:
  explicit FixedCatalog(std::shared_ptr<const sql::Catalog> catalog) : catalog_(std::move(catalog)) {}
  std::shared_ptr<const sql::Catalog> Find(std::string_view, std::string_view database) const override {
    return database == "postern_demo" ? catalog_ : nullptr;
  }

 private:
  std::shared_ptr<const sql::Catalog> catalog_;
};

void ExpectAllPass(const std::vector<v1::PolicyTestResult>& results) {
  EXPECT_GE(results.size(), 18u);
  for (const v1::PolicyTestResult& result : results) {
    EXPECT_TRUE(result.passed()) << result.policy() << ": " << result.name() << ": " << result.detail();
  }
}

TEST(SamplePolicy, LintHasNothingToSay) {
  const auto catalog = SampleCatalog();
  for (const v1::PolicyFinding& finding : Lint(Parse(SampleText()), catalog.get())) {
    ADD_FAILURE() << finding.line() << ": " << finding.message();
  }
}

TEST(SamplePolicy, ItsTestsPassWithTheCatalog) {
  ExpectAllPass(RunTests(Parse(SampleText()), FixedCatalog(SampleCatalog())));
}

TEST(SamplePolicy, ItsTestsPassWithoutACatalog) { ExpectAllPass(RunTests(Parse(SampleText()), FixedCatalog(nullptr))); }

v1::ExplainPolicyResponse ExplainSample(std::string_view sql) {
  const auto catalog = SampleCatalog();
  const auto response = Explain(*Compiled(SampleText()), {"support-bot", "", {"agents"}},
                                {"demo", "postern_demo", "demo"}, sql, catalog.get());
  EXPECT_TRUE(response.ok()) << response.status();
  return response.value_or(v1::ExplainPolicyResponse());
}

TEST(SamplePolicy, ReadsAreMasked) {
  const auto response = ExplainSample("select name, email as label, phone from app.customers");
  EXPECT_EQ(response.decision(), "allow");
  EXPECT_THAT(response.masks(), ElementsAre("label: email_domain", "phone: last4"));
  EXPECT_THAT(ExplainSample("select * from app.employees").masks(), ElementsAre("email: email_domain", "salary: null"));
}

TEST(SamplePolicy, MaskedValuesHaveNoWayOut) {
  for (const char* sql :
       {"select upper(email) from app.customers", "select id from app.customers where email like 'a%'",
        "select id from app.employees order by salary", "select c from app.customers c",
        "insert into app.support_tickets (body) select email from app.customers",
        "select max(salary) from app.employees"}) {
    const auto response = ExplainSample(sql);
    EXPECT_EQ(response.decision(), "deny") << sql;
    EXPECT_THAT(response.reason(), HasSubstr("is masked")) << sql;
  }
}

TEST(SamplePolicy, OtherPeopleSeeNothing) {
  const auto policy = Compiled(SampleText());
  const TargetView target{"demo", "postern_demo", "demo"};
  const auto judged = JudgeText(*policy, {"stranger", "", {}}, target, "select 1", nullptr);
  ASSERT_TRUE(judged.ok());
  EXPECT_EQ(judged->verdict, Verdict::kDeny);
}

TEST(SamplePolicy, TokenRequests) {
  const auto policy = Compiled(SampleText());
  const TargetView target{"demo", "postern_demo", "demo"};
  const auto verdict = [&](const Subject& subject, std::vector<std::string> verbs) {
    return policy->JudgeToken(subject, target, {std::move(verbs), {}}, 0).verdict;
  };
  const Subject bot{"support-bot", "", {"agents"}}, ci{"ci-pipeline", "", {"ci"}};
  EXPECT_EQ(verdict(bot, {"select", "update", "drop"}), Verdict::kAllow);
  EXPECT_EQ(verdict(bot, {"all"}), Verdict::kAllow);
  EXPECT_EQ(verdict(bot, {"alter"}), Verdict::kDeny);
  EXPECT_EQ(verdict(ci, {"select"}), Verdict::kAllow);
  EXPECT_EQ(verdict(ci, {"update"}), Verdict::kDeny);
  EXPECT_TRUE(policy->TermsFor(ci, target).read_only);
  EXPECT_EQ(policy->TermsFor(bot, target).ttl_seconds, 900);
}

}  // namespace
}  // namespace postern::policy::testing
