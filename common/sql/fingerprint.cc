#include <cstdint>
#include <string_view>

#include "absl/strings/ascii.h"
#include "common/sql/parse.h"

namespace postern::sql::internal {
namespace {

bool IsIdentifierStart(unsigned char c) { return absl::ascii_isalpha(c) || c == '_' || c >= 0x80; }
bool IsIdentifierPart(unsigned char c) { return IsIdentifierStart(c) || absl::ascii_isdigit(c) || c == '$'; }

// Walks over tokens as Postgres's scanner does, closely enough for grouping.
class Shape {
 public:
  explicit Shape(std::string_view statement) : text_(statement) {}

  uint64_t Hash() {
    while (i_ < text_.size()) Step();
    return hash_;
  }

 private:
  unsigned char At(size_t offset) const {
    return i_ + offset < text_.size() ? static_cast<unsigned char>(text_[i_ + offset]) : '\0';
  }

  // FNV-1a, with a separator after each token.
  void Mix(unsigned char c) { hash_ = (hash_ ^ c) * 0x100000001b3ull; }
  void EndToken() { Mix(0xFF); }

  void Literal() {
    // Lists of literals count as one: IN (1, 2, 3) has the shape of IN (1).
    if (after_literal_comma_) {
      after_literal_comma_ = false;
      after_literal_ = true;
      return;
    }
    FlushComma();
    Mix('?');
    EndToken();
    after_literal_ = true;
  }

  void FlushComma() {
    if (!after_literal_comma_) return;
    after_literal_comma_ = false;
    Mix(',');
    EndToken();
  }

  void SkipQuoted(char quote, bool backslashes) {
    ++i_;
    while (i_ < text_.size()) {
      if (backslashes && text_[i_] == '\\') {
        i_ += 2;
      } else if (text_[i_] == quote) {
        if (At(1) != static_cast<unsigned char>(quote)) break;
        i_ += 2;
      } else {
        ++i_;
      }
    }
    if (i_ < text_.size()) ++i_;
  }

  void SkipBlockComment() {
    int depth = 1;
    i_ += 2;
    while (i_ < text_.size() && depth > 0) {
      if (At(0) == '*' && At(1) == '/') {
        --depth;
        i_ += 2;
      } else if (At(0) == '/' && At(1) == '*') {
        ++depth;
        i_ += 2;
      } else {
        ++i_;
      }
    }
  }

  // $tag$ … $tag$ at i_; false if it is none.
  bool SkipDollarQuoted() {
    size_t end = i_ + 1;
    while (end < text_.size() && text_[end] != '$' && IsIdentifierPart(static_cast<unsigned char>(text_[end]))) ++end;
    if (end >= text_.size() || text_[end] != '$') return false;
    const std::string_view tag = text_.substr(i_, end + 1 - i_);
    const size_t close = text_.find(tag, end + 1);
    i_ = close == std::string_view::npos ? text_.size() : close + tag.size();
    return true;
  }

  void Word() {
    FlushComma();
    while (i_ < text_.size() && IsIdentifierPart(At(0))) Mix(absl::ascii_tolower(At(0))), ++i_;
    EndToken();
    after_literal_ = false;
  }

  void QuotedIdentifier() {
    FlushComma();
    const size_t begin = i_;
    SkipQuoted('"', false);
    for (char c : text_.substr(begin, i_ - begin)) Mix(static_cast<unsigned char>(c));
    EndToken();
    after_literal_ = false;
  }

  void Number() {
    while (i_ < text_.size() && (absl::ascii_isalnum(At(0)) || At(0) == '.' || At(0) == '_')) ++i_;
    Literal();
  }

  void Punctuation() {
    const unsigned char c = At(0);
    ++i_;
    if (c == ',' && after_literal_) {
      FlushComma();
      after_literal_comma_ = true;
      after_literal_ = false;
      return;
    }
    FlushComma();
    Mix(c);
    EndToken();
    after_literal_ = false;
  }

  void Step() {
    const unsigned char c = At(0);
    if (absl::ascii_isspace(c)) {
      ++i_;
    } else if (c == '-' && At(1) == '-') {
      while (i_ < text_.size() && text_[i_] != '\n' && text_[i_] != '\r') ++i_;
    } else if (c == '/' && At(1) == '*') {
      SkipBlockComment();
    } else if (c == '\'') {
      SkipQuoted('\'', false);
      Literal();
    } else if (IsPrefixedString(c)) {
      const bool escapes = c == 'e' || c == 'E';
      ++i_;
      SkipQuoted('\'', escapes);
      Literal();
    } else if (c == '"') {
      QuotedIdentifier();
    } else if (c == '$' && absl::ascii_isdigit(At(1))) {
      ++i_;
      Number();
    } else if (c == '$' && SkipDollarQuoted()) {
      Literal();
    } else if (absl::ascii_isdigit(c) || (c == '.' && absl::ascii_isdigit(At(1)))) {
      Number();
    } else if (IsIdentifierStart(c)) {
      Word();
    } else {
      Punctuation();
    }
  }

  bool IsPrefixedString(unsigned char c) const {
    const unsigned char lower = absl::ascii_tolower(c);
    return (lower == 'e' || lower == 'b' || lower == 'x' || lower == 'n') && At(1) == '\'';
  }

  const std::string_view text_;
  size_t i_ = 0;
  uint64_t hash_ = 0xcbf29ce484222325ull;
  bool after_literal_ = false;
  bool after_literal_comma_ = false;
};

}  // namespace

uint64_t Fingerprint(std::string_view text) { return Shape(text).Hash(); }

}  // namespace postern::sql::internal
