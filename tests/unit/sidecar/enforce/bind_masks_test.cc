#include <string>
#include <vector>

#include "common/base/errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sidecar/enforce/enforcer.h"
#include "tests/unit/sidecar/enforce/enforce_testing.h"

namespace postern::sidecar {
namespace {

using testing::kCustomers;
using testing::kOrders;
using testing::Shop;

class BindMasksTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::vector<mask::ColumnMask>> Bind(std::string_view text, const std::vector<RowField>& fields) {
    plan_ = shop_.Judge(text);
    EXPECT_EQ(plan_->verdict, policy::Verdict::kAllow) << plan_->DenyFields().detail;
    return BindMasks(plan_->decisions[0], plan_->analysis->statements[0], fields,
                     *shop_.enforcer.MaskedOrigins(shop_.identity, *shop_.policy));
  }

  void ExpectMismatch(std::string_view text, const std::vector<RowField>& fields) {
    const auto masks = Bind(text, fields);
    EXPECT_EQ(masks.status().code(), absl::StatusCode::kPermissionDenied);
    EXPECT_EQ(ReasonOf(masks.status()), "ORIGIN_MISMATCH");
  }

  const RowField id_{"id", kCustomers, 1, 23, 0};
  const RowField name_{"name", kCustomers, 2, 25, 0};
  const RowField email_{"email", kCustomers, 3, 25, 1};
  Shop shop_;
  std::shared_ptr<const Plan> plan_;
};

TEST_F(BindMasksTest, PlannedMasksTakeTheServersTypeAndFormat) {
  const auto masks = Bind("SELECT id, email FROM customers", {id_, email_});
  ASSERT_TRUE(masks.ok()) << masks.status();
  ASSERT_EQ(masks->size(), 1U);
  EXPECT_EQ((*masks)[0].column, 1);
  EXPECT_EQ((*masks)[0].strategy, v1::MASK_STRATEGY_HASH);
  EXPECT_EQ((*masks)[0].type, 25U);
  EXPECT_EQ((*masks)[0].format, 1);
}

TEST_F(BindMasksTest, AMaskHoldsWhereTheServerNamesNoOrigin) {
  const auto masks = Bind("SELECT email FROM customers", {{"email", 0, 0, 25, 0}});
  ASSERT_TRUE(masks.ok()) << masks.status();
  EXPECT_EQ(masks->size(), 1U);
}

TEST_F(BindMasksTest, ClearResultsHaveNoMasks) {
  const auto masks = Bind("SELECT count(*), 1 FROM customers", {{"count", 0, 0, 20, 0}, {"?column?", 0, 0, 23, 0}});
  ASSERT_TRUE(masks.ok()) << masks.status();
  EXPECT_TRUE(masks->empty());
}

TEST_F(BindMasksTest, AMaskedOriginThatThePlanShowsInClearIsAMismatch) {
  ExpectMismatch("SELECT id, name FROM customers", {id_, email_});
  ExpectMismatch("SELECT 1", {email_});
}

TEST_F(BindMasksTest, AnotherNumberOfColumnsIsAMismatch) {
  ExpectMismatch("SELECT id, email FROM customers", {id_});
  ExpectMismatch("SELECT id, email FROM customers", {id_, email_, name_});
  ExpectMismatch("SELECT id, email FROM customers", {});
}

TEST_F(BindMasksTest, ARelationThatTheStatementDoesNotReadIsAMismatch) {
  ExpectMismatch("SELECT id FROM customers", {{"id", 29999, 1, 23, 0}});
  ExpectMismatch("SELECT id FROM customers", {{"id", kOrders, 1, 23, 0}});
}

TEST_F(BindMasksTest, SystemCatalogsAreNot) {
  const auto masks = Bind("SELECT id FROM customers", {{"id", 1259, 1, 26, 0}});
  EXPECT_TRUE(masks.ok()) << masks.status();
}

TEST_F(BindMasksTest, TheStricterOfPlanAndServerCounts) {
  plan_ = shop_.Judge("SELECT email FROM customers");
  const std::map<sql::ColumnId, v1::MaskStrategy> origins{{testing::kEmail, v1::MASK_STRATEGY_NULL}};
  const auto masks = BindMasks(plan_->decisions[0], plan_->analysis->statements[0], {email_}, origins);
  ASSERT_TRUE(masks.ok());
  EXPECT_EQ((*masks)[0].strategy, v1::MASK_STRATEGY_NULL);
}

TEST_F(BindMasksTest, AnOutputThatDependsOnAMaskedColumnIsNeverClear) {
  sql::Statement statement;
  statement.kind = sql::StatementKind::kQuery;
  statement.outputs_known = true;
  statement.outputs.resize(1);
  statement.outputs[0].sources = {testing::kEmail};
  const std::map<sql::ColumnId, v1::MaskStrategy> origins{{testing::kEmail, v1::MASK_STRATEGY_HASH}};
  EXPECT_FALSE(BindMasks({}, statement, {{"x", 0, 0, 25, 0}}, origins).ok());
  EXPECT_TRUE(BindMasks({}, statement, {{"x", 0, 0, 25, 0}}, {}).ok());
}

TEST_F(BindMasksTest, UnknownOutputsOfAQueryAreAMismatch) {
  sql::Statement statement;
  statement.kind = sql::StatementKind::kQuery;
  const std::map<sql::ColumnId, v1::MaskStrategy> origins{{testing::kEmail, v1::MASK_STRATEGY_HASH}};
  EXPECT_FALSE(BindMasks({}, statement, {{"x", 0, 0, 25, 0}}, origins).ok());
}

TEST_F(BindMasksTest, CopyTakesTypesFromTheCatalog) {
  plan_ = shop_.Judge("COPY customers (id, email, born) TO STDOUT");
  ASSERT_EQ(plan_->verdict, policy::Verdict::kAllow) << plan_->DenyFields().detail;
  const auto origins = shop_.enforcer.MaskedOrigins(shop_.identity, *shop_.policy);
  const auto masks =
      BindCopyMasks(plan_->decisions[0], plan_->analysis->statements[0], 3, *shop_.enforcer.catalog(), *origins);
  ASSERT_TRUE(masks.ok()) << masks.status();
  ASSERT_EQ(masks->size(), 2U);
  EXPECT_EQ((*masks)[0].column, 1);
  EXPECT_EQ((*masks)[0].type, 25U);
  EXPECT_EQ((*masks)[1].type, 1082U);
  EXPECT_FALSE(
      BindCopyMasks(plan_->decisions[0], plan_->analysis->statements[0], 2, *shop_.enforcer.catalog(), *origins).ok());
}

TEST(WithFormats, FollowsBind) {
  const std::vector<RowField> fields(2);
  EXPECT_EQ(WithFormats(fields, {})[1].format, 0);
  EXPECT_EQ(WithFormats(fields, {1})[1].format, 1);
  EXPECT_EQ(WithFormats(fields, {0, 1})[0].format, 0);
  EXPECT_EQ(WithFormats(fields, {0, 1})[1].format, 1);
}

}  // namespace
}  // namespace postern::sidecar
