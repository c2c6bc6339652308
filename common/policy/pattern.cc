#include "common/policy/pattern.h"

#include <utility>

namespace postern::policy {
namespace {

// Greedy matching that goes back to the last star only: linear for the patterns people write, never exponential.
bool GlobMatches(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0;
  size_t star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

// possible[j]: the first i characters of `a` and the first j of `b` can stand for the same text.
bool GlobsIntersect(std::string_view a, std::string_view b) {
  std::vector<bool> before(b.size() + 1), now(b.size() + 1);
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      bool possible = i == 0 && j == 0;
      if (i > 0 && a[i - 1] == '*') possible = possible || before[j] || (j > 0 && now[j - 1]);
      if (j > 0 && b[j - 1] == '*') possible = possible || now[j - 1] || (i > 0 && before[j]);
      if (i > 0 && j > 0 && a[i - 1] == b[j - 1]) possible = possible || before[j - 1];
      now[j] = possible;
    }
    std::swap(before, now);
  }
  return before[b.size()];
}

}  // namespace

Pattern::Pattern(std::string text) : text_(std::move(text)) {
  const size_t star = text_.find('*');
  if (star == std::string::npos) {
    kind_ = Kind::kExact;
  } else if (text_.find_first_not_of('*') == std::string::npos) {
    kind_ = Kind::kAny;
  } else {
    kind_ = star + 1 == text_.size() ? Kind::kPrefix : Kind::kGlob;
  }
}

bool Pattern::Matches(std::string_view text) const {
  switch (kind_) {
    case Kind::kAny:
      return true;
    case Kind::kExact:
      return text == text_;
    case Kind::kPrefix:
      return text.starts_with(std::string_view(text_).substr(0, text_.size() - 1));
    case Kind::kGlob:
      return GlobMatches(text_, text);
  }
  return false;
}

bool Pattern::Intersects(const Pattern& other) const {
  if (any() || other.any()) return true;
  if (literal()) return other.Matches(text_);
  if (other.literal()) return Matches(other.text_);
  return GlobsIntersect(text_, other.text_);
}

ObjectPattern::Parts ObjectPattern::Split(std::string_view text) {
  const size_t dot = text.find('.');
  if (dot == std::string_view::npos) return {"*", std::string(text)};
  return {std::string(text.substr(0, dot)), std::string(text.substr(dot + 1))};
}

ObjectPattern::ObjectPattern(std::string_view text) : ObjectPattern(Split(text)) {}

std::string ObjectPattern::ToString() const {
  return schema_.text() == "*" ? name_.text() : schema_.text() + "." + name_.text();
}

std::vector<ObjectPattern> ObjectPatterns(const std::vector<std::string>& texts) {
  std::vector<ObjectPattern> patterns;
  patterns.reserve(texts.size());
  for (const std::string& text : texts) patterns.emplace_back(text);
  return patterns;
}

}  // namespace postern::policy
