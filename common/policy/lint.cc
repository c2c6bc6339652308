// Lint(): what is valid but surely not meant.
#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/policy/check.h"
#include "common/policy/compiled.h"
#include "common/policy/findings.h"
#include "common/policy/policy.h"
#include "fmt/format.h"

namespace postern::policy {
namespace {

using sql::Operation;

constexpr VerbSet kRowVerbs = VerbSet(Operation::kSelect) | VerbSet(Operation::kInsert) | VerbSet(Operation::kUpdate) |
                              VerbSet(Operation::kDelete) | VerbSet(Operation::kTruncate);
constexpr VerbSet kWriteVerbs = VerbSet(Operation::kInsert) | VerbSet(Operation::kUpdate) | VerbSet(Operation::kDelete);

// Fewer rows than this are soon one person.
constexpr int64_t kSmallGroup = 5;

bool IsSubset(const std::vector<ObjectPattern>& inner, const CompiledRule& outer) {
  return std::all_of(inner.begin(), inner.end(), [&](const ObjectPattern& object) {
    return std::any_of(outer.objects.begin(), outer.objects.end(),
                       [&](const ObjectPattern& pattern) { return pattern.Includes(object); });
  });
}

// Everything that `inner` may match is matched by `outer`, whatever the statement.
bool Includes(const CompiledRule& outer, const CompiledRule& inner) {
  const bool unconditional = outer.only.empty() && outer.except.empty() && outer.where_on.empty() &&
                             outer.limit_max == 0 && !outer.where && outer.rows_max == 0 && outer.functions.empty();
  const bool objects = outer.any_object || (!inner.any_object && IsSubset(inner.objects, outer));
  return outer.on_token == inner.on_token && unconditional && outer.verbs.ContainsAll(inner.verbs) && objects;
}

// Columns that every table has and no catalog lists.
bool IsSystemColumn(std::string_view column) {
  for (const std::string_view system : {"tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"}) {
    if (column == system) return true;
  }
  return false;
}

// `document` speaks of every subject on every target that `other` speaks of.
bool SpeaksOfAll(const CompiledDocument& document, const CompiledDocument& other) {
  if (!AllWithin(other.databases, document.databases) || !AllWithin(other.env, document.env) ||
      !AllWithin(other.names, document.names)) {
    return false;
  }
  return std::all_of(other.subjects.begin(), other.subjects.end(), [&](const CompiledSubject& subject) {
    return std::any_of(document.subjects.begin(), document.subjects.end(), [&](const CompiledSubject& each) {
      return each.agent.Matches(subject.agent.text()) && each.on_behalf_of.Matches(subject.on_behalf_of.text()) &&
             each.group.Matches(subject.group.text());
    });
  });
}

class PolicyLint {
 public:
  // `others`: all policies of the set, this one among them.
  PolicyLint(const v1::Policy& policy, const std::vector<CompiledDocument>& others, const sql::Catalog* catalog,
             std::vector<v1::PolicyFinding>* findings)
      : policy_(policy),
        compiled_(CompileDocument(policy)),
        others_(others),
        catalog_(catalog),
        sink_(policy.path(), findings) {}

  void Run() {
    if (policy_.rules().empty()) sink_.Warning(1, fmt::format("policy `{}` has no rules", policy_.name()));
    const v1::TargetMatcher& targets = policy_.targets();
    if (targets.databases().empty() && targets.env().empty() && targets.names().empty()) {
      sink_.Warning(1, fmt::format("policy `{}` has no `targets`, so it holds on every target", policy_.name()));
    }
    for (const CompiledRule& rule : compiled_.rules) {
      CheckShadowed(rule);
      CheckShadowedByOthers(rule);
      CheckGrants(rule);
      CheckUse(rule);
      if (catalog_ != nullptr) CheckNames(rule);
    }
    for (const CompiledMask& mask : compiled_.masks) CheckMask(mask);
  }

