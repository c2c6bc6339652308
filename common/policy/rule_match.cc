// Does a rule speak of an effect, and does it cover it?
#include <algorithm>
#include <string>
#include <utility>

#include "common/policy/compiled.h"
#include "fmt/format.h"

namespace postern::policy {
namespace {

using sql::ObjectKind;
using sql::Operation;

constexpr size_t kMaxAncestors = 64;

bool MatchesAny(const std::vector<ObjectPattern>& patterns, std::string_view schema, std::string_view name) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const ObjectPattern& pattern) { return pattern.Matches(schema, name); });
}

const std::string& SchemaOf(const sql::Effect& effect) { return effect.name.empty() ? effect.schema : effect.name; }

bool Contains(const std::vector<std::string>& list, const std::string& text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

bool IsRowOperation(Operation operation) {
  switch (operation) {
    case Operation::kSelect:
    case Operation::kUpdate:
    case Operation::kDelete:
    case Operation::kLock:
    case Operation::kCopyOut:
      return true;
    default:
      return false;
  }
}

bool IsUpdateOrDelete(Operation operation) {
  return operation == Operation::kUpdate || operation == Operation::kDelete;
}

std::optional<Obstacle> Make(bool with_text, std::string condition, std::string change) {
  if (!with_text) return Obstacle();
  return Obstacle{std::move(condition), std::move(change)};
}

std::optional<Obstacle> ColumnObstacle(const CompiledRule& rule, const sql::Effect& effect, bool with_text) {
  if (rule.only.empty() && rule.except.empty()) return std::nullopt;
  if (effect.all_columns) {
    if (!with_text) return Obstacle();
    return Obstacle{
        rule.only.empty()
            ? fmt::format("does not cover {}, and the statement uses every column", fmt::join(rule.except, ", "))
            : fmt::format("covers only {}, and the statement uses every column", fmt::join(rule.only, ", ")),
        "name the columns one by one instead of the whole row"};
  }
  for (const std::string& column : effect.columns) {
    const bool outside = !rule.only.empty() && !Contains(rule.only, column);
    if (!outside && !Contains(rule.except, column)) continue;
    if (!with_text) return Obstacle();
    return Obstacle{outside ? fmt::format("covers only {}, not {}", fmt::join(rule.only, ", "), column)
                            : fmt::format("does not cover {}", column),
                    fmt::format("leave {} out", column)};
  }
  return std::nullopt;
}

std::optional<Obstacle> WhereOnObstacle(const CompiledRule& rule, const EffectView& view, bool with_text) {
  if (rule.where_on.empty() || !IsRowOperation(view.effect.operation)) return std::nullopt;
  // WHERE of one relation says nothing about rows of another.
  if (!view.lone_relation) {
    return Make(with_text, "needs a WHERE on one relation alone, and the statement uses several",
                "query this relation in a statement of its own");
  }
  for (const std::string& column : rule.where_on) {
    if (Contains(view.statement.shape.where_equality, column)) continue;
    if (!with_text) return Obstacle();
    return Obstacle{fmt::format("needs a WHERE on {}", column),
                    fmt::format("restrict {} by = or IN with given values in the WHERE clause", column)};
  }
  return std::nullopt;
}

std::optional<Obstacle> LimitObstacle(const CompiledRule& rule, const EffectView& view, bool with_text) {
  const bool returns_rows = view.effect.operation == Operation::kSelect || view.effect.operation == Operation::kCopyOut;
  if (rule.limit_max == 0 || !returns_rows) return std::nullopt;
  const std::optional<int64_t>& limit = view.statement.shape.limit;
  if (limit && *limit <= rule.limit_max) return std::nullopt;
  if (!with_text) return Obstacle();
  return Obstacle{fmt::format("needs a LIMIT of at most {}", rule.limit_max),
                  fmt::format("add LIMIT {}", rule.limit_max)};
}

std::optional<Obstacle> WhereObstacle(const CompiledRule& rule, const EffectView& view, bool with_text) {
  if (!rule.where || !IsUpdateOrDelete(view.effect.operation)) return std::nullopt;
  const auto& effects = view.statement.effects;
  const auto writes = std::count_if(effects.begin(), effects.end(), [](const sql::Effect& effect) {
    return !effect.derived && IsUpdateOrDelete(effect.operation);
  });
  if (writes > 1) {
    return Make(with_text, "needs a WHERE, which cannot be told in a statement with several writes",
                "send each write as a statement of its own");
  }
  if (view.statement.shape.has_where) return std::nullopt;
  return Make(with_text, "needs a WHERE", "add a WHERE clause");
}

}  // namespace

