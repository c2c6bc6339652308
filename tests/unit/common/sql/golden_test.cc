// Runs every case of golden/*.txt: statement → what analysis says of it. A new case needs no C++.
//
// A file is a list of cases, each:
//
//   === a title that says what the case is about
//   SELECT email AS plan FROM app.customers
//   ---
//   effect select app.customers (email)
//   output plan = app.customers.email
//
// and all of what analysis says must be there. `output x = c` is the column itself, `output x <- c, d` depends on them.
// Before the first case: `catalog FILE`, `search_path a, b`, `role r`, `open` (an open catalog). With
// POSTERN_GOLDEN_UPDATE=1 in the environment the files are rewritten with what analysis says now: read the diff.
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "common/base/errors.h"
#include "common/sql/analysis.h"
#include "common/sql/literals.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/common/sql/catalog_text.h"
#include "tests/unit/common/sql/golden_file.h"

namespace postern::sql {
namespace {

class Describer {
 public:
  explicit Describer(const Catalog& catalog) : catalog_(catalog) {}

  std::string Describe(const Statement& statement) {
    text_ = fmt::format("tag {}\n", statement.tag);
    if (statement.unanalysable.has_value()) return text_ + "unanalysable: " + *statement.unanalysable + "\n";
    for (const Effect& effect : statement.effects) Line("effect", effect.ToString());
    for (const OutputColumn& output : statement.outputs) Output(output);
    if (!statement.outputs_known) Line("outputs", "are not known");
    for (const ColumnId& column : statement.predicates) {
      const bool equality =
          std::find(statement.equality_only_predicates.begin(), statement.equality_only_predicates.end(), column) !=
          statement.equality_only_predicates.end();
      Line("predicate", ColumnName(catalog_, column) + (equality ? " (equality)" : ""));
    }
    Columns("stored", statement.stored);
    Columns("computed", statement.computed);
    for (const std::string& constant : statement.written_constants) Line("writes", "'" + constant + "'");
    Rest(statement);
    return text_;
  }

 private:
  void Line(std::string_view word, std::string_view rest) { text_ += fmt::format("{} {}\n", word, rest); }

  std::string Names(const std::vector<ColumnId>& columns) {
    std::vector<std::string> names;
    for (const ColumnId& column : columns) names.push_back(ColumnName(catalog_, column));
    return fmt::format("{}", fmt::join(names, ", "));
  }

  void Columns(std::string_view word, const std::vector<ColumnId>& columns) {
    if (!columns.empty()) Line(word, Names(columns));
  }

  void Output(const OutputColumn& output) {
    std::string line = output.name;
    if (output.bare.has_value()) line += " = " + ColumnName(catalog_, *output.bare);
    if (output.origin != output.bare && output.origin.has_value()) {
      line += " [described as " + ColumnName(catalog_, *output.origin) + "]";
    }
    std::vector<ColumnId> more;
    for (const ColumnId& source : output.sources) {
      if (source != output.bare && source != output.origin) more.push_back(source);
    }
    if (!more.empty()) line += " <- " + Names(more);
    if (output.opaque) line += " (opaque)";
    Line("output", line);
  }

  void Rest(const Statement& s) {
    if (s.shape.has_where) Line("where", fmt::format("{}", fmt::join(s.shape.where_equality, ", ")));
    if (s.shape.limit.has_value()) Line("limit", std::to_string(*s.shape.limit));
    if (s.shape.group_min.has_value()) Line("groups", fmt::format("of {} rows at least", *s.shape.group_min));
    for (const SettingChange& setting : s.settings) {
      Line("setting", setting.name + " = " + setting.value.value_or("(default)") + (setting.local ? " (local)" : ""));
    }
    if (s.copy.has_value()) {
      Line("copy", fmt::format("{} {} delimiter '{}' null '{}'{}", s.copy->to ? "out" : "in",
                               s.copy->binary ? "binary"
                               : s.copy->csv  ? "csv"
                                              : "text",
                               s.copy->delimiter == "\t" ? "\\t" : s.copy->delimiter, s.copy->null_string,
                               s.copy->header ? " header" : ""));
    }
    if (!s.name.empty()) Line("name", s.name);
    if (s.name_all) Line("name", "(all)");
    if (s.transaction != TransactionAction::kNone) {
      Line("transaction", fmt::format("{} {}{}", static_cast<int>(s.transaction), s.savepoint,
                                      s.transaction_chain ? " and chain" : ""));
    }
    if (s.cursor_binary) Line("cursor", "binary");
    if (s.cursor_hold) Line("cursor", "with hold");
    if (s.parameter_count > 0) Line("parameters", std::to_string(s.parameter_count));
    if (s.writes) Line("writes", "");
    if (s.changes_catalog) Line("changes", "the catalog");
  }

