// Policy: from YAML to a decision.
//
//   Load()      YAML documents → postern.v1.Policy messages, with the line of each rule; unknown keys are errors.
//   Compile()   messages → CompiledPolicy, immutable, shared between threads.
//   Judge()     who + where + what the statement does → Decision.
//
// Judging is order-independent: deny > hold > allow > (nothing matched) deny. A statement is a set of effects; each
// must be covered by an allow or hold rule whose conditions hold, and by no deny rule. The grant's intent narrows it
// further.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/policy/detectors.h"
#include "common/sql/analysis.h"
#include "common/sql/catalog.h"
#include "postern/v1/policy.pb.h"

namespace postern::policy {

// Who asks, as the verified grant (or --as) says.
struct Subject {
  std::string agent;
  std::string on_behalf_of;
  std::vector<std::string> groups;
};

struct TargetView {
  std::string name;
  std::string database;
  std::string env;
};

// What the grant was asked for. Narrowing only: it never adds.
struct IntentView {
  std::vector<std::string> verbs;    // "all" or verbs and groups as in policy
  std::vector<std::string> objects;  // schema.relation patterns; empty: any
};

enum class Verdict : uint8_t { kAllow, kHold, kDeny };

struct RuleRef {
  std::string policy;
  std::string rule;
  std::string path;
  int line = 0;
  std::string message;
  // "policy/rule", or "" when no rule decided.
  std::string ToString() const;
};

struct HoldTerms {
  std::vector<std::string> groups;
  int approvals = 1;
  int64_t request_ttl_seconds = 1800;
  int64_t use_within_seconds = 300;
  // All of the rule's terms, defaults filled in; nullptr where no hold rule decided. With steps, `groups` are those of
  // all steps, and `approvals` is what is needed at most (every step) or at least (any step).
  std::shared_ptr<const v1::HoldSettings> settings;
};

// A change freeze that is in force.
struct FreezeView {
  std::string policy;
  std::string name;
  std::string message;
  absl::Time until;
};

struct EffectDecision {
  Verdict verdict = Verdict::kDeny;
  RuleRef rule;
  // For a deny without a deny rule: each rule that nearly matched and the first condition that failed.
  std::vector<std::string> near_misses;
  // Of a deny: the least that would flip it, in words.
  std::string smallest_change;
};

// Machine-readable reasons of a deny: Decision::reason_code.
inline constexpr std::string_view kReasonNoRule = "NO_RULE";
inline constexpr std::string_view kReasonDenyRule = "DENY_RULE";
inline constexpr std::string_view kReasonIntent = "OUTSIDE_INTENT";
inline constexpr std::string_view kReasonMaskedExpression = "MASKED_IN_EXPRESSION";
inline constexpr std::string_view kReasonMaskedPredicate = "MASKED_IN_PREDICATE";
inline constexpr std::string_view kReasonMaskedStore = "MASKED_STORED";
inline constexpr std::string_view kReasonMaskSentinel = "MASK_SENTINEL_WRITTEN";
inline constexpr std::string_view kReasonUnanalysable = "UNANALYSABLE";
inline constexpr std::string_view kReasonPinned = "SETTING_PINNED";
inline constexpr std::string_view kReasonProbesSpent = "PROBES_SPENT";

// A mask's probes_max where policy gives none.
inline constexpr int64_t kDefaultProbesMax = 100;

// A mask that an output column gets.
struct OutputMask {
  int column = 0;  // index in Statement::outputs
  sql::ColumnId origin;
  v1::MaskStrategy strategy = v1::MASK_STRATEGY_REDACT;
};

// What the values of an output column are searched for.
struct Detection {
  DetectorSet find;
  DetectorSet alarm;  // of those, the ones of which the audit log has an ALARM
};

struct Decision {
  Verdict verdict = Verdict::kDeny;
  // The decisive rule: the deny or hold rule, or the first allow rule.
  RuleRef rule;
  std::string reason_code;
  // One sentence for the agent: which effect, why. DETAIL on the wire.
  std::string reason;
  // What would be allowed. HINT on the wire.
  std::string hint;

