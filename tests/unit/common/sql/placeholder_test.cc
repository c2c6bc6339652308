// Placeholders: what is forwarded where masked columns are kept out of a text, and that analysis finds none in it.
#include "common/sql/placeholder.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "common/base/errors.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/common/sql/catalog_text.h"
#include "tests/unit/common/sql/golden_file.h"

namespace postern::sql {
namespace {

constexpr std::string_view kFile = "../placeholders.txt";

std::vector<ColumnId> Kept(const Catalog& catalog) {
  std::vector<ColumnId> kept;
  for (const auto& [schema, relation, column] :
       {std::tuple{"app", "customers", "email"}, std::tuple{"crm", "staff", "pin"}}) {
    const Relation* found = catalog.FindRelation(schema, relation);
    kept.push_back({found->oid, found->FindColumn(column)->attnum});
  }
  std::sort(kept.begin(), kept.end());
  return kept;
}

bool UsesAny(const Statement& statement, const std::vector<ColumnId>& kept) {
  const auto has = [&](const std::vector<ColumnId>& columns) {
    return std::any_of(columns.begin(), columns.end(),
                       [&](ColumnId column) { return std::binary_search(kept.begin(), kept.end(), column); });
  };
  return has(statement.predicates) || has(statement.stored) || has(statement.computed) ||
         std::any_of(statement.outputs.begin(), statement.outputs.end(),
                     [&](const OutputColumn& output) { return !output.bare.has_value() && has(output.sources); });
}

std::vector<size_t> WhichUse(const Analysis& analysis, const std::vector<ColumnId>& kept) {
  std::vector<size_t> statements;
  for (size_t i = 0; i < analysis.statements.size(); ++i) {
    if (UsesAny(analysis.statements[i], kept)) statements.push_back(i);
  }
  return statements;
}

// The changed text, or why there is none.
std::string Changed(const GoldenCase& item, const GoldenFile& file, const Catalog& catalog) {
  const std::vector<ColumnId> kept = Kept(catalog);
  const absl::StatusOr<Analysis> before = Analyze(item.sql, catalog, file.session, file.options);
  if (!before.ok()) return std::string(before.status().message());
  const auto edits = PlaceholderEdits(item.sql, catalog, file.session, file.options, WhichUse(*before, kept), kept);
  if (!edits.ok()) return "none: " + std::string(edits.status().message());
  std::string text = ApplyEdits(item.sql, *edits);
  const absl::StatusOr<Analysis> after = Analyze(text, catalog, file.session, file.options);
  if (!after.ok()) return "none: " + std::string(after.status().message());
  if (const absl::Status same = CheckSameMeaning(*before, *after); !same.ok()) {
    return "none: " + std::string(same.message());
  }
  if (!WhichUse(*after, kept).empty()) return "none: it is still used";
  return text;
}

TEST(Placeholders, EveryCaseIsAsWritten) {
  const GoldenFile file = ReadGoldenFile(std::string(kFile));
  ASSERT_FALSE(file.cases.empty());
  const std::shared_ptr<const Catalog> catalog = CatalogFromText(ReadGoldenText(file.catalog));
  const bool update = std::getenv("POSTERN_GOLDEN_UPDATE") != nullptr;
  std::string rewritten = file.header;
  for (const GoldenCase& item : file.cases) {
    const std::string actual = Changed(item, file, *catalog) + "\n";
    rewritten += "=== " + item.title + "\n" + item.sql + "\n---\n" + actual + "\n";
    if (update) continue;
    EXPECT_EQ(actual, item.expected) << item.line << ": " << item.title;
  }
  if (update) std::ofstream(GoldenPath(std::string(kFile))) << rewritten;
}

TEST(Placeholders, APositionIsGivenInTheTextThatWasSent) {
  const std::string text = "SELECT 'ż', upper(email) FROM app.customers WHERE x";
  const size_t name = text.find("app.customers");
  const std::vector<TextEdit> edits = {{name, name + 13, "(SELECT NULL::text AS \"ż\") AS c"}};
  const std::string changed = ApplyEdits(text, edits);
  const auto characters = [](std::string_view bytes) {
    return static_cast<int>(std::count_if(bytes.begin(), bytes.end(), [](char c) { return (c & 0xC0) != 0x80; }));
  };
  for (const std::string_view word : {"'ż'", "upper", "WHERE", "x"}) {
    const size_t was = text.rfind(word), is = changed.rfind(word);
    EXPECT_EQ(PositionBefore(text, edits, characters(changed.substr(0, is)) + 1), characters(text.substr(0, was)) + 1)
        << word;
  }
  // What was put in stands for the table.
  const size_t inside = changed.find("NULL::text");
  EXPECT_EQ(PositionBefore(text, edits, characters(changed.substr(0, inside)) + 1),
            characters(text.substr(0, name)) + 1);
  EXPECT_EQ(PositionBefore(text, edits, 100000), characters(text) + 1);
}

TEST(Placeholders, AnotherMeaningIsNoticed) {
  const std::shared_ptr<const Catalog> catalog = CatalogFromText(ReadGoldenText("shop.catalog"));
  SessionView session;
  session.search_path = {"app"};
  const Analysis before = *Analyze("SELECT id, upper(email) FROM customers", *catalog, session);
  for (const char* other :
       {"SELECT id FROM customers", "SELECT id, upper(email) AS x FROM customers",
        "SELECT id, upper(email) FROM crm.customers", "SELECT id, upper(phone) FROM customers",
        "SELECT id, upper(email) FROM customers FOR UPDATE", "SELECT id, upper(email) FROM customers; SELECT 1",
        "SELECT id, upper(email) FROM customers WHERE id = $1", "SELECT id, upper(nonsense) FROM customers"}) {
    EXPECT_EQ(ReasonOf(CheckSameMeaning(before, *Analyze(other, *catalog, session))), "NO_PLACEHOLDER") << other;
  }
  EXPECT_TRUE(CheckSameMeaning(before, *Analyze("SELECT id, upper(NULL) FROM customers", *catalog, session)).ok());
}

}  // namespace
}  // namespace postern::sql