  const Catalog& catalog_;
  std::string text_;
};

std::string Trimmed(std::string text) {
  std::string out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    while (!line.empty() && line.back() == ' ') line.pop_back();
    out += line + "\n";
  }
  return out;
}

std::string RunCase(const GoldenCase& item, const GoldenFile& file, const Catalog& catalog) {
  const absl::StatusOr<Analysis> analysis = Analyze(item.sql, catalog, file.session, file.options);
  if (!analysis.ok()) {
    return fmt::format("error {} {}\n", ReasonOf(analysis.status()), std::string(analysis.status().message()));
  }
  std::string text;
  for (const Statement& statement : analysis->statements) {
    if (analysis->statements.size() > 1) {
      std::string own = item.sql.substr(statement.begin, statement.length);
      std::replace(own.begin(), own.end(), '\n', ' ');
      text += "statement " + own + "\n";
    }
    text += Describer(catalog).Describe(statement);
  }
  if (analysis->statements.empty()) text = "empty\n";
  return Trimmed(text);
}

// `sql` with other contents for the literals that analysis has not read.
std::string WithOtherLiterals(std::string_view sql, const Analysis& analysis, const TextShape& shape) {
  std::string other;
  size_t at = 0;
  for (const Literal& literal : shape.literals) {
    const bool read = std::any_of(analysis.statements.begin(), analysis.statements.end(), [&](const Statement& each) {
      const int begin = static_cast<int>(literal.begin);
      // The place of a negative number is its minus.
      return std::any_of(each.read_constants.begin(), each.read_constants.end(),
                         [begin](int location) { return location >= begin - 2 && location <= begin; });
    });
    other.append(sql.substr(at, literal.begin - at));
    const std::string_view own = sql.substr(literal.begin, literal.end - literal.begin);
    at = literal.end;
    other += read                                      ? std::string(own)
             : literal.is_string                       ? "'x'"
             : own.find('.') != std::string_view::npos ? "0.5"
                                                       : "123456";
  }
  return other.append(sql.substr(at));
}

// What `text` says but for the constants that are written.
std::string WithoutConstants(const std::string& text) {
  std::string rest;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("writes '") && !line.starts_with("statement ")) rest += line + "\n";
  }
  return rest;
}

// Plans are shared by texts that differ in literals that were not read.
void ExpectSameForOtherLiterals(const GoldenCase& item, const GoldenFile& file, const Catalog& catalog,
                                const std::string& actual) {
  TextShape shape;
  const absl::StatusOr<Analysis> analysis = Analyze(item.sql, catalog, file.session, file.options);
  if (!analysis.ok() || !ShapeOf(item.sql, &shape)) return;
  for (const Statement& statement : analysis->statements) {
    const bool on_rows = statement.kind == StatementKind::kQuery || statement.kind == StatementKind::kDml;
    if (!on_rows || statement.unanalysable.has_value() || !statement.settings.empty()) return;
  }
  GoldenCase other = item;
  other.sql = WithOtherLiterals(item.sql, *analysis, shape);
  EXPECT_EQ(WithoutConstants(RunCase(other, file, catalog)), WithoutConstants(actual))
      << item.line << ": " << other.sql;
}

class Golden : public testing::TestWithParam<std::string> {};

TEST_P(Golden, EveryCaseIsAsWritten) {
  const GoldenFile file = ReadGoldenFile(GetParam());
  ASSERT_FALSE(file.cases.empty()) << GetParam();
  const std::shared_ptr<const Catalog> catalog = CatalogFromText(ReadGoldenText(file.catalog));
  const bool update = std::getenv("POSTERN_GOLDEN_UPDATE") != nullptr;
  std::string rewritten = file.header;
  for (const GoldenCase& item : file.cases) {
    const std::string actual = RunCase(item, file, *catalog);
    rewritten += "=== " + item.title + "\n" + item.sql + "\n---\n" + actual + "\n";
    if (update) continue;
    ExpectSameForOtherLiterals(item, file, *catalog, actual);
    EXPECT_EQ(actual, item.expected) << GetParam() << ":" << item.line << ": " << item.title;
  }
  if (update) std::ofstream(GoldenPath(GetParam())) << rewritten;
}

INSTANTIATE_TEST_SUITE_P(Files, Golden, testing::ValuesIn(GoldenFileNames()), [](const auto& param) {
  std::string name = param.param;
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
});

}  // namespace
}  // namespace postern::sql
