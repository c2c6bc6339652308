#include <string>
#include <vector>

#include "common/base/errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sidecar/enforce/enforcer.h"
#include "tests/unit/sidecar/enforce/enforce_testing.h"

namespace postern::sidecar {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;
using testing::Shop;
using ::testing::StartsWith;

std::shared_ptr<const Prepared> Text(std::string text) {
  auto prepared = std::make_shared<Prepared>();
  prepared->text = std::move(text);
  return prepared;
}

std::shared_ptr<const Portal> PortalOf(std::shared_ptr<const Prepared> prepared) {
  auto portal = std::make_shared<Portal>();
  portal->prepared = std::move(prepared);
  return portal;
}

TEST(SessionState, SetStays) {
  Shop shop;
  const uint64_t before = shop.state.meaning_digest();
  shop.Query("SET search_path = evil, public");
  EXPECT_THAT(shop.state.search_path, ElementsAre("evil", "public"));
  EXPECT_NE(shop.state.meaning_digest(), before);
  shop.Query("RESET search_path");
  EXPECT_THAT(shop.state.search_path, ElementsAre("app", "public"));
  EXPECT_EQ(shop.state.meaning_digest(), before);
}

TEST(SessionState, SetIsUndoneByRollback) {
  Shop shop;
  shop.Query("BEGIN", 'T');
  shop.Query("SET search_path = evil", 'T');
  EXPECT_THAT(shop.state.search_path, ElementsAre("evil"));
  shop.Query("ROLLBACK");
  EXPECT_THAT(shop.state.search_path, ElementsAre("app", "public"));
}

TEST(SessionState, CommitOfAFailedTransactionIsARollback) {
  Shop shop;
  shop.Query("BEGIN", 'T');
  shop.Query("SET search_path = evil", 'T');
  shop.state.OnError();
  shop.state.OnReadyForQuery('E');
  shop.Query("COMMIT", 'I', "ROLLBACK");
  EXPECT_THAT(shop.state.search_path, ElementsAre("app", "public"));
}

TEST(SessionState, ResetsAndUnseenCodeLeaveTheTermsUncertain) {
  for (const char* text : {"RESET ALL", "DISCARD ALL", "RESET statement_timeout", "SET statement_timeout TO DEFAULT",
                           "RESET ROLE", "INSERT INTO audited VALUES (1)"}) {
    Shop shop;
    EXPECT_FALSE(shop.state.terms_uncertain());
    shop.Query(text);
    EXPECT_TRUE(shop.state.terms_uncertain()) << text;
    shop.state.ConfirmTerms();
    EXPECT_FALSE(shop.state.terms_uncertain());
  }
  for (const char* text : {"SET statement_timeout = 5", "RESET work_mem", "INSERT INTO orders VALUES (1, 2, 'x')"}) {
    Shop shop;
    shop.Query(text);
    EXPECT_FALSE(shop.state.terms_uncertain()) << text;
  }
}

TEST(SessionState, AnErrorUndoesTheWholeMessage) {
  Shop shop;
  shop.state.OnQueryStart();
  shop.Run("SET search_path = evil");
  shop.state.OnError();
  shop.state.OnReadyForQuery('I');
  EXPECT_THAT(shop.state.search_path, ElementsAre("app", "public"));
}

TEST(SessionState, ACommitWithinAMessageSurvivesALaterError) {
  Shop shop;
  shop.state.OnQueryStart();
  shop.Run("SET search_path = evil");
  shop.Run("COMMIT");
  shop.state.OnError();
  shop.state.OnReadyForQuery('I');
  EXPECT_THAT(shop.state.search_path, ElementsAre("evil"));
}

TEST(SessionState, SetLocalEndsWithItsTransaction) {
  Shop shop;
  shop.Query("SET search_path = public");
  shop.Query("BEGIN", 'T');
  shop.Query("SET LOCAL search_path = evil", 'T');
  EXPECT_THAT(shop.state.search_path, ElementsAre("evil"));
  shop.Query("COMMIT");
  EXPECT_THAT(shop.state.search_path, ElementsAre("public"));
}

TEST(SessionState, SetOverridesSetLocal) {
  Shop shop;
  shop.Query("BEGIN", 'T');
  shop.Query("SET LOCAL search_path = evil", 'T');
  shop.Query("SET search_path = public", 'T');
  EXPECT_THAT(shop.state.search_path, ElementsAre("public"));
  shop.Query("COMMIT");
  EXPECT_THAT(shop.state.search_path, ElementsAre("public"));
}

TEST(SessionState, SavepointsNest) {
  Shop shop;
  shop.Query("BEGIN", 'T');
  shop.Query("SAVEPOINT a", 'T');
  shop.Query("SET search_path = evil", 'T');
  shop.Query("SAVEPOINT b", 'T');
  shop.Query("SET search_path = public", 'T');
  shop.Query("ROLLBACK TO b", 'T');
  EXPECT_THAT(shop.state.search_path, ElementsAre("evil"));
  shop.Query("RELEASE b", 'T');
  shop.Query("ROLLBACK TO a", 'T');
  EXPECT_THAT(shop.state.search_path, ElementsAre("app", "public"));
  shop.Query("SET search_path = evil", 'T');
  shop.Query("COMMIT");
  EXPECT_THAT(shop.state.search_path, ElementsAre("evil"));
}

TEST(SessionState, TheLatestSavepointOfANameCounts) {
  Shop shop;
  shop.Query("BEGIN", 'T');
  shop.Query("SAVEPOINT a", 'T');
  shop.Query("SET search_path = evil", 'T');
  shop.Query("SAVEPOINT a", 'T');
  shop.Query("SET search_path = public", 'T');
  shop.Query("ROLLBACK TO a", 'T');
  EXPECT_THAT(shop.state.search_path, ElementsAre("evil"));
  shop.Query("RELEASE a", 'T');
  shop.Query("ROLLBACK TO a", 'T');
  EXPECT_THAT(shop.state.search_path, ElementsAre("app", "public"));
}

TEST(SessionState, SetConfigInAQueryMakesThePathUncertain) {
  Shop shop;
  shop.Query("SELECT set_config('search_path', 'evil', false)");
  EXPECT_TRUE(shop.state.search_path_uncertain());
  shop.state.ConfirmSearchPath("\"$user\", public");
  EXPECT_FALSE(shop.state.search_path_uncertain());
  EXPECT_THAT(shop.state.search_path, ElementsAre("$user", "public"));
}

TEST(SessionState, AConfirmationWithinATransactionDoesNotOutliveIt) {
  Shop shop;
  shop.Query("BEGIN", 'T');
  shop.Query("INSERT INTO audited VALUES (1)", 'T');
  EXPECT_TRUE(shop.state.search_path_uncertain());
  shop.state.ConfirmSearchPath("evil");
  EXPECT_FALSE(shop.state.search_path_uncertain());
  shop.Query("COMMIT");
  EXPECT_TRUE(shop.state.search_path_uncertain());
}

TEST(SessionState, ARollbackBringsCertaintyBack) {
  Shop shop;
  shop.Query("BEGIN", 'T');
  shop.Query("INSERT INTO audited VALUES (1)", 'T');
  shop.Query("ROLLBACK");
  EXPECT_FALSE(shop.state.search_path_uncertain());
  EXPECT_THAT(shop.state.search_path, ElementsAre("app", "public"));
}

TEST(SessionState, AReportedSearchPathCounts) {
  Shop shop;
  shop.Query("INSERT INTO audited VALUES (1)");
  shop.state.OnParameterStatus("search_path", "evil");
  EXPECT_FALSE(shop.state.search_path_uncertain());
  EXPECT_THAT(shop.state.search_path, ElementsAre("evil"));
}

TEST(SessionState, RoleFollowsSetRole) {
  Shop shop;
  shop.Query("SET ROLE other");
  EXPECT_EQ(shop.state.role, "other");
  shop.Query("RESET ALL");
  EXPECT_EQ(shop.state.role, "other");
  shop.Query("SET ROLE NONE");
  EXPECT_EQ(shop.state.role, "app_bot");
}

TEST(SessionState, DiscardAllForgetsEverything) {
  Shop shop;
  shop.Query("SET search_path = evil");
  shop.Query("SET ROLE other");
  shop.Query("PREPARE p AS SELECT 1");
  shop.Query("DISCARD ALL");
  EXPECT_THAT(shop.state.search_path, ElementsAre("app", "public"));
  EXPECT_EQ(shop.state.role, "app_bot");
  EXPECT_EQ(shop.state.prepared("p"), nullptr);
}

TEST(SessionState, OneNamespaceOfStatements) {
  Shop shop;
  shop.Query("PREPARE p AS SELECT id FROM orders");
  ASSERT_NE(shop.state.prepared("p"), nullptr);
  EXPECT_TRUE(shop.state.prepared("p")->by_sql);
  EXPECT_THAT(shop.state.prepared("p")->text, StartsWith("PREPARE p AS"));
  ASSERT_NE(shop.state.FindPrepared("p"), nullptr);
  shop.state.OnParseComplete("S", Text("SELECT 1"));
  EXPECT_EQ(shop.state.prepared("s"), nullptr);  // protocol names are not folded
  shop.Query("DEALLOCATE \"S\"");
  EXPECT_EQ(shop.state.prepared("S"), nullptr);
  shop.state.OnCloseComplete('S', "p");
  EXPECT_EQ(shop.state.prepared("p"), nullptr);
  shop.state.OnCloseComplete('S', "never was");
}

TEST(SessionState, PrepareIsNotUndoneByRollback) {
  Shop shop;
  shop.Query("BEGIN", 'T');
  shop.Query("PREPARE p AS SELECT 1", 'T');
  shop.Query("ROLLBACK");
  EXPECT_NE(shop.state.prepared("p"), nullptr);
  shop.Query("DEALLOCATE ALL");
  EXPECT_EQ(shop.state.prepared("p"), nullptr);
}

TEST(SessionState, PreparedTextIsItsStatementOnly) {
  Shop shop;
  shop.Query("SELECT 1; PREPARE p AS DELETE FROM orders WHERE id = 1; SELECT 2");
  EXPECT_EQ(shop.state.prepared("p")->text, "PREPARE p AS DELETE FROM orders WHERE id = 1");
}

TEST(SessionState, UnnamedOnesDieAtAQuery) {
  Shop shop;
  shop.state.OnParseComplete("", Text("SELECT 1"));
  shop.state.OnBindComplete("", PortalOf(shop.state.prepared("")));
  shop.state.OnQueryStart();
  EXPECT_EQ(shop.state.prepared(""), nullptr);
  EXPECT_EQ(shop.state.portal(""), nullptr);
}

TEST(SessionState, PortalsLiveToTheEndOfTheirTransaction) {
  Shop shop;
  shop.state.OnReadyForQuery('T');
  shop.state.OnBindComplete("c", PortalOf(Text("SELECT 1")));
  shop.state.OnReadyForQuery('T');
  EXPECT_NE(shop.state.portal("c"), nullptr);
  shop.state.OnReadyForQuery('I');
  EXPECT_EQ(shop.state.portal("c"), nullptr);
}

TEST(SessionState, OnlyCommittedHoldCursorsOutliveTheirTransaction) {
  Shop shop;
  shop.Query("BEGIN", 'T');
  shop.Query("DECLARE h CURSOR WITH HOLD FOR SELECT 1", 'T');
  shop.Query("DECLARE c CURSOR FOR SELECT 1", 'T');
  shop.Query("COMMIT");
  EXPECT_NE(shop.state.FindCursor("h"), nullptr);
  EXPECT_EQ(shop.state.FindCursor("c"), nullptr);
  shop.Query("BEGIN", 'T');
  shop.Query("DECLARE r CURSOR WITH HOLD FOR SELECT 1", 'T');
  shop.Query("ROLLBACK");
  EXPECT_EQ(shop.state.FindCursor("r"), nullptr);
  EXPECT_NE(shop.state.FindCursor("h"), nullptr);
  shop.Query("CLOSE ALL");
  EXPECT_EQ(shop.state.FindCursor("h"), nullptr);
}

TEST(SessionState, RollbackToClosesLaterCursorsOnly) {
  Shop shop;
  shop.Query("BEGIN", 'T');
  shop.Query("DECLARE a CURSOR FOR SELECT 1", 'T');
  shop.Query("SAVEPOINT s", 'T');
  shop.Query("DECLARE b CURSOR FOR SELECT 1", 'T');
  shop.Query("ROLLBACK TO s", 'T');
  EXPECT_NE(shop.state.FindCursor("a"), nullptr);
  EXPECT_EQ(shop.state.FindCursor("b"), nullptr);
}

TEST(SessionState, CloseEndsACursor) {
  Shop shop;
  shop.Query("BEGIN", 'T');
  shop.Query("DECLARE a CURSOR FOR SELECT 1", 'T');
  shop.Query("CLOSE a", 'T');
  EXPECT_EQ(shop.state.FindCursor("a"), nullptr);
}

TEST(SessionState, ARolledBackChangeOfTheCatalogIsNone) {
  Shop shop;
  shop.Query("BEGIN", 'T');
  shop.Query("ALTER TABLE orders ADD x int", 'T');
  EXPECT_TRUE(shop.state.catalog_changed_in_transaction());
  shop.Query("ROLLBACK");
  EXPECT_FALSE(shop.state.catalog_changed_in_transaction());
  EXPECT_FALSE(shop.state.TakeCatalogChange());
  shop.Query("ALTER TABLE orders ADD x int");
  EXPECT_TRUE(shop.state.TakeCatalogChange());
}

TEST(SessionState, DescribedFieldsAreKept) {
  Shop shop;
  shop.state.OnParseComplete("s", Text("SELECT 1"));
  shop.state.OnDescribed('S', "s", {{"a", 1, 2, 23, 0}});
  EXPECT_EQ(shop.state.prepared("s")->fields->at(0).name, "a");
  shop.state.OnBindComplete("p", PortalOf(shop.state.prepared("s")));
  shop.state.OnDescribed('P', "p", {{"a", 1, 2, 23, 1}});
  EXPECT_EQ(shop.state.portal("p")->fields->at(0).format, 1);
  shop.state.OnDescribed('P', "never was", {});
}

TEST(SessionState, MeaningfulSettingsLeaveTheHarmlessOut) {
  Shop shop;
  shop.state.OnParameterStatus("DateStyle", "ISO, MDY");
  shop.state.OnParameterStatus("application_name", "psql");
  shop.Query("SET application_name = 'x'");
  shop.Query("SET bytea_output = 'escape'");
  EXPECT_THAT(shop.state.MeaningfulSettings(),
              ElementsAre("bytea_output=escape", "datestyle=ISO, MDY", "role=app_bot", "search_path=app, public"));
  shop.Query("SET search_path = evil");
  EXPECT_THAT(shop.state.MeaningfulSettings(), Contains("search_path=evil"));
}

TEST(SessionState, UnreadableReportsEndTheSession) {
  SessionState state;
  state.OnParameterStatus("standard_conforming_strings", "on");
  state.OnParameterStatus("client_encoding", "UTF8");
  EXPECT_TRUE(state.CheckReportedSettings().ok());
  state.OnParameterStatus("standard_conforming_strings", "off");
  EXPECT_EQ(ReasonOf(state.CheckReportedSettings()), "STRINGS_NOT_CONFORMING");
  state.OnParameterStatus("standard_conforming_strings", "on");
  state.OnParameterStatus("client_encoding", "SJIS");
  EXPECT_EQ(ReasonOf(state.CheckReportedSettings()), "ENCODING_NOT_UTF8");
}

}  // namespace
}  // namespace postern::sidecar
