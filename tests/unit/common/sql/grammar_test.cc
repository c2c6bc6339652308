// Nothing of the grammar is forgotten: every node type has a row in the node table, and every command a golden case.
// Both lists come from the server's own headers (grammar.cmake), so that a newer grammar fails here first.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>

#include "common/sql/node_table.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace postern::sql {
namespace {

using internal::NodeRole;

struct GrammarNode {
  std::string_view name;
  ::NodeTag tag;
};
constexpr GrammarNode kGrammarNodes[] = {
#define GRAMMAR_NODE(name) {#name, T_##name},
#define GRAMMAR_COMMAND(tag)
#include "grammar.inc"
#undef GRAMMAR_NODE
#undef GRAMMAR_COMMAND
};

constexpr std::string_view kCommands[] = {
#define GRAMMAR_NODE(name)
#define GRAMMAR_COMMAND(tag) tag,
#include "grammar.inc"
#undef GRAMMAR_NODE
#undef GRAMMAR_COMMAND
};

// Command tags that no statement of SQL has: why.
const std::map<std::string_view, std::string_view> kNoStatement = {
    {"???", "stands for no command"},
    {"ALTER ACCESS METHOD", "there is no such statement"},
    {"ALTER CAST", "there is no such statement"},
    {"ALTER CONSTRAINT", "ALTER TABLE does it"},
    {"ALTER TRANSFORM", "there is no such statement"},
    {"CLOSE", "nobody has used it since CLOSE CURSOR"},
    {"COPY FROM", "of event triggers alone"},
    {"CREATE CONSTRAINT", "CREATE TRIGGER does it"},
    {"CREATE ROUTINE", "there is no such statement"},
    {"DISCARD", "there is always something that is discarded"},
    {"DROP CONSTRAINT", "ALTER TABLE does it"},
    {"SELECT FOR KEY SHARE", "its completion says SELECT"},
    {"SELECT FOR NO KEY UPDATE", "its completion says SELECT"},
    {"SELECT FOR SHARE", "its completion says SELECT"},
    {"SELECT FOR UPDATE", "its completion says SELECT"},
};

TEST(Grammar, TheHeadersWereRead) {
  EXPECT_GT(std::size(kGrammarNodes), 230U);
  EXPECT_GT(std::size(kCommands), 190U);
  const auto has = [](std::string_view name) {
    return std::any_of(std::begin(kGrammarNodes), std::end(kGrammarNodes),
                       [&](const GrammarNode& node) { return node.name == name; });
  };
  for (const char* name : {"SelectStmt", "PartitionBoundSpec", "MergeWhenClause", "String", "List", "XmlExpr", "Query"})
    EXPECT_TRUE(has(name)) << name;
  // Nodes of the planner and the executor are none of the grammar's.
  for (const char* name : {"SeqScan", "Path", "EState"}) EXPECT_FALSE(has(name)) << name;
}

TEST(Grammar, EveryNodeTypeHasARow) {
  for (const GrammarNode& node : kGrammarNodes) {
    EXPECT_NE(internal::RoleOf(node.tag), NodeRole::kUnlisted)
        << node.name << " has no row in common/sql/node_table.cc: say what analysis does with it";
  }
}

TEST(Grammar, EveryRowIsOfANodeType) {
  std::set<int> tags;
  for (const GrammarNode& node : kGrammarNodes) tags.insert(node.tag);
  for (int tag = 0; tag < 1024; ++tag) {
    if (internal::RoleOf(static_cast<::NodeTag>(tag)) == NodeRole::kUnlisted) continue;
    EXPECT_TRUE(tags.contains(tag)) << "node tag " << tag << " has a row and is none of the grammar's";
  }
}

// What may stand alone ends in Stmt by Postgres's own custom; the rest of those are parts of other statements.
TEST(Grammar, EveryStatementCanBeRun) {
  int statements = 0;
  for (const GrammarNode& node : kGrammarNodes) {
    const NodeRole role = internal::RoleOf(node.tag);
    if (role == NodeRole::kStatement) {
      const internal::StatementRow* row = internal::StatementRowOf(node.tag);
      ASSERT_NE(row, nullptr) << node.name;
      EXPECT_NE(row->handler, nullptr) << node.name;
      EXPECT_FALSE(row->tag.empty()) << node.name;
      ++statements;
    } else if (role == NodeRole::kExpression) {
      EXPECT_NE(internal::ExpressionHandlerOf(node.tag), nullptr) << node.name;
    } else if (node.name.ends_with("Stmt")) {
      EXPECT_THAT(node.name,
                  testing::AnyOf("RawStmt", "SetOperationStmt", "ReplicaIdentityStmt", "ReturnStmt", "PLAssignStmt"));
    }
  }
  EXPECT_GT(statements, 100);
}

std::set<std::string> TagsOfGoldenCases() {
  std::set<std::string> tags;
  const auto folder = std::filesystem::path(POSTERN_SOURCE_DIR) / "tests/unit/common/sql/golden";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".txt") continue;
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with("tag ")) tags.insert(line.substr(4));
    }
  }
  return tags;
}

TEST(Grammar, EveryCommandHasACase) {
  const std::set<std::string> tags = TagsOfGoldenCases();
  for (const std::string_view command : kCommands) {
    const bool none = kNoStatement.contains(command);
    EXPECT_EQ(tags.contains(std::string(command)), !none)
        << command << (none ? " is said to be no statement, and has a golden case" : " has no golden case");
  }
}

TEST(Grammar, EveryTagIsACommand) {
  const std::set<std::string_view> commands(std::begin(kCommands), std::end(kCommands));
  for (const std::string& tag : TagsOfGoldenCases()) EXPECT_TRUE(commands.contains(tag)) << tag;
}

}  // namespace
}  // namespace postern::sql
