#include "sidecar/enforce/enforcer.h"

#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/sidecar/enforce/enforce_testing.h"

namespace postern::sidecar {
namespace {

using policy::Verdict;
using testing::Compile;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::kShopPolicy;
using testing::Shop;
using ::testing::StartsWith;

TEST(Enforcer, WithoutACatalogNothingIsJudged) {
  Enforcer enforcer;
  const SessionState state;
  const auto plan = enforcer.Judge(testing::Bot(), state, *testing::Compile(testing::kShopPolicy), "SELECT 1");
  EXPECT_EQ(plan->verdict, Verdict::kDeny);
  EXPECT_EQ(plan->DenyFields().sqlstate, "57P03");
}

TEST(Enforcer, AllowedReadCarriesItsMasks) {
  Shop shop;
  const auto plan = shop.Judge("SELECT id, email FROM customers");
  EXPECT_EQ(plan->verdict, Verdict::kAllow);
  EXPECT_TRUE(plan->sensitive);
  EXPECT_FALSE(plan->strict_audit);
  EXPECT_FALSE(plan->barrier);
  EXPECT_THAT(plan->masks, ElementsAre("email: hash"));
  EXPECT_THAT(plan->effects, Contains(HasSubstr("select app.customers")));
  ASSERT_EQ(plan->decisions.size(), 1U);
  EXPECT_EQ(plan->decisions[0].masks[0].origin, testing::kEmail);
}

TEST(Enforcer, DeniedStatementSaysWhichAndWhy) {
  Shop shop;
  const auto plan = shop.Judge("TRUNCATE orders");
  EXPECT_EQ(plan->verdict, Verdict::kDeny);
  const Plan::Refusal fields = plan->DenyFields();
  EXPECT_EQ(fields.sqlstate, "42501");
  EXPECT_THAT(fields.message, StartsWith("postern: TRUNCATE"));
  EXPECT_THAT(fields.detail, HasSubstr("shop/never"));
}

TEST(Enforcer, TheWorstStatementOfAMessageDecides) {
  Shop shop;
  const auto held = shop.Judge("SELECT id FROM orders; DELETE FROM orders WHERE id = 1");
  EXPECT_EQ(held->verdict, Verdict::kHold);
  EXPECT_EQ(held->decisive, 1U);
  const auto denied = shop.Judge("DELETE FROM orders WHERE id = 1; TRUNCATE orders; SELECT 1");
  EXPECT_EQ(denied->verdict, Verdict::kDeny);
  EXPECT_EQ(denied->decisive, 1U);
  EXPECT_THAT(denied->DenyFields().message, HasSubstr("statement 2 of 3"));
}

TEST(Enforcer, EmptyMessageIsAllowed) {
  Shop shop;
  for (const char* text : {"", ";", "-- nothing"}) EXPECT_EQ(shop.Judge(text)->verdict, Verdict::kAllow) << text;
}

TEST(Enforcer, SyntaxErrorIsPostgresOwn) {
  Shop shop;
  const auto plan = shop.Judge("SELECT 1 FRO M");
  EXPECT_EQ(plan->verdict, Verdict::kDeny);
  const Plan::Refusal fields = plan->DenyFields();
  EXPECT_EQ(fields.sqlstate, "42601");
  EXPECT_THAT(fields.message, HasSubstr("syntax error at or near"));
  EXPECT_EQ(fields.position, 14);
}

TEST(Enforcer, TooComplexIsRefused) {
  Shop shop;
  const auto plan = shop.Judge("SELECT '" + std::string(2 << 20, 'x') + "'");
  EXPECT_EQ(plan->DenyFields().sqlstate, "54001");
  EXPECT_THAT(plan->DenyFields().message, StartsWith("postern: "));
}

TEST(Enforcer, UnanalysableSaysSo) {
  Shop shop;
  const auto plan = shop.Judge("SELECT * FROM no_such_table");
  EXPECT_EQ(plan->verdict, Verdict::kDeny);
  EXPECT_EQ(plan->DenyFields().sqlstate, "42501");
  EXPECT_THAT(plan->DenyFields().detail, StartsWith("unanalysable: "));
}

TEST(Enforcer, WritesAreStrict) {
  Shop shop;
  EXPECT_TRUE(shop.Judge("INSERT INTO orders VALUES (1, 2, 'new')")->strict_audit);
  EXPECT_FALSE(shop.Judge("SELECT status FROM orders")->strict_audit);
}

TEST(Enforcer, AMaskIsNotWrittenBack) {
  Shop shop;
  for (const char* text : {"UPDATE customers SET name = '[redacted]' WHERE id = 1",
                           "INSERT INTO customers (id, email) VALUES (1, '***@example.com')"}) {
    const auto plan = shop.Judge(text);
    EXPECT_EQ(plan->verdict, Verdict::kDeny) << text;
    EXPECT_EQ(plan->decisions[0].reason_code, policy::kReasonMaskSentinel);
  }
  EXPECT_EQ(shop.Judge("UPDATE customers SET name = 'Ann' WHERE id = 1")->verdict, Verdict::kAllow);
}

TEST(Enforcer, ABoundMaskIsNotWrittenBackEither) {
  Shop shop;
  const auto write = shop.Judge("UPDATE customers SET name = $1 WHERE id = $2");
  EXPECT_TRUE(WritesSentinel(*write, {"[redacted]", "1"}));
  EXPECT_FALSE(WritesSentinel(*write, {"Ann", std::nullopt}));
  EXPECT_FALSE(WritesSentinel(*shop.Judge("SELECT id FROM customers WHERE name = $1"), {"[redacted]"}));
  EXPECT_EQ(SentinelRefusal().sqlstate, "42501");
}

TEST(Enforcer, TextsOfOneShapeShareAPlan) {
  Shop shop;
  const auto plan = shop.Judge("SELECT id, email FROM customers WHERE id = 1 AND name = 'Ann'");
  EXPECT_EQ(plan->verdict, Verdict::kAllow);
  EXPECT_EQ(shop.Judge("SELECT id, email FROM customers WHERE id = 77 AND name = 'O''Hara'"), plan);
  // Another kind of literal, another list, a comment, an escape: other texts.
  for (const char* other : {"SELECT id, email FROM customers WHERE id = '1' AND name = 'Ann'",
                            "SELECT id, email FROM customers WHERE id = 1.5 AND name = 'Ann'",
                            "SELECT id, email FROM customers WHERE id = 1 AND name = E'Ann'",
                            "SELECT id, email FROM customers WHERE id = 1 AND name = 'Ann' -- '",
                            "SELECT id, email FROM evil.customers WHERE id = 1 AND name = 'Ann'"}) {
    EXPECT_NE(shop.Judge(other), plan) << other;
  }
}

TEST(Enforcer, LiteralsThatDecideArePartOfTheShape) {
  Shop shop;
  const auto few = shop.Judge("SELECT id, status FROM orders ORDER BY 1 LIMIT 5");
  EXPECT_EQ(shop.Judge("SELECT id, status FROM orders ORDER BY 1 LIMIT 5"), few);
  const auto more = shop.Judge("SELECT id, status FROM orders ORDER BY 1 LIMIT 50");
  EXPECT_NE(more, few);
  EXPECT_EQ(more->analysis->statements[0].shape.limit, 50);
  EXPECT_EQ(shop.Judge("SELECT id, status FROM orders ORDER BY 1 LIMIT 50"), more);
  EXPECT_EQ(shop.Judge("SELECT id, status FROM orders ORDER BY 1 LIMIT 5"), few);
  // Sorting by a masked column is refused, whatever was allowed for another ordinal.
  EXPECT_EQ(shop.Judge("SELECT id, email FROM customers ORDER BY 1")->verdict, Verdict::kAllow);
  EXPECT_EQ(shop.Judge("SELECT id, email FROM customers ORDER BY 2")->verdict, Verdict::kDeny);
  EXPECT_EQ(shop.Judge("SELECT id, email FROM customers ORDER BY 1")->verdict, Verdict::kAllow);
}

TEST(Enforcer, ASharedPlanDoesNotLetAMaskBeWrittenBack) {
  Shop shop;
  EXPECT_EQ(shop.Judge("UPDATE customers SET name = 'Ann' WHERE id = 1")->verdict, Verdict::kAllow);
  EXPECT_EQ(shop.Judge("UPDATE customers SET name = '[redacted]' WHERE id = 1")->verdict, Verdict::kDeny);
  EXPECT_EQ(shop.Judge("UPDATE customers SET email = 'ann@example.com' WHERE id = 1")->verdict, Verdict::kAllow);
  EXPECT_EQ(shop.Judge("UPDATE customers SET email = '***@example.com' WHERE id = 1")->verdict, Verdict::kDeny);
  EXPECT_EQ(shop.Judge("UPDATE customers SET email = 'h_0123456789abcdef01234567' WHERE id = 1")->verdict,
            Verdict::kDeny);
}

TEST(Enforcer, WhatIsHeldOrRefusedIsNotShared) {
  Shop shop;
  const auto held = shop.Judge("DELETE FROM orders WHERE id = 1");
  EXPECT_EQ(held->verdict, Verdict::kHold);
  const auto other = shop.Judge("DELETE FROM orders WHERE id = 2");
  EXPECT_NE(other, held);
  EXPECT_EQ(other->text, "DELETE FROM orders WHERE id = 2");
}

TEST(Enforcer, MaskedCopyIsUtf8Only) {
  Shop shop;
  EXPECT_EQ(shop.Judge("COPY customers (id, email) TO STDOUT")->verdict, Verdict::kAllow);
  EXPECT_EQ(shop.Judge("COPY customers (id, email) TO STDOUT (ENCODING 'SJIS')")->verdict, Verdict::kDeny);
  EXPECT_EQ(shop.Judge("COPY orders TO STDOUT (ENCODING 'UTF-8')")->verdict, Verdict::kAllow);
}

TEST(Enforcer, EqualQuestionsShareAPlan) {
  Shop shop;
  SessionState other;
  other.SetDefaults({"app", "public"}, "app_bot");
  const auto plan = shop.Judge("SELECT id FROM orders");
  EXPECT_EQ(shop.enforcer.Judge(testing::Bot(), other, *shop.policy, "SELECT id FROM orders"), plan);
}

TEST(Enforcer, WhatAPlanDependsOnMakesAnother) {
  Shop shop;
  const std::string text = "SELECT email FROM customers";
  const auto plan = shop.Judge(text);
  {
    SessionState other;
    other.SetDefaults({"evil", "public"}, "app_bot");
    EXPECT_EQ(shop.enforcer.Judge(shop.identity, other, *shop.policy, text)->verdict, Verdict::kDeny);
  }
  const auto revised = testing::Compile(testing::kShopPolicy, 2);
  EXPECT_EQ(shop.enforcer.Judge(shop.identity, shop.state, *revised, text)->policy_revision, 2);
  const auto stranger =
      SessionIdentity::Make({"stranger", "", {}}, {"shop-db", "shop", "prod"}, {{"all"}, {}}, "app_bot");
  EXPECT_EQ(shop.enforcer.Judge(stranger, shop.state, *shop.policy, text)->verdict, Verdict::kDeny);
  shop.enforcer.SetCatalog(sql::Catalog::Build(testing::ShopContents()));
  EXPECT_NE(shop.Judge(text)->catalog_generation, plan->catalog_generation);
}

TEST(SessionIdentity, EveryPartIsInTheDigest) {
  const auto digest = [](std::vector<std::string> groups, std::vector<std::string> verbs,
                         std::vector<std::string> objects) {
    return SessionIdentity::Make({"a", "b", std::move(groups)}, {"t", "d", "e"}, {std::move(verbs), std::move(objects)},
                                 "r")
        .digest;
  };
  EXPECT_EQ(digest({"x"}, {"y"}, {}), digest({"x"}, {"y"}, {}));
  EXPECT_NE(digest({"x"}, {"y"}, {}), digest({"x", "y"}, {}, {}));
  EXPECT_NE(digest({}, {"y"}, {}), digest({}, {}, {"y"}));
  EXPECT_NE(digest({"ab"}, {}, {}), digest({"a", "b"}, {}, {}));
}

TEST(Enforcer, SqlExecuteIsJudgedByWhatWasPrepared) {
  Shop shop;
  EXPECT_EQ(shop.Judge("EXECUTE p")->verdict, Verdict::kDeny);
  shop.Query("PREPARE p AS DELETE FROM orders WHERE id = $1");
  EXPECT_EQ(shop.Judge("EXECUTE p(2)")->verdict, Verdict::kHold);
  shop.Query("DEALLOCATE p");
  EXPECT_EQ(shop.Judge("EXECUTE p(2)")->verdict, Verdict::kDeny);
  shop.Query("PREPARE p AS SELECT email FROM customers");
  EXPECT_THAT(shop.Judge("EXECUTE p")->masks, ElementsAre("email: hash"));
}

TEST(Enforcer, PreparedTextIsResolvedUnderTheSearchPathOfNow) {
  Shop shop;
  shop.Query("PREPARE p AS SELECT email FROM customers");
  shop.Query("SET search_path = evil");
  EXPECT_EQ(shop.Judge("EXECUTE p")->verdict, Verdict::kDeny);  // evil.customers has no rule
}

TEST(Enforcer, ProtocolStatementIsRunBySqlExecute) {
  Shop shop;
  auto prepared = std::make_shared<Prepared>();
  prepared->text = "DELETE FROM orders WHERE id = 1";
  shop.state.OnParseComplete("s1", prepared);
  EXPECT_EQ(shop.Judge("EXECUTE s1")->verdict, Verdict::kHold);
}

TEST(Enforcer, AStatementThatExecutesItselfIsRefused) {
  Shop shop;
  auto prepared = std::make_shared<Prepared>();
  prepared->text = "EXECUTE s1";
  shop.state.OnParseComplete("s1", prepared);
  EXPECT_EQ(shop.Judge("EXECUTE s1")->verdict, Verdict::kDeny);
}

TEST(Enforcer, FetchIsMaskedAsItsCursor) {
  Shop shop;
  shop.Query("BEGIN", 'T');
  EXPECT_EQ(shop.Judge("FETCH ALL FROM c")->verdict, Verdict::kDeny);
  shop.Query("DECLARE c CURSOR FOR SELECT email FROM customers", 'T');
  EXPECT_THAT(shop.Judge("FETCH ALL FROM c")->masks, ElementsAre("email: hash"));
  shop.Query("COMMIT");
  EXPECT_EQ(shop.Judge("FETCH ALL FROM c")->verdict, Verdict::kDeny);
}

TEST(Enforcer, NamesAreNotResolvedInATransactionThatChangedTheCatalog) {
  Shop shop;
  shop.Query("BEGIN", 'T');
  shop.Query("ALTER TABLE customers RENAME email TO nick", 'T');
  const auto plan = shop.Judge("SELECT id FROM customers");
  EXPECT_EQ(plan->verdict, Verdict::kDeny);
  EXPECT_THAT(plan->DenyFields().detail, StartsWith("unanalysable: "));
  EXPECT_EQ(shop.Judge("COMMIT")->verdict, Verdict::kAllow);
  EXPECT_FALSE(shop.state.TakeCatalogChange());
  shop.Query("COMMIT");
  EXPECT_TRUE(shop.state.TakeCatalogChange());
  EXPECT_FALSE(shop.state.TakeCatalogChange());
  EXPECT_EQ(shop.Judge("SELECT id FROM customers")->verdict, Verdict::kAllow);
}

TEST(Enforcer, NothingIsJudgedWhileSearchPathIsUncertain) {
  Shop shop;
  shop.Query("INSERT INTO audited VALUES (1)");
  ASSERT_TRUE(shop.state.search_path_uncertain());
  EXPECT_EQ(shop.Judge("SELECT id FROM customers")->verdict, Verdict::kDeny);
  EXPECT_EQ(shop.Judge("ROLLBACK")->verdict, Verdict::kAllow);
  shop.state.ConfirmSearchPath("app, public");
  EXPECT_EQ(shop.Judge("SELECT id FROM customers")->verdict, Verdict::kAllow);
}

TEST(Enforcer, BarriersAreWhatLaterExecutionsDependOn) {
  Shop shop;
  for (const char* text :
       {"SET search_path = evil", "ALTER TABLE orders ADD x int", "PREPARE p AS SELECT 1", "DEALLOCATE ALL", "ROLLBACK",
        "COMMIT", "DISCARD ALL", "INSERT INTO audited VALUES (1)", "DECLARE c CURSOR FOR SELECT 1", "RESET ALL"}) {
    EXPECT_TRUE(shop.Judge(text)->barrier) << text;
  }
  for (const char* text : {"BEGIN", "SELECT 1", "SAVEPOINT a", "INSERT INTO orders VALUES (1)", "SHOW search_path"}) {
    EXPECT_FALSE(shop.Judge(text)->barrier) << text;
  }
}

TEST(Enforcer, MaskedOriginsAreThoseOfThePolicy) {
  Shop shop;
  const auto origins = shop.enforcer.MaskedOrigins(shop.identity, *shop.policy);
  EXPECT_EQ(origins->size(), 2U);
  EXPECT_EQ(origins->at(testing::kEmail), v1::MASK_STRATEGY_HASH);
  EXPECT_EQ(shop.enforcer.MaskedOrigins(shop.identity, *shop.policy), origins);
}

TEST(Enforcer, ServesManyThreads) {
  Shop shop;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&shop, t] {
      SessionState state;
      state.SetDefaults({"app"}, "app_bot");
      for (int i = 0; i < 200; ++i) {
        const std::string text = "SELECT id FROM orders WHERE id = " + std::to_string(i % 7);
        ASSERT_EQ(shop.enforcer.Judge(shop.identity, state, *shop.policy, text)->verdict, Verdict::kAllow);
        if (t == 0 && i % 50 == 0) shop.enforcer.SetCatalog(sql::Catalog::Build(testing::ShopContents()));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

std::string PlaceholderPolicy() {
  std::string policy(kShopPolicy);
  const std::string masks = "app.customers.born: year}";
  policy.replace(policy.find(masks), masks.size(), masks + ", in_expression: placeholder");
  return policy;
}

TEST(Placeholders, ANewLiteralInAKnownShapeStandsInTheChangedText) {
  Shop shop;
  shop.policy = Compile(PlaceholderPolicy());
  const std::string first = "SELECT 'a', name FROM customers WHERE email LIKE 'x%' AND id = 7";
  const auto plan = shop.Judge(first);
  ASSERT_EQ(plan->verdict, policy::Verdict::kAllow) << plan->DenyFields().detail << plan->DenyFields().hint;
  ASSERT_NE(plan->changed, nullptr);
  EXPECT_EQ(
      plan->changed->forwarded,
      "SELECT 'a', name FROM (SELECT \"id\", \"name\", NULL::pg_catalog.text AS \"email\", NULL::pg_catalog.date AS "
      "\"born\" FROM \"app\".\"customers\") AS \"customers\" WHERE email LIKE 'x%' AND id = 7");
  EXPECT_EQ(ChangeFor(*plan, first), plan->changed);
  EXPECT_EQ(plan->changed->columns, std::vector<std::string>{"app.customers.email: placeholder"});
  EXPECT_EQ(plan->unchanged->verdict, policy::Verdict::kDeny);

  const std::string second = "SELECT 'a longer one', name FROM customers WHERE email LIKE '' AND id = 1234567";
  const auto again = shop.Judge(second);
  EXPECT_EQ(again, plan);
  const auto changed = ChangeFor(*again, second);
  ASSERT_NE(changed, nullptr);
  EXPECT_EQ(
      changed->forwarded,
      "SELECT 'a longer one', name FROM (SELECT \"id\", \"name\", NULL::pg_catalog.text AS \"email\", "
      "NULL::pg_catalog.date AS \"born\" FROM \"app\".\"customers\") AS \"customers\" WHERE email LIKE '' AND id = "
      "1234567");
  EXPECT_EQ(sql::ApplyEdits(second, changed->edits), changed->forwarded);
  // Another shape fits no more.
  EXPECT_EQ(ChangeFor(*plan, "SELECT 'a', name FROM customers WHERE email LIKE 'x%' AND id = 7.5"), nullptr);
}

TEST(Placeholders, ALiteralThatDecidesWhetherTheyAreNeededIsPartOfTheShape) {
  Shop shop;
  shop.policy = Compile(PlaceholderPolicy());
  const auto by_email = shop.Judge("SELECT id, email FROM customers ORDER BY 2");
  const auto by_id = shop.Judge("SELECT id, email FROM customers ORDER BY 1");
  EXPECT_NE(by_email->changed, nullptr);
  EXPECT_EQ(by_id->changed, nullptr);
  ASSERT_EQ(by_id->decisions[0].masks.size(), 1u);
  EXPECT_EQ(shop.Judge("SELECT id, email FROM customers ORDER BY 2"), by_email);
  EXPECT_EQ(shop.Judge("SELECT id, email FROM customers ORDER BY 1"), by_id);
}

TEST(Placeholders, WhatStaysRefusedSaysWhy) {
  Shop shop;
  std::string policy = PlaceholderPolicy();
  const std::string verbs = "[select, copy_out]";
  shop.policy = Compile(policy.replace(policy.find(verbs), verbs.size(), "[select, copy_out, lock]"));
  const auto hint = [&](std::string_view text) {
    const auto plan = shop.Judge(text);
    EXPECT_EQ(plan->verdict, policy::Verdict::kDeny) << text;
    return plan->DenyFields().hint;
  };
  EXPECT_THAT(hint("UPDATE orders SET status = 'x' FROM customers c WHERE c.email = 'y'"),
              HasSubstr("update on app.orders"));
  EXPECT_THAT(hint("SELECT id FROM customers WHERE email = 'x' FOR UPDATE"),
              HasSubstr("placeholders stand in statements that only read"));
  EXPECT_THAT(hint("SELECT xmin, upper(email) FROM customers"), HasSubstr("column xmin does not exist"));
  // The mask's own refusal comes first.
  EXPECT_THAT(shop.Judge("SELECT xmin, upper(email) FROM customers")->DenyFields().detail,
              HasSubstr("app.customers.email is masked (hash)"));
}

TEST(Placeholders, OneMaskThatRefusesIsEnough) {
  Shop shop;
  shop.policy = Compile(PlaceholderPolicy() + R"(
---
apiVersion: postern/v1
kind: Policy
metadata: {name: stricter}
subjects: [{agent: bot}]
rules:
  - {id: mask, effect: allow, do: [show], columns: {mask: {app.customers.email: redact}}}
)");
  EXPECT_EQ(shop.Judge("SELECT upper(email) FROM customers")->verdict, policy::Verdict::kDeny);
  EXPECT_NE(shop.Judge("SELECT born + 1 FROM customers")->changed, nullptr);
  // Of which the other one comes out under its mask.
  const auto both = shop.Judge("SELECT born + 1, email FROM customers");
  ASSERT_NE(both->changed, nullptr);
  ASSERT_EQ(both->decisions[0].masks.size(), 1u);
  EXPECT_EQ(both->decisions[0].masks[0].strategy, v1::MASK_STRATEGY_REDACT);
}

}  // namespace
}  // namespace postern::sidecar
