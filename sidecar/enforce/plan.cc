// What a plan says to the client.
#include <algorithm>

#include "fmt/format.h"
#include "sidecar/enforce/enforcer.h"

namespace postern::sidecar {

Plan::Refusal Plan::DenyFields() const {
  if (refusal) return *refusal;
  Refusal fields;
  fields.sqlstate = "42501";
  if (analysis == nullptr || decisive >= decisions.size()) {
    fields.message = "postern: the statement is refused";
    return fields;
  }
  const policy::Decision& decision = decisions[decisive];
  const std::string& tag = analysis->statements[decisive].tag;
  std::string what = tag.empty() ? "the statement" : tag;
  if (decisions.size() > 1) {
    what = fmt::format("statement {} of {}{}", decisive + 1, decisions.size(),
                       tag.empty() ? "" : fmt::format(" ({})", tag));
  }
  if (decision.reason_code == policy::kReasonUnanalysable) {
    fields.message = fmt::format("postern: {} cannot be analysed", what);
  } else if (decision.verdict == policy::Verdict::kHold) {
    fields.message = fmt::format("postern: {} needs an approval", what);
  } else {
    fields.message = fmt::format("postern: {} is not allowed", what);
  }
  fields.detail = decision.reason;
  fields.hint = decision.hint;
  return fields;
}

bool WritesSentinel(const Plan& plan, const std::vector<std::optional<std::string>>& values) {
  if (plan.analysis == nullptr) return false;
  const auto& statements = plan.analysis->statements;
  if (std::none_of(statements.begin(), statements.end(), [](const sql::Statement& s) { return s.writes; }))
    return false;
  return std::any_of(values.begin(), values.end(),
                     [](const auto& value) { return value && mask::Masker::IsSentinel(*value); });
}

Plan::Refusal SentinelRefusal() {
  return {"42501", "postern: a masked value would be written", "a value of the statement is what a mask put out",
          "Leave columns out that you have read masked; their data would be lost.", 0};
}

}  // namespace postern::sidecar
