// WhoCan(): a question turned round. Not "what may this agent do", but "who may do this, by which rule, under which
// conditions".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/policy/policy.h"
#include "common/policy/vocabulary.h"

namespace postern::policy {

struct WhoCanQuery {
  VerbSet verbs;
  // Of a relation or function. `name` empty: an operation without an object (do_block, load).
  std::string schema;
  std::string name;
  // Optional: only this column of it counts.
  std::string column;
};

// "update" or a group of verbs, and schema.relation[.column]; a bare name is of schema public.
//   INVALID_ARGUMENT/QUERY_INVALID, which says what is wrong.
absl::StatusOr<WhoCanQuery> ParseWhoCan(std::string_view verb, std::string_view object);

// One way: the subjects that one matcher of a policy speaks of, by one rule.
struct Way {
  sql::Operation verb = sql::Operation::kSelect;
  v1::SubjectMatcher subject;
  v1::TargetMatcher targets;
  std::string role;  // of the policy's sessions; empty: the target's default
  // Not the object itself but what gives at it: "view app.v (email)", "parent table app.orders", "partition app.o_1".
  std::string through;
  // Empty rule: the operation needs none, and the policy's name stands for it.
  RuleRef rule;
  // kDeny: a deny rule takes it back from all of them; kHold: each statement waits for people.
  Verdict verdict = Verdict::kAllow;
  // The rule that decides that, where it is another one.
  RuleRef decided_by;
  // kHold: whose approval, in words.
  std::string approval;
  // What a statement must look like, in words.
  std::vector<std::string> conditions;
  // Columns in words, if the rule does not cover all: "only id, status", "all but email".
  std::string columns;
  // Masked columns that the answer is about: "email: hash by p/r (p.yaml:9)".
  std::vector<std::string> masks;
  // Rules of other policies that hold or deny it for some of these subjects or targets, or of some columns.
  std::vector<std::string> unless;
};

// Every way, sorted by verb, policy and rule; those that are taken back come with the rest, as kDeny. With a catalog
// also through views, parents and partitions; nullptr: by names alone.
std::vector<Way> WhoCan(const std::vector<v1::Policy>& policies, const WhoCanQuery& query, const sql::Catalog* catalog);

// What one grant may do of it at best: with a statement that meets every condition of shape. `compiled` is of
// `policies`.
Decision CanAtBest(const CompiledPolicy& compiled, const std::vector<v1::Policy>& policies, const Subject& subject,
                   const TargetView& target, const IntentView& intent, sql::Operation verb, const WhoCanQuery& query,
                   const sql::Catalog* catalog);

// "agent support-bot, on behalf of *@example.com, in group agents".
std::string MatcherInWords(const v1::SubjectMatcher& subject);
// "database orders, env prod"; "any".
std::string TargetsInWords(const v1::TargetMatcher& targets);

}  // namespace postern::policy
