// The words of policy and what they stand for: verbs, groups of verbs, masking strategies.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/sql/analysis.h"
#include "postern/v1/policy.pb.h"

namespace postern::policy {

// A set of operations.
class VerbSet {
 public:
  constexpr VerbSet() = default;
  constexpr explicit VerbSet(sql::Operation operation) : bits_(uint64_t{1} << static_cast<int>(operation)) {}

  constexpr bool Contains(sql::Operation operation) const { return (bits_ >> static_cast<int>(operation) & 1) != 0; }
  constexpr bool ContainsAll(VerbSet other) const { return (bits_ & other.bits_) == other.bits_; }
  constexpr bool Intersects(VerbSet other) const { return (bits_ & other.bits_) != 0; }
  constexpr bool empty() const { return bits_ == 0; }

  constexpr VerbSet operator|(VerbSet other) const { return VerbSet(bits_ | other.bits_); }
  constexpr VerbSet operator&(VerbSet other) const { return VerbSet(bits_ & other.bits_); }
  constexpr VerbSet& operator|=(VerbSet other) { return *this = *this | other; }
  friend constexpr bool operator==(VerbSet, VerbSet) = default;

  // In the order of sql::Operation.
  std::vector<sql::Operation> Operations() const;
  // "select, update".
  std::string ToString() const;

 private:
  constexpr explicit VerbSet(uint64_t bits) : bits_(bits) {}
  uint64_t bits_ = 0;
};
static_assert(static_cast<int>(sql::Operation::kCount) <= 64);

// A verb of `do:`: an operation, a group (read, write, ddl, session, all) or a named permission. nullopt: no such verb.
std::optional<VerbSet> VerbsOf(std::string_view verb);

// What the group `all` means: every operation that is not a named permission.
VerbSet AllVerbs();
VerbSet NamedPermissions();
// Session operations that need no rule: drivers and agents cannot work without them.
VerbSet SessionVerbs();

// The known verb that `word` was probably meant to be; "" when none is near.
std::string NearestVerb(std::string_view word);
// The candidate nearest to `word` within a third of its letters; "" when none is.
std::string Nearest(std::string_view word, const std::vector<std::string>& candidates);

// "email_domain" and the like. Unspecified: "".
std::string_view StrategyName(v1::MaskStrategy strategy);
std::optional<v1::MaskStrategy> StrategyFromName(std::string_view name);
std::vector<std::string> StrategyNames();
// Of two, the one that says less of the value: null > redact > hash > year > last4 > partial > email_domain.
v1::MaskStrategy Stricter(v1::MaskStrategy a, v1::MaskStrategy b);
// True if a constant looks like what the strategy puts in place of a value.
bool LooksMasked(v1::MaskStrategy strategy, std::string_view constant);

// "10m", "1h30m", "5s", "500ms" in milliseconds; nullopt when it is none, zero, or longer than a year.
std::optional<int64_t> ParseDuration(std::string_view text);
// The shortest such text, e.g. "1h30m".
std::string FormatDuration(int64_t milliseconds);

}  // namespace postern::policy