 private:
  void Warn(const CompiledRule& rule, const std::string& message) {
    sink_.Warning(rule.ref.line, fmt::format("rule `{}` {}", rule.ref.rule, message));
  }

  // Its masks hold whatever becomes of the rule.
  bool CarriesMasks(const CompiledRule& rule) const {
    return std::any_of(compiled_.masks.begin(), compiled_.masks.end(),
                       [&](const CompiledMask& mask) { return mask.ref.rule == rule.ref.rule; });
  }

  // Rules of other policies that deny all of it to all whom this policy speaks of.
  void CheckShadowedByOthers(const CompiledRule& rule) {
    if (!rule.grants()) return;
    for (const CompiledDocument& document : others_) {
      if (document.name == compiled_.name || !SpeaksOfAll(document, compiled_)) continue;
      for (const CompiledRule& other : document.rules) {
        if (other.grants() || !Includes(other, rule)) continue;
        Warn(rule, fmt::format("can never match: {} denies all of it", RuleWithPlace(other.ref)));
        return;
      }
    }
  }

  void CheckShadowed(const CompiledRule& rule) {
    for (const CompiledRule& other : compiled_.rules) {
      if (&other == &rule || !Includes(other, rule)) continue;
      if (!other.grants() && rule.grants()) {
        Warn(rule, fmt::format("can never match: `{}` (line {}) denies all of it", other.ref.rule, other.ref.line));
        return;
      }
      const bool held = other.effect == v1::RULE_EFFECT_HOLD && rule.effect == v1::RULE_EFFECT_ALLOW;
      if (held && !CarriesMasks(rule) && rule.rows_max == 0) {
        Warn(rule, fmt::format("never decides: `{}` (line {}) holds all of it", other.ref.rule, other.ref.line));
        return;
      }
      // Of two that say the same, one is enough; name the later.
      const bool same = other.effect == rule.effect && (!Includes(rule, other) || other.ref.line < rule.ref.line);
      if (same && rule.rows_max == 0 && !CarriesMasks(rule)) {
        Warn(rule,
             fmt::format("adds nothing to `{}` (line {}), which matches all of it", other.ref.rule, other.ref.line));
        return;
      }
    }
    const bool none_left = !rule.only.empty() && std::all_of(rule.only.begin(), rule.only.end(), [&](const auto& c) {
      return std::find(rule.except.begin(), rule.except.end(), c) != rule.except.end();
    });
    if (none_left) Warn(rule, "can never match: `columns.except` takes away every column of `columns.only`");
  }

  void CheckGrants(const CompiledRule& rule) {
    const VerbSet named = rule.verbs & NamedPermissions();
    if (rule.effect == v1::RULE_EFFECT_ALLOW && !named.empty()) {
      Warn(rule,
           fmt::format("grants {}, which can lead around other rules; make sure that it is meant", named.ToString()));
    }
    if (rule.effect != v1::RULE_EFFECT_ALLOW || !rule.verbs.Contains(Operation::kAlter)) return;
    for (const CompiledMask& mask : compiled_.masks) {
      const bool may_rename =
          rule.any_object || std::any_of(rule.objects.begin(), rule.objects.end(), [&](const ObjectPattern& object) {
            return object.schema().Intersects(mask.schema) && object.name().Intersects(mask.relation);
          });
      if (!may_rename || IsAlterDenied(mask)) continue;
      Warn(rule, fmt::format("grants alter on {}.{}, whose masked column {} could then be renamed; hold it instead",
                             mask.schema.text(), mask.relation.text(), mask.column.text()));
      return;
    }
  }

