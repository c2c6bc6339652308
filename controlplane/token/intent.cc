#include "controlplane/token/intent.h"

#include <algorithm>

#include "common/base/errors.h"
#include "common/policy/pattern.h"
#include "common/policy/vocabulary.h"
#include "fmt/format.h"

namespace postern::grant {
namespace {

constexpr size_t kLongestReason = 500;  // characters
constexpr int kMostVerbs = 40;
constexpr int kMostObjects = 40;
constexpr size_t kLongestObject = 127;  // schema.relation: two names of 63
constexpr size_t kLongestPerson = 254;  // an e-mail address
constexpr int64_t kLongestTtl = 24 * 3600;

absl::Status Invalid(std::string_view what, std::string_view hint = {}) {
  return Error(absl::StatusCode::kInvalidArgument, "INVALID_INTENT", what, hint);
}

bool HasControlCharacters(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

// Characters of UTF-8 text, which proto3 strings are: every byte but the continuations.
size_t Characters(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](unsigned char c) { return (c & 0xc0) != 0x80; }));
}

absl::Status ValidateVerbs(const v1::Intent& intent) {
  if (intent.do__size() == 0) return Invalid("do is missing", "name verbs, e.g. select, or all");
  if (intent.do__size() > kMostVerbs) return Invalid(fmt::format("do has more than {} verbs", kMostVerbs));
  for (const std::string& verb : intent.do_()) {
    if (policy::VerbsOf(verb).has_value()) continue;
    const std::string near = policy::NearestVerb(verb);
    return Invalid(fmt::format("there is no verb {:?}", std::string_view(verb).substr(0, 40)),
                   near.empty() ? "use verbs as in policy: select, insert, update, delete, …, or all"
                                : fmt::format("did you mean {}?", near));
  }
  return absl::OkStatus();
}

absl::Status ValidateObjects(const v1::Intent& intent) {
  if (intent.objects_size() > kMostObjects)
    return Invalid(fmt::format("objects has more than {} entries", kMostObjects));
  for (const std::string& object : intent.objects()) {
    if (object.empty() || object.size() > kLongestObject || HasControlCharacters(object)) {
      return Invalid("objects has an entry that is not a schema.relation pattern", "e.g. app.orders or app.*");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateIntent(const v1::Intent& intent) {
  if (intent.target().empty()) return Invalid("target is missing", "`postern target list` shows them");
  const size_t reason = Characters(intent.reason());
  if (reason == 0 || reason > kLongestReason) {
    return Invalid(fmt::format("reason must be 1 to {} characters", kLongestReason), "say why, in a sentence");
  }
  // An approver reads it in a terminal.
  if (HasControlCharacters(intent.reason())) return Invalid("reason has control characters");
  if (HasControlCharacters(intent.database())) return Invalid("database has control characters");
  if (intent.ttl_seconds() < 0 || intent.ttl_seconds() > kLongestTtl) {
    return Invalid(fmt::format("ttl_seconds must be 0 to {}", kLongestTtl));
  }
  if (intent.on_behalf_of().size() > kLongestPerson || HasControlCharacters(intent.on_behalf_of())) {
    return Invalid("on_behalf_of is not a person's id");
  }
  if (absl::Status status = ValidateVerbs(intent); !status.ok()) return status;
  return ValidateObjects(intent);
}

bool MayActFor(const std::vector<std::string>& may_act_for, std::string_view person) {
  return std::any_of(may_act_for.begin(), may_act_for.end(),
                     [person](const std::string& pattern) { return policy::Pattern(pattern).Matches(person); });
}

}  // namespace postern::grant
