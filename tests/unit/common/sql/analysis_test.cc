// What golden files cannot say: limits, errors, sessions, and that no node of the grammar is forgotten.
#include "common/sql/analysis.h"

#include <functional>
#include <thread>

#include <pthread.h>

#include "common/base/errors.h"
#include "common/sql/builtin_functions.h"
#include "common/sql/node_table.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/common/sql/catalog_text.h"

namespace postern::sql {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::string_view kCatalog = R"(
table 1 app.t (id, secret, note)
view 2 app.v (id, shown) as SELECT t.id, t.secret AS shown FROM app.t t
table 3 bob.t (id, own)
table 4 bob.mine (id, own)
table 5 alice.mine (id, note)
)";

class AnalysisTest : public testing::Test {
 protected:
  absl::StatusOr<Analysis> Run(std::string_view text) { return Analyze(text, *catalog_, session_, options_); }

  Statement One(std::string_view text) {
    absl::StatusOr<Analysis> analysis = Run(text);
    EXPECT_TRUE(analysis.ok()) << analysis.status().ToString();
    if (!analysis.ok() || analysis->statements.size() != 1) return {};
    return analysis->statements[0];
  }

  std::shared_ptr<const Catalog> catalog_ = CatalogFromText(kCatalog);
  SessionView session_;
  AnalysisOptions options_;
};

// Of other parts of the server: what a raw tree never holds is refused where it is met.
TEST(NodeTable, OtherTagsHaveNoRow) {
  EXPECT_EQ(internal::RoleOf(T_Invalid), internal::NodeRole::kUnlisted);
  EXPECT_EQ(internal::RoleOf(T_IdentifySystemCmd), internal::NodeRole::kUnlisted);
  EXPECT_EQ(internal::RoleOf(static_cast<::NodeTag>(-1)), internal::NodeRole::kUnlisted);
  EXPECT_EQ(internal::RoleOf(static_cast<::NodeTag>(100000)), internal::NodeRole::kUnlisted);
}

TEST(Operations, NamesGoBothWays) {
  for (int i = 0; i < static_cast<int>(Operation::kCount); ++i) {
    const auto operation = static_cast<Operation>(i);
    EXPECT_EQ(OperationFromName(OperationName(operation)), operation);
  }
  EXPECT_EQ(OperationFromName("selects"), std::nullopt);
  EXPECT_FALSE(IsNamedPermission(Operation::kDiscard));
  EXPECT_TRUE(IsNamedPermission(Operation::kSetRole));
}

TEST(Builtins, WhatReachesOutIsNeverHarmless) {
  for (const char* name : {"query_to_xml",
                           "table_to_xml",
                           "cursor_to_xml",
                           "database_to_xmlschema",
                           "ts_stat",
                           "lo_import",
                           "lo_get",
                           "pg_read_file",
                           "pg_ls_dir",
                           "pg_terminate_backend",
                           "pg_logical_slot_get_changes",
                           "pg_reload_conf",
                           "pg_advisory_lock",
                           "pg_switch_wal",
                           "set_config",
                           "nextval",
                           "setval",
                           "pg_notify",
                           "pg_sleep",
                           "pg_stat_get_activity",
                           "pg_export_snapshot",
                           "pg_import_system_collations",
                           "pg_stat_reset",
                           "currtid2",
                           "pg_promote",
                           "pg_replication_origin_create",
                           "pg_get_backend_memory_contexts",
                           "no_such_function"}) {
    EXPECT_NE(internal::ClassifyBuiltin(name), internal::BuiltinClass::kHarmless) << name;
  }
  for (const char* name : {"lower", "count", "generate_series", "now", "format_type", "row_number", "jsonb_agg"}) {
    EXPECT_EQ(internal::ClassifyBuiltin(name), internal::BuiltinClass::kHarmless) << name;
  }
}

TEST_F(AnalysisTest, SyntaxErrorsCarryThePosition) {
  const absl::StatusOr<Analysis> analysis = Run("SELECT FROM WHERE");
  EXPECT_EQ(ReasonOf(analysis.status()), "SYNTAX_ERROR");
  EXPECT_EQ(DetailsOf(analysis.status()).metadata["position"], "13");
}

