// The compiled form of policies, shared by the parts of this room that judge, and the questions they ask of a rule.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "common/policy/pattern.h"
#include "common/policy/policy.h"
#include "common/policy/vocabulary.h"
#include "common/sql/analysis.h"
#include "common/sql/catalog.h"

namespace postern::policy {

// An empty pattern was not set and matches everything.
struct CompiledSubject {
  Pattern agent;
  Pattern on_behalf_of;
  Pattern group;
};

struct CompiledMask {
  Pattern schema;
  Pattern relation;
  Pattern column;
  v1::MaskStrategy strategy = v1::MASK_STRATEGY_REDACT;
  // How conditions may use the column: see v1::MaskRule.
  bool lookup = false;
  int64_t count_min = 0;
  int64_t probes_max = kDefaultProbesMax;
  bool placeholder = false;
  RuleRef ref;
};

// Names of columns; no columns: any.
struct ColumnPattern {
  Pattern schema;
  Pattern relation;
  Pattern column;
};

struct CompiledDetect {
  DetectorSet find;
  bool alarm = false;
  std::vector<ColumnPattern> columns, except;
};

struct CompiledRule {
  RuleRef ref;
  v1::RuleEffect effect = v1::RULE_EFFECT_DENY;
  bool on_token = false;
  VerbSet verbs;
  // Those of `verbs` that `do` names itself or by a group other than `all`.
  VerbSet named_verbs;
  std::vector<ObjectPattern> objects;
  // Some pattern of `objects` is `*`, or there are none.
  bool any_object = true;
  std::vector<ObjectPattern> functions;
  std::vector<std::string> only;
  std::vector<std::string> except;
  std::vector<std::string> where_on;
  int64_t limit_max = 0;
  bool where = false;
  int64_t rows_max = 0;
  HoldTerms hold;

  bool grants() const { return effect != v1::RULE_EFFECT_DENY; }
};

// Rules are sorted by id and policies by name, so that "the first" never depends on the order in files.
struct CompiledDocument {
  std::string name;
  std::string path;
  std::vector<CompiledSubject> subjects;
  std::vector<Pattern> databases, env, names;
  v1::SessionSettings session;
  // Each with its begin.
  std::vector<std::pair<absl::Time, FreezeView>> freezes;
  std::vector<CompiledRule> rules;
  std::vector<CompiledMask> masks;
  std::vector<CompiledDetect> detects;

  bool Matches(const Subject& subject, const TargetView& target) const;
};

struct CompiledPolicy::Impl {
  int64_t revision = 0;
  std::vector<CompiledDocument> documents;
};

// The policies that speak of a subject on a target.
using Matching = absl::InlinedVector<const CompiledDocument*, 8>;
Matching MatchingDocuments(const std::vector<CompiledDocument>& documents, const Subject& subject,
                           const TargetView& target);

// The rule that covers every effect there could be, when nothing that these policies say, nor the intent, could refuse,
// hold, mask, limit or pin anything; else nullptr.
const CompiledRule* RuleOfEverything(const Matching& matching, const IntentView& intent);

// Everything that one of `inner` matches is matched by one of `outer`. No patterns match everything.
bool AllWithin(const std::vector<Pattern>& inner, const std::vector<Pattern>& outer);
// Some text is matched by one of each.
bool Overlap(const std::vector<Pattern>& a, const std::vector<Pattern>& b);

CompiledDocument CompileDocument(const v1::Policy& policy);

// Fills decision->detections and `detect_rest`.
void FindDetections(const Matching& matching, const sql::Statement& statement, const sql::Catalog& catalog,
                    Decision* decision);

// Tables that a relation is a part of, and its partitions and inheritance children; not the relation itself.
using Relations = absl::InlinedVector<const sql::Relation*, 4>;
Relations RelativesOf(const sql::Relation& relation, const sql::Catalog& catalog);

// One effect with what rules ask about it.
struct EffectView {
  const sql::Effect& effect;
  const sql::Statement& statement;
  // What restricts them restricts this effect: rows of a part come out of the whole, and the other way round.
  Relations relatives;
  // Shape speaks of one relation: WHERE and LIMIT prove nothing for a statement that reads or writes others.
  bool lone_relation = true;
};

// "agent support-bot on behalf of z@example.com".
std::string SubjectInWords(const Subject& subject);
// The object of an effect for people: "app.orders", "function pg_sleep", "".
std::string ObjectName(const sql::Effect& effect);
// "delete on app.orders", "do_block".
std::string EffectName(const sql::Effect& effect);

// "app.customers.email"; of a whole row "app.customers.*".
std::string ColumnName(sql::ColumnId column, const sql::Catalog& catalog);

// The rule's objects (or functions) include the effect's object, by its own name. What a grant needs.
bool ObjectCovered(const CompiledRule& rule, const sql::Effect& effect);
// The rule's objects include it, one of its relatives, or something inside it (a schema's). What restricts.
bool ObjectTouched(const CompiledRule& rule, const EffectView& view);
// Some column that the effect uses is one of columns.only, or there is no such list.
bool ColumnsTouched(const CompiledRule& rule, const sql::Effect& effect);

// What keeps a rule, whose verb and object fit, from covering an effect.
struct Obstacle {
  std::string condition;         // "needs a WHERE on customer_id"
  std::string statement_change;  // "restrict customer_id by = or IN in the WHERE clause"
};
// The first condition that fails; nullopt: the rule covers the effect. Texts are made only `with_text`.
std::optional<Obstacle> FirstObstacle(const CompiledRule& rule, const EffectView& view, bool with_text);

// A read of the system catalogs, which clients cannot work without and which shows no user's rows.
bool IsCatalogRead(const sql::Effect& effect);
// Allowed without a rule to every subject that some policy matches.
bool NeedsNoRule(const sql::Effect& effect);

// The verbs of an intent; words that are no verbs add nothing. `all` is everything, named permissions included.
VerbSet IntentVerbs(const IntentView& intent);

// What matching rules would allow on the effect's object, as a hint; "" when nothing.
std::string AllowedInstead(const Matching& matching, const sql::Effect& effect);
// "select of id, total with a WHERE on customer_id and a LIMIT of at most 200 (held for support-leads)".
std::string RuleInWords(const CompiledRule& rule, VerbSet verbs);
// "support-desk/lookup (support-desk.yaml:9)".
std::string RuleWithPlace(const RuleRef& ref);

}  // namespace postern::policy
