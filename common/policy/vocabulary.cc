#include "common/policy/vocabulary.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "fmt/format.h"

namespace postern::policy {
namespace {

using sql::Operation;

constexpr VerbSet Verbs(std::initializer_list<Operation> operations) {
  VerbSet set;
  for (const Operation operation : operations) set |= VerbSet(operation);
  return set;
}

constexpr VerbSet kRead = Verbs({Operation::kSelect});
constexpr VerbSet kWrite = Verbs({Operation::kInsert, Operation::kUpdate, Operation::kDelete});
constexpr VerbSet kDdl =
    Verbs({Operation::kCreate, Operation::kAlter, Operation::kDrop, Operation::kTruncate, Operation::kComment});
constexpr VerbSet kSession = Verbs({Operation::kSet, Operation::kShow, Operation::kTransaction, Operation::kPrepare,
                                    Operation::kCursor, Operation::kDiscard, Operation::kExplain});

constexpr VerbSet Range(int begin, int end) {
  VerbSet set;
  for (int i = begin; i < end; ++i) set |= VerbSet(static_cast<Operation>(i));
  return set;
}
constexpr VerbSet kAll = Range(0, static_cast<int>(Operation::kSetRole));
constexpr VerbSet kNamed = Range(static_cast<int>(Operation::kSetRole), static_cast<int>(Operation::kCount));

constexpr std::array<std::pair<std::string_view, VerbSet>, 5> kGroups = {
    {{"read", kRead}, {"write", kWrite}, {"ddl", kDdl}, {"session", kSession}, {"all", kAll}}};

// From the strictest to the laxest.
constexpr std::array<std::pair<v1::MaskStrategy, std::string_view>, 7> kStrategies = {{
    {v1::MASK_STRATEGY_NULL, "null"},
    {v1::MASK_STRATEGY_REDACT, "redact"},
    {v1::MASK_STRATEGY_HASH, "hash"},
    {v1::MASK_STRATEGY_YEAR, "year"},
    {v1::MASK_STRATEGY_LAST4, "last4"},
    {v1::MASK_STRATEGY_PARTIAL, "partial"},
    {v1::MASK_STRATEGY_EMAIL_DOMAIN, "email_domain"},
}};

int StrategyRank(v1::MaskStrategy strategy) {
  for (size_t i = 0; i < kStrategies.size(); ++i) {
    if (kStrategies[i].first == strategy) return static_cast<int>(i);
  }
  return static_cast<int>(kStrategies.size());
}

// Letters inserted, deleted, replaced, or swapped with their neighbour.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

// Of UTF-8: bytes that do not continue a character.
int64_t CharactersIn(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

struct Unit {
  std::string_view name;
  int64_t milliseconds;
};
constexpr std::array<Unit, 4> kUnits = {{{"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}}};
constexpr int64_t kLongest = int64_t{366} * 24 * 3'600'000;

}  // namespace

std::vector<Operation> VerbSet::Operations() const {
  std::vector<Operation> operations;
  for (int i = 0; i < static_cast<int>(Operation::kCount); ++i) {
    if (Contains(static_cast<Operation>(i))) operations.push_back(static_cast<Operation>(i));
  }
  return operations;
}

std::string VerbSet::ToString() const {
  std::string text;
  for (const Operation operation : Operations()) {
    text += fmt::format("{}{}", text.empty() ? "" : ", ", sql::OperationName(operation));
  }
  return text;
}

std::optional<VerbSet> VerbsOf(std::string_view verb) {
  for (const auto& [name, set] : kGroups) {
    if (name == verb) return set;
  }
  if (const std::optional<Operation> operation = sql::OperationFromName(verb)) return VerbSet(*operation);
  return std::nullopt;
}

VerbSet AllVerbs() { return kAll; }
VerbSet NamedPermissions() { return kNamed; }
VerbSet SessionVerbs() { return kSession; }

std::string NearestVerb(std::string_view word) {
  std::vector<std::string> words;
  for (const auto& [name, set] : kGroups) words.emplace_back(name);
  for (const Operation operation : (kAll | kNamed).Operations()) words.emplace_back(sql::OperationName(operation));
  return Nearest(word, words);
}

std::string Nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string lower(word);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c == '-') c = '_';
  }
  std::string best;
  // Long words are not worth the quadratic comparison.
  if (lower.size() > 64) return best;
  size_t best_distance = std::max<size_t>(1, lower.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const size_t distance = EditDistance(lower, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

std::string_view StrategyName(v1::MaskStrategy strategy) {
  for (const auto& [value, name] : kStrategies) {
    if (value == strategy) return name;
  }
  return "";
}

std::optional<v1::MaskStrategy> StrategyFromName(std::string_view name) {
  for (const auto& [value, known] : kStrategies) {
    if (known == name) return value;
  }
  return std::nullopt;
}

std::vector<std::string> StrategyNames() {
  std::vector<std::string> names;
  for (const auto& [value, name] : kStrategies) names.emplace_back(name);
  return names;
}

v1::MaskStrategy Stricter(v1::MaskStrategy a, v1::MaskStrategy b) { return StrategyRank(a) <= StrategyRank(b) ? a : b; }

bool LooksMasked(v1::MaskStrategy strategy, std::string_view constant) {
  if (constant == "[redacted]") return true;
  switch (strategy) {
    case v1::MASK_STRATEGY_EMAIL_DOMAIN:
      return constant.starts_with("***@");
    case v1::MASK_STRATEGY_LAST4: {
      const size_t stars = std::min(constant.find_first_not_of('*'), constant.size());
      return stars >= 3 && CharactersIn(constant.substr(stars)) <= 4;
    }
    case v1::MASK_STRATEGY_PARTIAL: {
      const size_t first = constant.find('*');
      const size_t last = constant.rfind('*');
      return first != std::string_view::npos && last - first >= 2 &&
             constant.substr(first, last - first).find_first_not_of('*') == std::string_view::npos &&
             CharactersIn(constant.substr(0, first)) <= 1 && CharactersIn(constant.substr(last + 1)) <= 1;
    }
    default:
      // NULL and 1 January are ordinary values; hashes are known by their form to the masker, which sees binds as well.
      return false;
  }
}

std::optional<int64_t> ParseDuration(std::string_view text) {
  int64_t total = 0;
  size_t unit = 0;
  while (!text.empty()) {
    int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || number < 0 || number > kLongest) return std::nullopt;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    const size_t letters = std::min(text.find_first_of("0123456789"), text.size());
    while (unit < kUnits.size() && kUnits[unit].name != text.substr(0, letters)) ++unit;
    if (unit == kUnits.size() || number > kLongest / kUnits[unit].milliseconds) return std::nullopt;
    total += number * kUnits[unit].milliseconds;
    if (total > kLongest) return std::nullopt;
    text.remove_prefix(letters);
    ++unit;
  }
  if (total == 0) return std::nullopt;
  return total;
}

std::string FormatDuration(int64_t milliseconds) {
  std::string text;
  for (const Unit& unit : kUnits) {
    if (const int64_t count = milliseconds / unit.milliseconds; count > 0) {
      text += fmt::format("{}{}", count, unit.name);
      milliseconds %= unit.milliseconds;
    }
  }
  return text.empty() ? "0s" : text;
}

}  // namespace postern::policy
