// Fields: https://www.postgresql.org/docs/15/protocol-error-fields.html.
#include <algorithm>
#include <iterator>
#include <map>
#include <optional>

#include "fmt/format.h"
#include "sidecar/mask/conditions.h"
#include "sidecar/mask/mask.h"

namespace postern::mask {
namespace {

using Fields = std::map<char, std::string_view>;

constexpr std::string_view kSeverities[] = {"ERROR", "FATAL", "PANIC", "WARNING", "NOTICE", "DEBUG", "INFO", "LOG"};

// What the server says in these words and no others; none of them names an object or a value.
constexpr std::string_view kFixedMessages[] = {
    "canceling statement due to conflict with recovery",
    "canceling statement due to lock timeout",
    "canceling statement due to statement timeout",
    "canceling statement due to user request",
    "could not serialize access due to concurrent delete",
    "could not serialize access due to concurrent update",
    "could not serialize access due to read/write dependencies among transactions",
    "current transaction is aborted, commands ignored until end of transaction block",
    "deadlock detected",
    "division by zero",
    "out of memory",
    "out of shared memory",
    "remaining connection slots are reserved for non-replication superuser connections",
    "sorry, too many clients already",
    "stack depth limit exceeded",
    "terminating connection because of crash of another server process",
    "terminating connection due to administrator command",
    "terminating connection due to idle-in-transaction timeout",
    "terminating connection due to idle-session timeout",
    "the database system is in recovery mode",
    "the database system is shutting down",
    "the database system is starting up",
    "there is already a transaction in progress",
    "there is no transaction in progress",
};
static_assert(std::is_sorted(std::begin(kFixedMessages), std::end(kFixedMessages)));

// nullopt unless the body is fields with a terminator each and one zero byte at its very end. A type that comes twice
// is malformed, too: clients may differ in which they read.
std::optional<Fields> Parse(std::string_view body) {
  Fields fields;
  while (!body.empty() && body[0] != '\0') {
    const size_t end = body.find('\0', 1);
    if (end == std::string_view::npos) return std::nullopt;
    if (!fields.emplace(body[0], body.substr(1, end - 1)).second) return std::nullopt;
    body.remove_prefix(end + 1);
  }
  if (body.size() != 1) return std::nullopt;
  return fields;
}

std::string_view Get(const Fields& fields, char type) {
  const auto it = fields.find(type);
  return it == fields.end() ? std::string_view() : it->second;
}

bool IsSqlstate(std::string_view text) {
  return text.size() == 5 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'); });
}

bool IsPosition(std::string_view text) {
  return !text.empty() && text.size() <= 10 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// V is never translated but absent before 9.6; S may be in the server's language, which is free text.
std::string_view Severity(const Fields& fields) {
  for (const char type : {'V', 'S'}) {
    const std::string_view severity = Get(fields, type);
    for (const std::string_view known : kSeverities) {
      if (severity == known) return known;
    }
  }
  return "ERROR";
}

std::string Message(std::string_view sqlstate, std::string_view message) {
  if (std::binary_search(std::begin(kFixedMessages), std::end(kFixedMessages), message)) return std::string(message);
  return fmt::format("{} (details withheld: masked columns are involved)", ConditionName(sqlstate));
}

void Append(char type, std::string_view text, std::string* out) {
  out->push_back(type);
  out->append(text).push_back('\0');
}

}  // namespace

std::string ScrubErrorFields(std::string_view body) {
  const std::optional<Fields> parsed = Parse(body);
  const Fields fields = parsed.value_or(Fields{});
  const std::string_view severity = Severity(fields);
  const std::string_view reported = Get(fields, 'C');
  const std::string_view sqlstate = IsSqlstate(reported) ? reported : "XX000";
  std::string scrubbed;
  Append('S', severity, &scrubbed);
  Append('V', severity, &scrubbed);
  Append('C', sqlstate, &scrubbed);
  Append('M', Message(sqlstate, Get(fields, 'M')), &scrubbed);
  // Where the client's own text does not compile; at run time a position would say which call failed.
  const std::string_view position = Get(fields, 'P');
  if (sqlstate.starts_with("42") && IsPosition(position)) Append('P', position, &scrubbed);
  scrubbed.push_back('\0');
  return scrubbed;
}

}  // namespace postern::mask