  // A deny rule of this policy takes ALTER away from all that the mask names.
  bool IsAlterDenied(const CompiledMask& mask) const {
    return std::any_of(compiled_.rules.begin(), compiled_.rules.end(), [&](const CompiledRule& rule) {
      if (rule.grants() || rule.on_token || !rule.only.empty() || !rule.verbs.Contains(Operation::kAlter)) return false;
      return rule.any_object || std::any_of(rule.objects.begin(), rule.objects.end(), [&](const ObjectPattern& object) {
               return object.schema().Matches(mask.schema.text()) && object.name().Matches(mask.relation.text());
             });
    });
  }

  void CheckUse(const CompiledRule& rule) {
    if (rule.rows_max > 0 && !rule.verbs.Intersects(kWriteVerbs)) {
      Warn(rule, "has `affected.rows_max`, but none of insert, update and delete");
    }
    if (rule.limit_max > 0 && !rule.verbs.Contains(Operation::kSelect) && !rule.verbs.Contains(Operation::kCopyOut)) {
      Warn(rule, "has `require.limit_max`, but neither select nor copy_out");
    }
    if (!rule.functions.empty() && !rule.verbs.Contains(Operation::kCall) &&
        !rule.verbs.Contains(Operation::kUnsafeFunction)) {
      Warn(rule, "has `functions`, but neither call nor unsafe_function");
    }
  }

  // Relations that the rule's objects name.
  std::vector<const sql::Relation*> Named(const CompiledRule& rule) const {
    std::vector<const sql::Relation*> named;
    for (const sql::Relation& relation : catalog_->relations()) {
      const bool fits = rule.any_object ||
                        std::any_of(rule.objects.begin(), rule.objects.end(),
                                    [&](const auto& object) { return object.Matches(relation.schema, relation.name); });
      if (fits) named.push_back(&relation);
    }
    return named;
  }

  void CheckNames(const CompiledRule& rule) {
    if (rule.on_token || !rule.verbs.Intersects(kRowVerbs)) return;
    for (const ObjectPattern& object : rule.objects) {
      const bool exists = std::any_of(catalog_->relations().begin(), catalog_->relations().end(),
                                      [&](const auto& r) { return object.Matches(r.schema, r.name); });
      if (!exists) Warn(rule, fmt::format("names {}, and the database has no such relation", object.ToString()));
    }
    const std::vector<const sql::Relation*> named = Named(rule);
    if (named.empty()) return;
    const auto check = [&](const std::vector<std::string>& columns, std::string_view key) {
      for (const std::string& column : columns) {
        const bool exists = IsSystemColumn(column) ||
                            std::any_of(named.begin(), named.end(),
                                        [&](const auto* relation) { return relation->FindColumn(column) != nullptr; });
        if (!exists) Warn(rule, fmt::format("names column {} in `{}`, and none of its relations has it", column, key));
      }
    };
    check(rule.where_on, "require.where_on");
    check(rule.only, "columns.only");
    check(rule.except, "columns.except");
  }

  // Neither key takes an agent long to get around.
  void CheckProbing(const CompiledMask& mask, const std::string& name) {
    if (mask.lookup) {
      sink_.Warning(
          mask.ref.line,
          fmt::format("`lookup` lets every value of {} be found out by trying values, {} of them with each "
                      "grant (`probes_max`); make sure that they are too many to try, and watch the audit log",
                      name, mask.probes_max));
    }
    if (mask.count_min > 0 && mask.count_min < kSmallGroup) {
      sink_.Warning(mask.ref.line, fmt::format("`count_min` of {} is {}: counts of groups that small say much about "
                                               "single rows",
                                               name, mask.count_min));
    }
    if (mask.placeholder && (mask.lookup || mask.count_min > 0)) {
      sink_.Warning(
          mask.ref.line,
          fmt::format("{} has `in_expression: placeholder` beside `lookup` or `count_min`: where another use of a "
                      "masked column needs placeholders, conditions on it meet NULL, and no row",
                      name));
    }
    if (mask.lookup && mask.count_min > 0) {
      sink_.Warning(mask.ref.line, fmt::format("{} has `lookup`, which shows single rows, and so `count_min` hides "
                                               "nothing",
                                               name));
    }
  }

