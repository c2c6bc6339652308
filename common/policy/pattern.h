// Patterns of policy: text in which `*` stands for any run of characters, the empty one included. Nothing else is
// special, and case counts, as it does for names inside Postgres.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace postern::policy {

// One compiled pattern. Immutable.
class Pattern {
 public:
  explicit Pattern(std::string text);

  bool Matches(std::string_view text) const;
  // True if some text matches both.
  bool Intersects(const Pattern& other) const;
  // `*` alone (or several): matches everything.
  bool any() const { return kind_ == Kind::kAny; }
  // No `*` in it.
  bool literal() const { return kind_ == Kind::kExact; }
  const std::string& text() const { return text_; }

 private:
  enum class Kind { kAny, kExact, kPrefix, kGlob };
  std::string text_;
  Kind kind_;
};

// `schema.relation`; a bare `relation` means any schema's.
class ObjectPattern {
 public:
  explicit ObjectPattern(std::string_view text);

  bool Matches(std::string_view schema, std::string_view name) const {
    return schema_.Matches(schema) && name_.Matches(name);
  }
  bool Intersects(const ObjectPattern& other) const {
    return schema_.Intersects(other.schema_) && name_.Intersects(other.name_);
  }
  // Everything that `other` matches is matched by this one. May miss a few true cases, never claims a false one.
  bool Includes(const ObjectPattern& other) const {
    return schema_.Matches(other.schema_.text()) && name_.Matches(other.name_.text());
  }
  bool any() const { return schema_.any() && name_.any(); }
  const Pattern& schema() const { return schema_; }
  const Pattern& name() const { return name_; }
  std::string ToString() const;

 private:
  struct Parts {
    std::string schema, name;
  };
  explicit ObjectPattern(Parts parts) : schema_(std::move(parts.schema)), name_(std::move(parts.name)) {}
  static Parts Split(std::string_view text);

  Pattern schema_;
  Pattern name_;
};

std::vector<ObjectPattern> ObjectPatterns(const std::vector<std::string>& texts);

}  // namespace postern::policy