TEST_F(AnalysisTest, NulAndBrokenUtf8AreRefused) {
  for (std::string_view text : {std::string_view("SELECT 1\0; DROP TABLE app.t", 27), std::string_view("SELECT '\xff'"),
                                std::string_view("SELECT '\xc0\xaf'"), std::string_view("SELECT '\xed\xa0\x80'"),
                                std::string_view("SELECT '\xf4\x90\x80\x80'"), std::string_view("SELECT '\xe2\x82")}) {
    EXPECT_EQ(ReasonOf(Run(text).status()), "SYNTAX_ERROR");
  }
  EXPECT_TRUE(Run("SELECT 'öß€😀'").ok());
}

TEST_F(AnalysisTest, TextBeyondTheLimitIsRefused) {
  options_.limits.max_text_bytes = 20;
  EXPECT_EQ(ReasonOf(Run("SELECT 1, 2, 3, 4, 5, 6").status()), "STATEMENT_TOO_COMPLEX");
  EXPECT_TRUE(Run("SELECT 1").ok());
}

TEST_F(AnalysisTest, TooManyStatementsAreRefused) {
  options_.limits.max_statements = 2;
  EXPECT_EQ(ReasonOf(Run("SELECT 1; SELECT 2; SELECT 3").status()), "STATEMENT_TOO_COMPLEX");
  EXPECT_TRUE(Run("SELECT 1; SELECT 2").ok());
}

// Runs `work` on a thread with this much stack.
void OnStack(size_t bytes, const std::function<void()>& work) {
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, bytes), 0);
  pthread_t thread;
  const auto run = [](void* argument) -> void* {
    (*static_cast<const std::function<void()>*>(argument))();
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, run, const_cast<std::function<void()>*>(&work)), 0);
  ASSERT_EQ(pthread_join(thread, nullptr), 0);
  pthread_attr_destroy(&attributes);
}

std::string Repeated(std::string_view head, std::string_view part, int count, std::string_view tail = {}) {
  std::string text(head);
  for (int i = 0; i < count; ++i) text += part;
  return text.append(tail);
}

// Nesting is bounded, so that no message can use up the stack.
TEST_F(AnalysisTest, DeepNestingIsRefusedCleanly) {
  const std::vector<std::string> texts = {
      Repeated("SELECT 1", "+1", 5000),
      Repeated("SELECT 1", " UNION ALL SELECT 1", 5000),
      Repeated("SELECT ", "~ ", 3000, "1"),
      Repeated("SELECT * FROM app.t a", " CROSS JOIN app.t", 2000),
      Repeated("SELECT ", "(SELECT ", 500, "1") + Repeated("", ")", 500),
      Repeated("SELECT ", "CASE WHEN true THEN ", 500, "1") + Repeated("", " END", 500),
      Repeated("SELECT * FROM ", "(SELECT * FROM ", 500, "app.t") + Repeated("", ") x", 500),
      Repeated("", "WITH x AS (", 500, "SELECT 1") + Repeated("", ") SELECT 1", 500)};
  for (const std::string& text : texts) {
    OnStack(2 << 20, [&] {
      const absl::StatusOr<Analysis> analysis = Run(text);
      ASSERT_TRUE(analysis.ok()) << analysis.status().ToString();
      ASSERT_EQ(analysis->statements.size(), 1u);
      EXPECT_THAT(analysis->statements[0].unanalysable.value_or("nothing"), HasSubstr("too deeply"))
          << text.substr(0, 60);
    });
  }
}

// A value that is doubled again and again: the text is short, and what it depends on is few columns.
TEST_F(AnalysisTest, DoubledValuesTakeNoMemory) {
  std::string text = "WITH x0 AS (SELECT secret AS v FROM app.t)";
  for (int i = 1; i <= 200; ++i) text += fmt::format(", x{} AS (SELECT v || v AS v FROM x{})", i, i - 1);
  const Statement statement = One(text + " SELECT v FROM x200");
  ASSERT_EQ(statement.outputs.size(), 1u);
  EXPECT_THAT(statement.outputs[0].sources, ElementsAre(ColumnId{1, 2}));
}

// Each recursion is run to its fixpoint, those inside it each time.
TEST_F(AnalysisTest, NestedRecursionIsRefusedInTime) {
  std::string text = "SELECT id, note FROM app.t";
  for (int i = 0; i < 60; ++i) {
    text = fmt::format(
        "WITH RECURSIVE r{0}(a, b) AS (SELECT id, note FROM app.t UNION ALL SELECT b, a FROM r{0} WHERE EXISTS ({1})) "
        "SELECT a, b FROM r{0}",
        i, text);
  }
  EXPECT_THAT(One(text).unanalysable.value_or("nothing"), HasSubstr("too much work"));
}

