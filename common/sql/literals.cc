#include "common/sql/literals.h"

#include <array>

#include "common/sql/parse.h"

namespace postern::sql {
namespace {

enum class Class : uint8_t { kRefused, kSpace, kWord, kDigit, kQuote, kDoubleQuote, kOther };

constexpr std::array<Class, 256> MakeClasses() {
  std::array<Class, 256> classes{};
  for (const char c : {' ', '\t', '\n', '\r', '\f'}) classes[static_cast<unsigned char>(c)] = Class::kSpace;
  for (int c = 'a'; c <= 'z'; ++c) classes[c] = classes[c - 'a' + 'A'] = Class::kWord;
  for (int c = 0x80; c < 0x100; ++c) classes[c] = Class::kWord;
  classes['_'] = Class::kWord;
  for (int c = '0'; c <= '9'; ++c) classes[c] = Class::kDigit;
  for (const char c : {'+', '-', '*', '/', '<', '>', '=', '~', '!', '@', '#', '%', '^',
                       '&', '|', '?', '`', ',', '.', ';', ':', '(', ')', '[', ']', '$'}) {
    classes[static_cast<unsigned char>(c)] = Class::kOther;
  }
  classes['\''] = Class::kQuote;
  classes['"'] = Class::kDoubleQuote;
  return classes;
}

constexpr std::array<Class, 256> kClasses = MakeClasses();
// Marks are control characters, which the subset has nowhere else.
constexpr char kInteger = '\x01';
constexpr char kDecimal = '\x02';
constexpr char kString = '\x03';
// An int4 for sure: larger ones are of another token class.
constexpr size_t kMostDigits = 9;

class Splitter {
 public:
  Splitter(std::string_view whole, TextShape* shape) : text_(whole), shape_(*shape) {}

  bool Run() {
    while (i_ < text_.size()) {
      if (!Step()) return false;
    }
    Keep(text_.size());
    return !wide_ || internal::IsPlainUtf8(text_);
  }

 private:
  Class At(size_t i) const { return i < text_.size() ? kClasses[static_cast<unsigned char>(text_[i])] : Class::kSpace; }
  char CharAt(size_t i) const { return i < text_.size() ? text_[i] : ' '; }

  bool Step() {
    const char c = text_[i_];
    // One comparison for each kind; switch would read no better.
    switch (At(i_)) {
      case Class::kSpace:
        ++i_;
        return true;
      case Class::kWord:
        return Word();
      case Class::kDigit:
        return Number();
      case Class::kQuote:
        return String();
      case Class::kDoubleQuote:
        return QuotedIdentifier();
      case Class::kOther:
        if ((c == '-' && CharAt(i_ + 1) == '-') || (c == '/' && CharAt(i_ + 1) == '*')) return false;
        if (c == '$') return Parameter();
        if (c == '.' && At(i_ + 1) == Class::kDigit) return false;
        ++i_;
        return true;
      case Class::kRefused:
        return false;
    }
    return false;
  }

  bool Word() {
    while (At(i_) == Class::kWord || At(i_) == Class::kDigit || CharAt(i_) == '$') {
      wide_ = wide_ || static_cast<unsigned char>(text_[i_]) >= 0x80;
      ++i_;
      if (i_ >= text_.size()) return true;
    }
    // E'…', U&'…', U&"…" and their like.
    if (At(i_) == Class::kQuote) return false;
    return !(CharAt(i_) == '&' && (At(i_ + 1) == Class::kQuote || At(i_ + 1) == Class::kDoubleQuote));
  }

  bool Parameter() {
    const size_t digits = ++i_;
    while (At(i_) == Class::kDigit) ++i_;
    return i_ > digits && At(i_) != Class::kWord && CharAt(i_) != '$' && CharAt(i_) != '.';
  }

  bool Number() {
    const size_t begin = i_;
    while (At(i_) == Class::kDigit) ++i_;
    char mark = i_ - begin <= kMostDigits ? kInteger : '\0';
    if (CharAt(i_) == '.') {
      const size_t fraction = ++i_;
      while (At(i_) == Class::kDigit) ++i_;
      mark = i_ > fraction ? kDecimal : '\0';
    }
    if (mark == '\0' || At(i_) == Class::kWord || CharAt(i_) == '.' || CharAt(i_) == '$') return false;
    Take(begin, mark);
    return true;
  }

  bool String() {
    const size_t begin = i_;
    // Control characters are harmless to Postgres, but for NUL, and leave the key together with the literal.
    if (!SkipQuoted('\'', /*least=*/'\x01')) return false;
    // 'a' 'b' on two lines is one string.
    size_t next = i_;
    while (next < text_.size() && At(next) == Class::kSpace) ++next;
    if (At(next) == Class::kQuote) return false;
    Take(begin, kString);
    return true;
  }

  // What is quoted stays in the key, where the marks must be ours.
  bool QuotedIdentifier() { return SkipQuoted('"', /*least=*/' '); }

  // Moves behind the closing quote. False: there is none, or a character below `least` stands before it.
  bool SkipQuoted(char quote, unsigned char least) {
    const size_t begin = i_++;
    for (;;) {
      i_ = text_.find(quote, i_);
      if (i_ == std::string_view::npos) return false;
      if (CharAt(++i_) != quote) break;
      ++i_;
    }
    for (const char c : text_.substr(begin, i_ - begin)) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte < least) return false;
      wide_ = wide_ || byte >= 0x80;
    }
    return true;
  }

  // The literal [begin, i_) gives way to `mark`.
  void Take(size_t begin, char mark) {
    Keep(begin);
    shape_.key.push_back(mark);
    shape_.literals.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(i_), mark == kString});
    kept_ = i_;
  }
  void Keep(size_t end) { shape_.key.append(text_.substr(kept_, end - kept_)); }

  const std::string_view text_;
  TextShape& shape_;
  size_t i_ = 0;
  size_t kept_ = 0;    // the key has everything before it
  bool wide_ = false;  // bytes beyond ASCII were met
};

}  // namespace

bool ShapeOf(std::string_view text, TextShape* shape) {
  shape->key.clear();
  shape->literals.clear();
  return Splitter(text, shape).Run();
}

std::string_view ContentOf(std::string_view text, const Literal& literal) {
  if (!literal.is_string) return {};
  const std::string_view content = text.substr(literal.begin + 1, literal.end - literal.begin - 2);
  return content.find('\'') == std::string_view::npos ? content : std::string_view();
}

}  // namespace postern::sql
