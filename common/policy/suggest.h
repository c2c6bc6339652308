// Suggest(): the least policy under which a recorded session would run again.
//
// What the audit log says that a statement did (its effects, as they were resolved at the time) is what it gets: those
// verbs on those relations and functions, those columns, the conditions that all of the recorded statements met, and
// every mask that held. What was refused stays refused, what was held stays held.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/policy/policy.h"
#include "postern/v1/audit.pb.h"

namespace postern::policy {

struct SuggestOptions {
  // Name of the policy; of several, each gets a number. Policies are one for each agent, person, target and database.
  std::string name = "suggested";
  // The policies under which it was recorded: masks, session terms, approvals and row limits are taken from them. None:
  // masks come from what the records say of their outputs.
  std::vector<v1::Policy> existing;
  // Finds a target's catalog; one that is not known makes names count as recorded.
  const CatalogSource* catalogs = nullptr;
  // Environment labels of targets by name, for `existing` that names them.
  std::map<std::string, std::string> env_of_target;
  // Groups of the agent by grant id. For a grant that is not here, policies for any group count for masks, and for
  // session terms those that decided something.
  std::map<std::string, std::vector<std::string>> groups_of_grant;
  // Groups that approve what was held, where `existing` does not say.
  std::vector<std::string> hold_by;
  // Require what all recorded statements had: WHERE on given columns, a LIMIT, a WHERE at all.
  bool conditions = true;
};

struct Suggestion {
  // Policies in YAML, with comments and tests; "" when nothing was recorded that needs any.
  std::string yaml;
  int statements = 0;  // recorded executions that are covered
  int denied = 0;      // executions that were refused and are left out
  // Recorded statements that the suggestion does not allow as they were, and why.
  std::vector<std::string> problems;
};

// `records` in the order in which they were logged; other kinds than STATEMENT_INTENT are passed over.
//   FAILED_PRECONDITION/MASK_UNPLACED: a mask held, and of which column cannot be told without the policies or a
//   catalog; HOLD_UNKNOWN: something was held, and nobody says by whom it is approved.
absl::StatusOr<Suggestion> Suggest(const std::vector<v1::AuditRecord>& records, const SuggestOptions& options);

}  // namespace postern::policy