TEST_F(AnalysisTest, WorkIsLimited) {
  options_.limits.max_steps = 50;
  EXPECT_EQ(One("SELECT id FROM app.t WHERE id = 1").unanalysable, std::nullopt);
  EXPECT_THAT(One("SELECT id + 1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9 + 10 + 11 + 12 + 13 + 14 + 15 + 16 + 17 + 18 + 19 + "
                  "20 + 21 + 22 + 23 + 24 + 25 + 26 FROM app.t")
                  .unanalysable.value_or("nothing"),
              HasSubstr("too much work"));
}

TEST_F(AnalysisTest, LongFlatStatementsAreFine) {
  std::string text = "SELECT id FROM app.t WHERE id IN (0";
  for (int i = 1; i < 20000; ++i) text += "," + std::to_string(i);
  EXPECT_EQ(One(text + ")").unanalysable, std::nullopt);
  text = "SELECT id FROM app.t WHERE id = 0";
  for (int i = 1; i < 5000; ++i) text += " OR id = " + std::to_string(i);
  EXPECT_EQ(One(text).unanalysable, std::nullopt);
}

// Postgres ends a comment at a carriage return, too.
TEST_F(AnalysisTest, WhatFollowsACarriageReturnIsNoComment) {
  const Statement statement = One("SELECT id -- x\r, secret\r FROM app.t");
  ASSERT_EQ(statement.outputs.size(), 2u);
  EXPECT_EQ(statement.outputs[1].bare, (ColumnId{1, 2}));
}

TEST_F(AnalysisTest, StatementsKnowTheirPlaceInTheText) {
  const absl::StatusOr<Analysis> analysis = Run("  SELECT 1 ;\n DELETE FROM app.t ; ");
  ASSERT_TRUE(analysis.ok());
  ASSERT_EQ(analysis->statements.size(), 2u);
  EXPECT_EQ(analysis->statements[0].begin, 2);
  EXPECT_EQ(analysis->statements[0].length, 8);
  EXPECT_EQ(analysis->statements[1].begin, 14);
  EXPECT_EQ(analysis->statements[1].length, 17);
}

TEST_F(AnalysisTest, FingerprintsIgnoreLiteralsAndNothingElse) {
  const auto print = [this](std::string_view text) { return Run(text)->fingerprint; };
  const uint64_t one = print("SELECT id FROM app.t WHERE id = 1");
  EXPECT_EQ(one, print("select  id from APP.t where id = $1 -- x"));
  EXPECT_EQ(one, print("SELECT id FROM app.t WHERE id = 'it''s'"));
  EXPECT_EQ(one, print("SELECT id FROM app.t WHERE id = $q$a;b$q$"));
  EXPECT_NE(one, print("SELECT id FROM app.t WHERE id > 1"));
  EXPECT_NE(one, print("SELECT note FROM app.t WHERE id = 1"));
  EXPECT_EQ(print("SELECT id FROM app.t WHERE id IN (1)"), print("SELECT id FROM app.t WHERE id IN (1, 2, 3)"));
  EXPECT_NE(print("SELECT \"id\" FROM app.t"), print("SELECT id FROM app.t"));
}

TEST_F(AnalysisTest, UserInThePathIsTheRole) {
  session_.search_path = {"$user", "app"};
  session_.role = "bob";
  EXPECT_THAT(One("SELECT own FROM mine").relations, ElementsAre(4u));
  session_.role = "alice";
  EXPECT_THAT(One("SELECT note FROM mine").relations, ElementsAre(5u));
}

class Known : public SessionView {
 public:
  const Statement* FindPrepared(std::string_view name) const override { return name == "p" ? &statement : nullptr; }
  const Statement* FindCursor(std::string_view name) const override { return name == "c" ? &statement : nullptr; }
  Statement statement;
};

