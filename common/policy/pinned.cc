#include "common/policy/pinned.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>

#include "fmt/format.h"

namespace postern::policy {
namespace {

struct TimeUnit {
  std::string_view name;
  double milliseconds;
};
// Postgres's own, which count case; without one the number is of milliseconds.
constexpr std::array<TimeUnit, 7> kTimeUnits = {
    {{"", 1}, {"ms", 1}, {"us", 0.001}, {"s", 1e3}, {"min", 6e4}, {"h", 3.6e6}, {"d", 8.64e7}}};

std::string_view Trim(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.remove_suffix(1);
  return text;
}

std::optional<std::string> SettingUndoes(const SessionTerms& terms, const sql::SettingChange& change) {
  if (change.name == "statement_timeout" && terms.statement_timeout_ms > 0 && change.value.has_value()) {
    const std::optional<int64_t> asked = TimeoutMilliseconds(*change.value);
    if (!asked.has_value() || *asked <= 0 || *asked > terms.statement_timeout_ms) {
      return fmt::format("policy sets statement_timeout to {} ms, and a session may only shorten it",
                         terms.statement_timeout_ms);
    }
  }
  const bool back = !change.value.has_value();
  if (!terms.role.empty() && (change.name == "role" || change.name == "session_authorization")) {
    if (!back && !(change.name == "role" && *change.value == terms.role)) {
      return fmt::format("policy sets the session's role to {}", terms.role);
    }
  }
  return std::nullopt;
}

std::optional<std::string> EffectUndoes(const SessionTerms& terms, const sql::Effect& effect) {
  const bool read_only_lifted =
      effect.operation == sql::Operation::kSetProtected &&
      (effect.name == "default_transaction_read_only" || effect.name == "transaction_read_only");
  if (terms.read_only && read_only_lifted) return "policy makes the session read-only";
  if (effect.schema != "pg_catalog") return std::nullopt;
  // Its arguments, or the rows, are known only at run time.
  const bool any_setting = (effect.operation == sql::Operation::kUnsafeFunction && effect.name == "set_config") ||
                           (effect.operation == sql::Operation::kUpdate && effect.name == "pg_settings");
  if (!any_setting) return std::nullopt;
  return fmt::format("policy sets {}, which {} might undo",
                     terms.read_only                  ? "the session read-only"
                     : terms.statement_timeout_ms > 0 ? "statement_timeout"
                                                      : "the session's role",
                     effect.name == "set_config" ? "set_config() without constants" : "UPDATE of pg_settings");
}

}  // namespace

std::optional<int64_t> TimeoutMilliseconds(std::string_view value) {
  value = Trim(value);
  double number = 0;
  const auto [end, error] =
      std::from_chars(value.data(), value.data() + value.size(), number, std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(number)) return std::nullopt;
  const std::string_view unit = Trim(value.substr(static_cast<size_t>(end - value.data())));
  const auto* const known =
      std::find_if(kTimeUnits.begin(), kTimeUnits.end(), [unit](const TimeUnit& one) { return one.name == unit; });
  if (known == kTimeUnits.end()) return std::nullopt;
  const double milliseconds = std::round(number * known->milliseconds);
  if (milliseconds < 0 || milliseconds > 2147483647) return std::nullopt;
  return static_cast<int64_t>(milliseconds);
}

std::optional<std::string> UndoesTerms(const SessionTerms& terms, const sql::Statement& statement) {
  if (!terms.read_only && terms.statement_timeout_ms <= 0 && terms.role.empty()) return std::nullopt;
  for (const sql::SettingChange& change : statement.settings) {
    if (std::optional<std::string> why = SettingUndoes(terms, change)) return why;
  }
  for (const sql::Effect& effect : statement.effects) {
    if (std::optional<std::string> why = EffectUndoes(terms, effect)) return why;
  }
  return std::nullopt;
}

}  // namespace postern::policy
