#include "sidecar/preview/rows_query.h"

#include "gtest/gtest.h"

namespace postern::preview {
namespace {

struct Case {
  const char* name;
  const char* statement;
  const char* count;  // nullptr: not counted
};

constexpr Case kCases[] = {
    {"Delete", "delete from app.orders where id = 7", "SELECT count(*) FROM app.orders WHERE id = 7"},
    {"Everything", "DELETE FROM app.orders;", "SELECT count(*) FROM app.orders"},
    {"Alias", "delete from only app.orders as o where o.id = $1",
     "SELECT count(*) FROM only app.orders as o WHERE o.id = $1"},
    {"Returning", "delete from t where a = 'x returning y' returning *",
     "SELECT count(*) FROM t WHERE a = 'x returning y'"},
    {"Update", "update t set a = 1, b = (select max(b) from u where u.id = 2) where c in (1, 2)",
     "SELECT count(*) FROM t WHERE c in (1, 2)"},
    {"AliasSet", "update t as set set a = 1 where b", "SELECT count(*) FROM t as set WHERE b"},
    {"DistinctFrom", "update t set a = b is distinct from c where d = 1", "SELECT count(*) FROM t WHERE d = 1"},
    {"QuotedWhere", "delete from \"where\" where \"returning\" = 1",
     "SELECT count(*) FROM \"where\" WHERE \"returning\" = 1"},
    {"UpdateFrom", "update t set a = 1 from u where u.id = t.id", nullptr},
    {"DeleteUsing", "delete from t using u where u.id = t.id", nullptr},
    {"With", "with x as (select 1) delete from t where id in (select * from x)", nullptr},
    {"CurrentOf", "delete from t where current of c", nullptr},
    {"Comment", "delete from t /* where */ where id = 1", nullptr},
    {"Insert", "insert into t values (1)", nullptr},
};

class RowsQueryTest : public testing::TestWithParam<Case> {};

TEST_P(RowsQueryTest, CountsTheRowsThatItWouldMeet) {
  const auto met = RowsMetBy(GetParam().statement);
  if (GetParam().count == nullptr) {
    EXPECT_FALSE(met.has_value());
  } else {
    ASSERT_TRUE(met.has_value());
    EXPECT_EQ(met->Count(), GetParam().count);
  }
}

INSTANTIATE_TEST_SUITE_P(Statements, RowsQueryTest, testing::ValuesIn(kCases),
                         [](const auto& param_info) { return param_info.param.name; });

}  // namespace
}  // namespace postern::preview
