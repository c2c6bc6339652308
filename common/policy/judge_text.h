// Judging a text of SQL as `policy test` and `policy explain` do: with a catalog when there is one, and otherwise
// taking relations as they are named.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/policy/placeholder.h"
#include "common/policy/policy.h"

namespace postern::policy {

struct JudgedText {
  sql::Analysis analysis;
  std::vector<Decision> decisions;  // parallel to analysis.statements
  // Index of the first statement with the worst verdict; 0 also for an empty text.
  size_t decisive = 0;
  Verdict verdict = Verdict::kDeny;
  // Set where placeholders stand for masked columns: the above is then of its text.
  std::optional<PlaceholderText> changed;
};

// `catalog` may be nullptr. Everything that policy grants counts as asked for.
absl::StatusOr<JudgedText> JudgeText(const CompiledPolicy& policy, const Subject& subject, const TargetView& target,
                                     std::string_view text, const sql::Catalog* catalog);

std::string_view VerdictName(Verdict verdict);

}  // namespace postern::policy