  void CheckMask(const CompiledMask& mask) {
    const std::string name = fmt::format("{}.{}.{}", mask.schema.text(), mask.relation.text(), mask.column.text());
    CheckProbing(mask, name);
    const bool readable = std::any_of(compiled_.rules.begin(), compiled_.rules.end(), [&](const CompiledRule& rule) {
      const bool objects = rule.any_object || std::any_of(rule.objects.begin(), rule.objects.end(), [&](const auto& o) {
                             return o.schema().Intersects(mask.schema) && o.name().Intersects(mask.relation);
                           });
      return rule.grants() && !rule.on_token && objects;
    });
    if (!readable) {
      sink_.Warning(mask.ref.line, fmt::format("{} is masked, but no rule of this policy grants anything on it", name));
    }
    if (catalog_ == nullptr) return;
    bool exists = false;
    for (const sql::Relation& relation : catalog_->relations()) {
      if (!mask.schema.Matches(relation.schema) || !mask.relation.Matches(relation.name)) continue;
      const bool has = std::any_of(relation.columns.begin(), relation.columns.end(),
                                   [&](const sql::Column& column) { return mask.column.Matches(column.name); });
      exists = exists || has;
      if (has && relation.kind == sql::RelationKind::kView) {
        sink_.Warning(mask.ref.line, fmt::format("{} is a view's column: mask the table's column that it shows; until "
                                                 "then reading it is refused",
                                                 name));
      }
    }
    if (!exists) {
      sink_.Warning(mask.ref.line, fmt::format("{} is masked, and the database has no such column", name));
    }
  }

  const v1::Policy& policy_;
  const CompiledDocument compiled_;
  const std::vector<CompiledDocument>& others_;
  const sql::Catalog* const catalog_;
  FindingSink sink_;
};

// Some subject could be spoken of by both on some target. A subject may be in any number of groups.
bool Overlap(const CompiledDocument& a, const CompiledDocument& b) {
  if (!Overlap(a.databases, b.databases) || !Overlap(a.env, b.env) || !Overlap(a.names, b.names)) return false;
  return std::any_of(a.subjects.begin(), a.subjects.end(), [&](const CompiledSubject& x) {
    return std::any_of(b.subjects.begin(), b.subjects.end(), [&](const CompiledSubject& y) {
      return x.agent.Intersects(y.agent) && x.on_behalf_of.Intersects(y.on_behalf_of);
    });
  });
}

// A session has one role: the first policy's by name, which is rarely what the second one meant.
void CheckRoles(const std::vector<v1::Policy>& policies, std::vector<v1::PolicyFinding>* findings) {
  for (size_t i = 0; i < policies.size(); ++i) {
    for (size_t j = i + 1; j < policies.size(); ++j) {
      const std::string& a = policies[i].session().role();
      const std::string& b = policies[j].session().role();
      if (a.empty() || b.empty() || a == b) continue;
      if (!Overlap(CompileDocument(policies[i]), CompileDocument(policies[j]))) continue;
      FindingSink(policies[j].path(), findings)
          .Warning(1, fmt::format("policies `{}` and `{}` may both speak of one subject, but ask for different roles "
                                  "({} and {}); the first by name wins",
                                  policies[i].name(), policies[j].name(), a, b));
    }
  }
}

}  // namespace

std::vector<v1::PolicyFinding> Lint(const std::vector<v1::Policy>& policies, const sql::Catalog* catalog) {
  std::vector<v1::PolicyFinding> findings;
  std::vector<CompiledDocument> documents;
  for (const v1::Policy& policy : policies) documents.push_back(CompileDocument(policy));
  for (const v1::Policy& policy : policies) PolicyLint(policy, documents, catalog, &findings).Run();
  CheckRoles(policies, &findings);
  return findings;
}

}  // namespace postern::policy