TEST_F(AnalysisTest, ExecuteDoesWhatThePreparedStatementDoes) {
  Known session;
  session.statement = One("PREPARE p AS SELECT secret FROM app.t WHERE id = $1");
  const absl::StatusOr<Analysis> analysis = Analyze("EXECUTE p (1)", *catalog_, session);
  ASSERT_TRUE(analysis.ok());
  const Statement& execute = analysis->statements[0];
  EXPECT_EQ(execute.unanalysable, std::nullopt);
  EXPECT_EQ(execute.kind, StatementKind::kExecute);
  ASSERT_EQ(execute.effects.size(), 1u);
  EXPECT_EQ(execute.effects[0].ToString(), "select app.t (id, secret)");
  ASSERT_EQ(execute.outputs.size(), 1u);
  EXPECT_EQ(execute.outputs[0].bare, (ColumnId{1, 2}));
  EXPECT_THAT(execute.equality_only_predicates, ElementsAre(ColumnId{1, 1}));
  EXPECT_THAT(execute.shape.where_equality, ElementsAre("id"));
}

TEST_F(AnalysisTest, ExecuteOfARefusedStatementIsRefused) {
  Known session;
  session.statement.unanalysable = "because";
  const absl::StatusOr<Analysis> analysis = Analyze("EXECUTE p; FETCH c", *catalog_, session);
  ASSERT_TRUE(analysis.ok());
  EXPECT_EQ(analysis->statements[0].unanalysable, "because");
  EXPECT_EQ(analysis->statements[1].unanalysable, "because");
}

TEST_F(AnalysisTest, FetchCarriesTheCursorsColumns) {
  Known session;
  session.statement = One("DECLARE c BINARY CURSOR FOR SELECT secret FROM app.t");
  EXPECT_TRUE(session.statement.cursor_binary);
  const absl::StatusOr<Analysis> analysis = Analyze("FETCH 10 FROM c", *catalog_, session);
  ASSERT_TRUE(analysis.ok());
  ASSERT_EQ(analysis->statements[0].outputs.size(), 1u);
  EXPECT_EQ(analysis->statements[0].outputs[0].bare, (ColumnId{1, 2}));
  EXPECT_TRUE(analysis->statements[0].cursor_binary);
}

TEST_F(AnalysisTest, RefusedStatementsCarryNothingElse) {
  const Statement statement = One("SELECT secret, nope FROM app.t");
  ASSERT_TRUE(statement.unanalysable.has_value());
  EXPECT_THAT(statement.effects, IsEmpty());
  EXPECT_THAT(statement.outputs, IsEmpty());
  EXPECT_FALSE(statement.outputs_known);
}

TEST_F(AnalysisTest, OneCatalogServesManyThreads) {
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 50; ++k) {
        const absl::StatusOr<Analysis> analysis = Analyze("SELECT shown FROM app.v", *catalog_, SessionView());
        if (analysis.ok() && analysis->statements[0].outputs[0].bare == ColumnId{1, 2}) ++good;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 200);
}

TEST(SearchPath, SplitsAsPostgresDoes) {
  EXPECT_THAT(SplitSearchPath("\"$user\", public"), ElementsAre("$user", "public"));
  EXPECT_THAT(SplitSearchPath(" App ,\"Odd \"\"Name\"\"\""), ElementsAre("app", "Odd \"Name\""));
  EXPECT_THAT(SplitSearchPath(""), IsEmpty());
  EXPECT_THAT(SplitSearchPath("a,,b"), IsEmpty());
  EXPECT_THAT(SplitSearchPath("\"a"), IsEmpty());
}

TEST(CatalogTest, DescendantsAreAllThatIsBelow) {
  const auto catalog = CatalogFromText("table 1 a.p (x)\nchild 2 a.c (x) of a.p\nchild 3 a.g (x) of a.c\n");
  std::vector<Oid> oids;
  for (const Relation* relation : catalog->Descendants(1)) oids.push_back(relation->oid);
  EXPECT_THAT(oids, testing::UnorderedElementsAre(2u, 3u));
  EXPECT_THAT(catalog->Descendants(3), IsEmpty());
}

TEST(CatalogTest, ResolvesPgCatalogFirstUnlessListed) {
  const auto catalog = CatalogFromText("table 1 pg_catalog.thing (x)\ntable 2 app.thing (x)\n");
  EXPECT_EQ(catalog->Resolve({"app"}, "thing")->oid, 1u);
  EXPECT_EQ(catalog->Resolve({"app", "pg_catalog"}, "thing")->oid, 2u);
  EXPECT_EQ(catalog->Resolve({"nowhere"}, "other"), nullptr);
}

}  // namespace
}  // namespace postern::sql
