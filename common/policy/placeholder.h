// What policy's `in_expression: placeholder` makes of a refused text.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/policy/policy.h"
#include "common/sql/placeholder.h"

namespace postern::policy {

// A text that is forwarded in place of another, in which NULL stands for masked columns. It was analysed and judged
// like any text: that alone decides what it may do.
struct PlaceholderText {
  std::string text;
  std::vector<sql::TextEdit> edits;  // of the text before
  sql::Analysis analysis;
  std::vector<Decision> decisions;
  // "app.customers.email: placeholder", for people and the audit log.
  std::vector<std::string> columns;
};

// Who asks, where and for what.
struct Asking {
  const Subject& subject;
  const TargetView& target;
  const IntentView& intent;
};

// nullopt: nothing is to be gained, because `decisions` (of `analysis`, which is that of `text`) deny for other reasons
// or for none, or because it cannot be done; the hints of `decisions` then say why.
std::optional<PlaceholderText> WithPlaceholders(const CompiledPolicy& policy, const Asking& asking,
                                                std::string_view text, const sql::Analysis& analysis,
                                                const sql::Catalog& catalog, const sql::SessionView& session,
                                                const sql::AnalysisOptions& options, std::vector<Decision>* decisions);

}  // namespace postern::policy
