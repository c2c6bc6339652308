// ParseSubject(): the text that `--as` takes.
#include <algorithm>
#include <string>
#include <string_view>

#include "common/base/errors.h"
#include "common/policy/policy.h"
#include "fmt/format.h"

namespace postern::policy {
namespace {

constexpr std::string_view kExample =
    "write agent[/on_behalf_of][@group,group], e.g. support-bot/z@example.com@support";

absl::Status BadSubject(std::string_view text, std::string_view why) {
  return Error(absl::StatusCode::kInvalidArgument, "SUBJECT_INVALID", fmt::format("`{}` is no subject: {}", text, why),
               kExample);
}

// Where the groups begin in what follows the agent. People have addresses with an `@` of their own: a single `@` starts
// groups only if no dot follows, for a domain has one and a group has not.
size_t GroupsAt(std::string_view rest, bool has_person) {
  const size_t last = rest.rfind('@');
  if (!has_person || last == std::string_view::npos) return last;
  const bool single = rest.find('@') == last;
  const bool is_domain =
      rest.find('.', last) != std::string_view::npos && rest.find(',', last) == std::string_view::npos;
  return single && is_domain ? std::string_view::npos : last;
}

}  // namespace

absl::StatusOr<Subject> ParseSubject(std::string_view text) {
  Subject subject;
  const size_t slash = text.find('/');
  const size_t agent_end = std::min(slash, text.find('@'));
  const bool has_person = slash != std::string_view::npos && agent_end == slash;
  subject.agent = std::string(text.substr(0, agent_end));
  if (subject.agent.empty()) return BadSubject(text, "it names no agent");
  std::string_view rest = agent_end == std::string_view::npos ? "" : text.substr(agent_end + (has_person ? 1 : 0));

  const size_t groups_at = GroupsAt(rest, has_person);
  if (has_person) {
    subject.on_behalf_of = std::string(rest.substr(0, groups_at));
    if (subject.on_behalf_of.empty()) return BadSubject(text, "nobody stands after `/`");
  } else if (groups_at != std::string_view::npos && groups_at != 0) {
    return BadSubject(text, "it has two `@` without a person after `/`");
  }
  if (groups_at == std::string_view::npos) return subject;
  rest.remove_prefix(groups_at + 1);
  while (true) {
    const size_t comma = rest.find(',');
    const std::string_view group = rest.substr(0, comma);
    if (group.empty()) return BadSubject(text, "a group's name is empty");
    subject.groups.emplace_back(group);
    if (comma == std::string_view::npos) return subject;
    rest.remove_prefix(comma + 1);
  }
}

}  // namespace postern::policy
