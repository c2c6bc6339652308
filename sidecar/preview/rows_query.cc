#include "sidecar/preview/rows_query.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "common/base/strings.h"
#include "common/sql/literals.h"
#include "fmt/format.h"

namespace postern::preview {
namespace {

// A bare word outside of parentheses. Keywords are bare words; quoted names are none.
struct Word {
  std::string text;  // lower case
  size_t begin = 0;
  size_t end = 0;
};

bool IsWordByte(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || (c & 0x80) != 0;
}

// The words of a text that has a shape: no comments, no dollar quotes, literals at known places.
std::vector<Word> OuterWords(std::string_view text, const sql::TextShape& shape) {
  std::vector<Word> words;
  auto literal = shape.literals.begin();
  int depth = 0;
  for (size_t i = 0; i < text.size();) {
    if (literal != shape.literals.end() && i == literal->begin) {
      i = literal->end;
      ++literal;
    } else if (text[i] == '"') {
      // A doubled quote inside is the end of one name and the begin of another, which is all the same here.
      i = std::min(text.find('"', i + 1), text.size() - 1) + 1;
    } else if (IsWordByte(text[i])) {
      const size_t begin = i;
      while (i < text.size() && IsWordByte(text[i])) ++i;
      if (depth == 0) {
        words.push_back({absl::AsciiStrToLower(AbslView(text.substr(begin, i - begin))), begin, i});
      }
    } else {
      if (text[i] == '(' || text[i] == '[') ++depth;
      if (text[i] == ')' || text[i] == ']') --depth;
      ++i;
    }
  }
  return words;
}

std::string Trimmed(std::string_view text, size_t begin, size_t end) {
  std::string_view part = text.substr(begin, end - begin);
  while (!part.empty() && part.back() == ';') part.remove_suffix(1);
  return std::string(absl::StripAsciiWhitespace(AbslView(part)));
}

size_t Find(const std::vector<Word>& words, std::string_view text, size_t from) {
  size_t i = from;
  while (i < words.size() && words[i].text != text) ++i;
  return i;
}

// FROM as a clause: IS DISTINCT FROM is an operator.
bool HasFromClause(const std::vector<Word>& words, size_t from, size_t to) {
  for (size_t i = from; i < to; ++i) {
    if (words[i].text == "using") return true;
    if (words[i].text == "from" && words[i - 1].text != "distinct") return true;
  }
  return false;
}

}  // namespace

std::string RowsMet::Count() const {
  return condition.empty() ? fmt::format("SELECT count(*) FROM {}", relation)
                           : fmt::format("SELECT count(*) FROM {} WHERE {}", relation, condition);
}

std::string RowsMet::Sample(int64_t limit) const {
  return condition.empty() ? fmt::format("SELECT * FROM {} LIMIT {}", relation, limit)
                           : fmt::format("SELECT * FROM {} WHERE {} LIMIT {}", relation, condition, limit);
}

std::optional<RowsMet> RowsMetBy(std::string_view statement) {
  while (!statement.empty() && (statement.back() == ';' || absl::ascii_isspace(statement.back()))) {
    statement.remove_suffix(1);
  }
  sql::TextShape shape;
  if (!sql::ShapeOf(statement, &shape)) return std::nullopt;
  const std::vector<Word> words = OuterWords(statement, shape);
  if (words.size() < 3) return std::nullopt;
  const size_t where = Find(words, "where", 0);
  const size_t returning = Find(words, "returning", 0);
  const size_t last = std::min(where, returning);
  size_t relation_end = 0;
  size_t relation_begin = 0;
  if (words[0].text == "delete" && words[1].text == "from") {
    relation_begin = words[1].end;
    if (HasFromClause(words, 2, last)) return std::nullopt;
    relation_end = last < words.size() ? words[last].begin : statement.size();
  } else if (words[0].text == "update") {
    relation_begin = words[0].end;
    size_t set = Find(words, "set", 1);
    // UPDATE t AS set SET …
    if (set < words.size() && words[set - 1].text == "as") set = Find(words, "set", set + 1);
    if (set >= last || HasFromClause(words, set + 1, last)) return std::nullopt;
    relation_end = words[set].begin;
  } else {
    return std::nullopt;
  }
  RowsMet met;
  met.relation = Trimmed(statement, relation_begin, relation_end);
  if (where < words.size()) {
    if (where + 1 < words.size() && words[where + 1].text == "current") return std::nullopt;
    const size_t end = returning < words.size() ? words[returning].begin : statement.size();
    if (returning < where) return std::nullopt;
    met.condition = Trimmed(statement, words[where].end, end);
    if (met.condition.empty()) return std::nullopt;
  }
  if (met.relation.empty()) return std::nullopt;
  return met;
}

}  // namespace postern::preview