bool AllWithin(const std::vector<Pattern>& inner, const std::vector<Pattern>& outer) {
  if (outer.empty()) return true;
  return !inner.empty() && std::all_of(inner.begin(), inner.end(), [&](const Pattern& in) {
    return std::any_of(outer.begin(), outer.end(), [&](const Pattern& out) { return out.Matches(in.text()); });
  });
}

bool Overlap(const std::vector<Pattern>& a, const std::vector<Pattern>& b) {
  if (a.empty() || b.empty()) return true;
  return std::any_of(a.begin(), a.end(), [&](const Pattern& x) {
    return std::any_of(b.begin(), b.end(), [&](const Pattern& y) { return x.Intersects(y); });
  });
}

Relations RelativesOf(const sql::Relation& relation, const sql::Catalog& catalog) {
  Relations relatives;
  const auto add_parents = [&](const sql::Relation& child) {
    for (const sql::Oid oid : child.parents) {
      const sql::Relation* parent = catalog.FindRelation(oid);
      const bool is_new = std::find(relatives.begin(), relatives.end(), parent) == relatives.end();
      // The bound is for a catalog that contradicts itself; Postgres allows no cycles.
      if (parent != nullptr && is_new && relatives.size() < kMaxAncestors) relatives.push_back(parent);
    }
  };
  add_parents(relation);
  for (size_t i = 0; i < relatives.size(); ++i) add_parents(*relatives[i]);
  const std::vector<const sql::Relation*> descendants = catalog.Descendants(relation.oid);
  relatives.insert(relatives.end(), descendants.begin(), descendants.end());
  return relatives;
}

bool ObjectCovered(const CompiledRule& rule, const sql::Effect& effect) {
  if (effect.object_kind == ObjectKind::kFunction && !rule.functions.empty()) {
    return MatchesAny(rule.functions, effect.schema, effect.name);
  }
  if (rule.any_object) return true;
  switch (effect.object_kind) {
    case ObjectKind::kNone:
      return false;
    case ObjectKind::kSchema:
      // `app.*` is the schema; `app.orders` is not.
      return std::any_of(rule.objects.begin(), rule.objects.end(), [&](const ObjectPattern& pattern) {
        return pattern.name().any() && pattern.schema().Matches(SchemaOf(effect));
      });
    case ObjectKind::kRelation:
    case ObjectKind::kFunction:
    case ObjectKind::kSetting:
    case ObjectKind::kOther:
      return MatchesAny(rule.objects, effect.schema, effect.name);
  }
  return false;
}

bool ObjectTouched(const CompiledRule& rule, const EffectView& view) {
  if (ObjectCovered(rule, view.effect)) return true;
  if (view.effect.object_kind == ObjectKind::kSchema) {
    // Dropping a schema drops what is in it.
    return std::any_of(rule.objects.begin(), rule.objects.end(),
                       [&](const ObjectPattern& pattern) { return pattern.schema().Matches(SchemaOf(view.effect)); });
  }
  return std::any_of(view.relatives.begin(), view.relatives.end(), [&](const sql::Relation* relative) {
    return MatchesAny(rule.objects, relative->schema, relative->name);
  });
}

bool ColumnsTouched(const CompiledRule& rule, const sql::Effect& effect) {
  if (effect.all_columns) return true;
  if (!rule.only.empty()) {
    return std::any_of(effect.columns.begin(), effect.columns.end(),
                       [&](const std::string& column) { return Contains(rule.only, column); });
  }
  if (rule.except.empty() || effect.columns.empty()) return true;
  return std::any_of(effect.columns.begin(), effect.columns.end(),
                     [&](const std::string& column) { return !Contains(rule.except, column); });
}

std::optional<Obstacle> FirstObstacle(const CompiledRule& rule, const EffectView& view, bool with_text) {
  if (auto obstacle = ColumnObstacle(rule, view.effect, with_text)) return obstacle;
  if (auto obstacle = WhereOnObstacle(rule, view, with_text)) return obstacle;
  if (auto obstacle = LimitObstacle(rule, view, with_text)) return obstacle;
  return WhereObstacle(rule, view, with_text);
}

bool IsCatalogRead(const sql::Effect& effect) {
  return effect.operation == Operation::kSelect && effect.object_kind == ObjectKind::kRelation &&
         (effect.schema == "pg_catalog" || effect.schema == "information_schema");
}

bool NeedsNoRule(const sql::Effect& effect) {
  return SessionVerbs().Contains(effect.operation) || IsCatalogRead(effect);
}

VerbSet IntentVerbs(const IntentView& intent) {
  VerbSet verbs;
  for (const std::string& word : intent.verbs) {
    if (word == "all") return AllVerbs() | NamedPermissions();
    verbs |= VerbsOf(word).value_or(VerbSet());
  }
  return verbs;
}

}  // namespace postern::policy