  std::vector<OutputMask> masks;
  // Parallel to Statement::outputs, or empty: none is searched. `detect_rest` is for results whose columns are not
  // known.
  std::vector<Detection> detections;
  Detection detect_rest;
  bool detects() const { return !detections.empty() || !detect_rest.find.empty(); }
  // Masked columns that conditions test because policy lets them, and how: for explain.
  std::vector<std::string> probes;
  // Set with `probes`: how many tests of masked columns one grant may make (the least of the masks' probes_max). Each
  // execution counts one, or, where more, each given value that one of `looked_up` is compared with.
  std::optional<int64_t> probes_max;
  std::vector<sql::ColumnId> looked_up;
  // Of a deny because of what becomes of masked columns in the statement: those for which policy lets placeholders
  // stand (common/policy/placeholder.h). Sorted; empty when they cannot help.
  std::vector<sql::ColumnId> placeholders;
  // Statement touches a masked column (or a relation that has one): errors and notices are scrubbed.
  bool sensitive = false;
  HoldTerms hold;
  std::optional<int64_t> affected_rows_max;
  // Audit mode of the policies that matched: "strict", "relaxed" or "" (writes strict).
  std::string audit;
  // Policy allows whatever a statement may be: every verb and named permission on everything, no deny, hold, mask,
  // limit or pinned setting, and an intent as wide. Only then does a statement that is not understood run.
  bool everything = false;

  // Parallel to Statement::effects.
  std::vector<EffectDecision> effects;
};

// What a session starts with, combined over the matching policies (the strictest of each).
struct SessionTerms {
  std::string role;  // empty: the target's default
  int64_t ttl_seconds = 600;
  int64_t statement_timeout_ms = 0;
  int64_t on_disconnect_seconds = 0;  // 0: what is held is withdrawn when its client goes
  bool read_only = false;
  // False: no policy speaks of this subject on this target at all.
  bool matched = false;
};

// A value of statement_timeout and its like in milliseconds: "500", "5s", "1.5 min". nullopt: not one.
std::optional<int64_t> TimeoutMilliseconds(std::string_view value);

// A token request's verdict. Allowed if some allow or hold rule could match it; `hold` if an `on: token` hold rule
// does.
struct TokenDecision {
  Verdict verdict = Verdict::kDeny;
  RuleRef rule;
  std::string reason;
  std::string hint;
  HoldTerms hold;
  SessionTerms session;
};

class CompiledPolicy {
 public:
  // INVALID_ARGUMENT/POLICY_INVALID on a message that lint would refuse.
  static absl::StatusOr<std::shared_ptr<const CompiledPolicy>> Compile(const v1::PolicySet& set);

  int64_t revision() const;

  // Judges one statement. `catalog` maps masked column names to what lineage speaks of.
  Decision Judge(const Subject& subject, const TargetView& target, const IntentView& intent,
                 const sql::Statement& statement, const sql::Catalog& catalog) const;

  TokenDecision JudgeToken(const Subject& subject, const TargetView& target, const IntentView& intent,
                           int64_t ttl_seconds) const;

  SessionTerms TermsFor(const Subject& subject, const TargetView& target) const;

  // The freeze of some policy that speaks of them which holds at `now`; of several the one that ends last.
  std::optional<FreezeView> FreezeAt(const Subject& subject, const TargetView& target, absl::Time now) const;

  // True if every decision for them is Decision::everything.
  bool AllowsEverything(const Subject& subject, const TargetView& target, const IntentView& intent) const;

  // Columns that are masked for this subject on this target, by origin. Empty strategy never appears. Used to check
  // RowDescription whatever analysis said. Includes columns of descendants (partitions) and inheritance children.
  std::map<sql::ColumnId, v1::MaskStrategy> MaskedColumns(const Subject& subject, const TargetView& target,
                                                          const sql::Catalog& catalog) const;

 private:
  struct Impl;
  explicit CompiledPolicy(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

// Loads YAML. Every problem is a finding with file and line; the policies are complete only without ERROR findings.
struct LoadResult {
  std::vector<v1::Policy> policies;
  std::vector<v1::PolicyFinding> findings;
  bool ok() const;
};
LoadResult Load(const std::vector<v1::PolicyDocument>& documents);

// Lint beyond loading: rules that can never match, shadowed rules, masks of columns that do not exist (with a catalog).
std::vector<v1::PolicyFinding> Lint(const std::vector<v1::Policy>& policies, const sql::Catalog* catalog);

// Finds the catalog of a database for tests and explain; nullptr: none known, relations are taken as named.
class CatalogSource {
 public:
  virtual ~CatalogSource() = default;
  virtual std::shared_ptr<const sql::Catalog> Find(std::string_view target, std::string_view database) const = 0;
};

// Runs the embedded tests of `policies` against the whole set.
std::vector<v1::PolicyTestResult> RunTests(const std::vector<v1::Policy>& policies, const CatalogSource& catalogs);

// Explains a statement: effects, deciding rules with file and line, near misses, smallest change.
absl::StatusOr<v1::ExplainPolicyResponse> Explain(const CompiledPolicy& policy, const Subject& subject,
                                                  const TargetView& target, std::string_view sql,
                                                  const sql::Catalog* catalog);

// Parses agent[/on_behalf_of][@group,group] of `--as`.
absl::StatusOr<Subject> ParseSubject(std::string_view text);

}  // namespace postern::policy
