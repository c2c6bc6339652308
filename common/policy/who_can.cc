#include "common/policy/who_can.h"

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "common/base/errors.h"
#include "common/policy/compiled.h"
#include "common/sql/analysis.h"
#include "fmt/format.h"

namespace postern::policy {
namespace {

using sql::ObjectKind;
using sql::Operation;

absl::Status BadQuery(std::string what) {
  return Error(absl::StatusCode::kInvalidArgument, "QUERY_INVALID", what,
               "write e.g. `who-can update app.orders.total`, `who-can select app.orders`, `who-can do_block`");
}

std::string Quoted(std::string_view name) {
  std::string quoted = "\"";
  for (const char c : name) quoted.append(c == '"' ? 2 : 1, c);
  return quoted + '"';
}

bool IsFunctionVerb(Operation verb) { return verb == Operation::kCall || verb == Operation::kUnsafeFunction; }

enum class Reach { kNone, kSome, kWhole };

// How much of what `subject` of `document` speaks of is spoken of by `other`, too.
Reach ReachOf(const CompiledDocument& other, const CompiledDocument& document, const CompiledSubject& subject) {
  if (&other == &document) return Reach::kWhole;
  if (!Overlap(other.databases, document.databases) || !Overlap(other.env, document.env) ||
      !Overlap(other.names, document.names)) {
    return Reach::kNone;
  }
  const bool targets = AllWithin(document.databases, other.databases) && AllWithin(document.env, other.env) &&
                       AllWithin(document.names, other.names);
  Reach reach = Reach::kNone;
  for (const CompiledSubject& each : other.subjects) {
    if (!each.agent.Intersects(subject.agent) || !each.on_behalf_of.Intersects(subject.on_behalf_of)) continue;
    const bool all = targets && each.agent.Matches(subject.agent.text()) &&
                     each.on_behalf_of.Matches(subject.on_behalf_of.text()) && each.group.Matches(subject.group.text());
    if (all) return Reach::kWhole;
    reach = Reach::kSome;  // a subject may be in any number of groups
  }
  return reach;
}

// The object that is asked about, or one through which it is reached.
struct Place {
  sql::Effect effect;
  const sql::Relation* relation = nullptr;
  std::string through;
};

sql::Effect EffectOn(Operation verb, const WhoCanQuery& query) {
  sql::Effect effect;
  effect.operation = verb;
  effect.schema = query.schema;
  effect.name = query.name;
  effect.object_kind = query.name.empty()     ? ObjectKind::kNone
                       : IsFunctionVerb(verb) ? ObjectKind::kFunction
                                              : ObjectKind::kRelation;
  if (!query.column.empty()) effect.columns = {query.column};
  return effect;
}

sql::Effect OnRelation(Operation verb, const sql::Relation& relation, std::vector<std::string> columns) {
  sql::Effect effect;
  effect.operation = verb;
  effect.object_kind = ObjectKind::kRelation;
  effect.schema = relation.schema;
  effect.name = relation.name;
  effect.oid = relation.oid;
  effect.columns = std::move(columns);
  return effect;
}

// Columns of a view that show the relation (its column `column`, if one is asked for) or through which it is written.
std::optional<std::vector<std::string>> ThroughView(Operation verb, const sql::Relation& view,
                                                    const sql::Relation& relation, const std::string& column,
                                                    const sql::Catalog& catalog) {
  const std::string name = Quoted(view.schema) + "." + Quoted(view.name);
  const sql::Column* wanted = column.empty() ? nullptr : relation.FindColumn(column);
  const auto analyze = [&](const std::string& text) -> std::optional<sql::Statement> {
    absl::StatusOr<sql::Analysis> analysis = sql::Analyze(text, catalog, sql::SessionView());
    if (!analysis.ok() || analysis->statements.size() != 1 || analysis->statements[0].unanalysable) return std::nullopt;
    return std::move(analysis->statements[0]);
  };
  const auto reaches = [&](const sql::Statement& statement, Operation operation) {
    return std::any_of(statement.effects.begin(), statement.effects.end(), [&](const sql::Effect& effect) {
      const bool has_column = column.empty() || effect.all_columns ||
                              std::find(effect.columns.begin(), effect.columns.end(), column) != effect.columns.end();
      return effect.derived && effect.operation == operation && effect.oid == relation.oid && has_column;
    });
  };
  std::vector<std::string> columns;
  if (verb == Operation::kSelect || verb == Operation::kCopyOut) {
    const std::optional<sql::Statement> all = analyze("SELECT * FROM " + name);
    if (!all || !reaches(*all, Operation::kSelect)) return std::nullopt;
    if (wanted == nullptr) return columns;
    for (const sql::OutputColumn& output : all->outputs) {
      const bool shows = std::any_of(output.sources.begin(), output.sources.end(), [&](sql::ColumnId source) {
        return source.relation == relation.oid && (source.attnum == wanted->attnum || source.attnum == 0);
      });
      if (shows) columns.push_back(output.name);
    }
    if (columns.empty()) return std::nullopt;
    return columns;
  }
  if (verb == Operation::kDelete) {
    const std::optional<sql::Statement> statement = analyze("DELETE FROM " + name);
    if (statement && reaches(*statement, verb)) return columns;
    return std::nullopt;
  }
  if (verb != Operation::kUpdate && verb != Operation::kInsert) return std::nullopt;
  bool any = false;
  for (const sql::Column& each : view.columns) {
    const std::string text = verb == Operation::kUpdate
                                 ? fmt::format("UPDATE {} SET {} = NULL", name, Quoted(each.name))
                                 : fmt::format("INSERT INTO {} ({}) VALUES (NULL)", name, Quoted(each.name));
    const std::optional<sql::Statement> statement = analyze(text);
    if (!statement || !reaches(*statement, verb)) continue;
    any = true;
    if (wanted != nullptr) columns.push_back(each.name);
  }
  if (!any) return std::nullopt;
  return columns;
}

std::vector<Place> PlacesOf(Operation verb, const WhoCanQuery& query, const sql::Catalog* catalog) {
  std::vector<Place> places;
  places.push_back({EffectOn(verb, query), nullptr, ""});
  if (catalog == nullptr || places[0].effect.object_kind != ObjectKind::kRelation) return places;
  const sql::Relation* relation = catalog->FindRelation(query.schema, query.name);
  if (relation == nullptr) return places;
  places[0].relation = relation;
  places[0].effect.oid = relation->oid;
  const std::vector<const sql::Relation*> parts = catalog->Descendants(relation->oid);
  for (const sql::Relation* relative : RelativesOf(*relation, *catalog)) {
    const bool is_part = std::find(parts.begin(), parts.end(), relative) != parts.end();
    places.push_back(
        {OnRelation(verb, *relative, places[0].effect.columns), relative,
         fmt::format("{} {}.{}", is_part ? "partition or child" : "parent table", relative->schema, relative->name)});
  }
  for (const sql::Relation& view : catalog->relations()) {
    if (view.kind != sql::RelationKind::kView || view.oid == relation->oid) continue;
    const auto columns = ThroughView(verb, view, *relation, query.column, *catalog);
    if (!columns) continue;
    places.push_back({OnRelation(verb, view, *columns), &view,
                      fmt::format("view {}.{}{}", view.schema, view.name,
                                  columns->empty() ? "" : fmt::format(" ({})", fmt::join(*columns, ", ")))});
  }
  return places;
}

std::vector<std::string> ConditionsOf(const CompiledRule& rule, Operation verb) {
  const VerbSet rows = VerbSet(Operation::kSelect) | VerbSet(Operation::kUpdate) | VerbSet(Operation::kDelete) |
                       VerbSet(Operation::kLock) | VerbSet(Operation::kCopyOut);
  const VerbSet shown = VerbSet(Operation::kSelect) | VerbSet(Operation::kCopyOut);
  const VerbSet changed = VerbSet(Operation::kUpdate) | VerbSet(Operation::kDelete);
  std::vector<std::string> conditions;
  if (!rule.where_on.empty() && rows.Contains(verb)) {
    conditions.push_back(fmt::format("a WHERE on {}", fmt::join(rule.where_on, ", ")));
  }
  if (rule.limit_max > 0 && shown.Contains(verb)) {
    conditions.push_back(fmt::format("a LIMIT of at most {}", rule.limit_max));
  }
  if (rule.where && rule.where_on.empty() && changed.Contains(verb)) conditions.emplace_back("a WHERE");
  if (rule.rows_max > 0 && sql::OperationWrites(verb)) {
    conditions.push_back(fmt::format("at most {} rows changed", rule.rows_max));
  }
  return conditions;
}

std::string ApprovalOf(const HoldTerms& hold) {
  return fmt::format("{} of {}", hold.approvals, fmt::join(hold.groups, ", "));
}

class Asker {
 public:
  Asker(const std::vector<v1::Policy>& policies, const WhoCanQuery& query, const sql::Catalog* catalog)
      : policies_(policies), query_(query), catalog_(catalog) {
    for (const v1::Policy& policy : policies) documents_.push_back(CompileDocument(policy));
  }

  std::vector<Way> Run() {
    for (const Operation verb : query_.verbs.Operations()) {
      const std::vector<Place> places = PlacesOf(verb, query_, catalog_);
      for (size_t d = 0; d < documents_.size(); ++d) {
        for (int s = 0; s < policies_[d].subjects_size(); ++s) Ask(places, d, s);
      }
    }
    std::stable_sort(ways_.begin(), ways_.end(), [](const Way& a, const Way& b) {
      return std::tie(a.verb, a.rule.policy, a.rule.rule) < std::tie(b.verb, b.rule.policy, b.rule.rule);
    });
    return std::move(ways_);
  }

 private:
  EffectView ViewOf(const Place& place) const {
    EffectView view{place.effect, no_statement_, {}, true};
    if (place.relation != nullptr) view.relatives = RelativesOf(*place.relation, *catalog_);
    return view;
  }

  void Ask(const std::vector<Place>& places, size_t d, int s) {
    const CompiledDocument& document = documents_[d];
    std::map<std::string, Verdict> directly;  // by rule
    for (const Place& place : places) {
      const bool needs_no_rule = NeedsNoRule(place.effect);
      if (needs_no_rule) {
        Way way = NewWay(place, d, s);
        way.rule.policy = document.name;
        way.rule.path = document.path;
        Restrict(places.front(), place, d, s, true, &way);
        ways_.push_back(std::move(way));
      }
      for (const CompiledRule& rule : document.rules) {
        if (!rule.grants() || rule.on_token || !rule.verbs.Contains(place.effect.operation)) continue;
        // A place that is no more than part of the answer shows nothing when its rule has other columns.
        if (needs_no_rule || !ObjectCovered(rule, place.effect) || !CoversColumns(rule, place.effect)) continue;
        Way way = NewWay(place, d, s);
        way.rule = rule.ref;
        way.conditions = ConditionsOf(rule, place.effect.operation);
        if (query_.column.empty() && !rule.only.empty()) {
          way.columns = fmt::format("only {}", fmt::join(rule.only, ", "));
        } else if (query_.column.empty() && !rule.except.empty()) {
          way.columns = fmt::format("all but {}", fmt::join(rule.except, ", "));
        }
        if (rule.effect == v1::RULE_EFFECT_HOLD) {
          way.verdict = Verdict::kHold;
          way.approval = ApprovalOf(rule.hold);
        }
        Restrict(places.front(), place, d, s, false, &way);
        if (place.through.empty()) {
          directly.emplace(rule.ref.rule, way.verdict);
        } else if (const auto it = directly.find(rule.ref.rule); it != directly.end() && it->second <= way.verdict) {
          continue;  // a detour to what the rule gives anyway
        }
        ways_.push_back(std::move(way));
      }
    }
  }

  // Some of the columns at the place are the rule's; without columns, every rule speaks of some.
  static bool CoversColumns(const CompiledRule& rule, const sql::Effect& effect) {
    const auto has = [](const std::vector<std::string>& list, const std::string& column) {
      return std::find(list.begin(), list.end(), column) != list.end();
    };
    return effect.columns.empty() ||
           std::any_of(effect.columns.begin(), effect.columns.end(), [&](const std::string& column) {
             return (rule.only.empty() || has(rule.only, column)) && !has(rule.except, column);
           });
  }

  Way NewWay(const Place& place, size_t d, int s) const {
    Way way;
    way.verb = place.effect.operation;
    way.subject = policies_[d].subjects(s);
    way.targets = policies_[d].targets();
    way.role = policies_[d].session().role();
    way.through = place.through;
    return way;
  }

  // What other rules take away again: deny rules of the object itself and of the place, hold rules of the place.
  void Restrict(const Place& object, const Place& place, size_t d, int s, bool named_only, Way* way) const {
    const CompiledDocument& document = documents_[d];
    const CompiledSubject& subject = document.subjects[static_cast<size_t>(s)];
    const EffectView views[] = {ViewOf(object), ViewOf(place)};
    for (const CompiledDocument& other : documents_) {
      const Reach reach = ReachOf(other, document, subject);
      if (reach == Reach::kNone) continue;
      for (const CompiledRule& rule : other.rules) {
        if (rule.on_token || !rule.verbs.Contains(place.effect.operation)) continue;
        if (rule.effect == v1::RULE_EFFECT_DENY) {
          Deny(rule, other, reach, views, way);
        } else if (rule.effect == v1::RULE_EFFECT_HOLD && way->rule.ToString() != rule.ref.ToString() &&
                   (!named_only || rule.named_verbs.Contains(place.effect.operation))) {
          Hold(rule, other, reach, views[1], way);
        }
      }
      AddMasks(other, document, reach, object, way);
    }
  }

  void Deny(const CompiledRule& rule, const CompiledDocument& other, Reach reach, const EffectView (&views)[2],
            Way* way) const {
    const bool touches = std::any_of(std::begin(views), std::end(views), [&](const EffectView& view) {
      return ObjectTouched(rule, view) && (view.effect.columns.empty() || ColumnsTouched(rule, view.effect));
    });
    if (!touches) return;
    const bool of_all_columns = rule.only.empty() || !query_.column.empty();
    if (reach == Reach::kWhole && of_all_columns) {
      if (way->verdict != Verdict::kDeny) way->decided_by = rule.ref;
      way->verdict = Verdict::kDeny;
      return;
    }
    std::string text = fmt::format("denied by {}", RuleWithPlace(rule.ref));
    if (!of_all_columns) text += fmt::format(" for {}", fmt::join(rule.only, ", "));
    AddUnless(std::move(text), other, reach, way);
  }

  void Hold(const CompiledRule& rule, const CompiledDocument& other, Reach reach, const EffectView& view,
            Way* way) const {
    if (!ObjectTouched(rule, view) || (!view.effect.columns.empty() && !ColumnsTouched(rule, view.effect))) return;
    const bool of_all_columns = rule.only.empty() || !query_.column.empty();
    if (reach == Reach::kWhole && of_all_columns) {
      if (way->verdict == Verdict::kDeny) return;
      way->verdict = Verdict::kHold;
      way->decided_by = rule.ref;
      way->approval = ApprovalOf(rule.hold);
      return;
    }
    std::string text = fmt::format("held by {} for {}", RuleWithPlace(rule.ref), ApprovalOf(rule.hold));
    if (!of_all_columns) text += fmt::format(", where {} are used", fmt::join(rule.only, ", "));
    AddUnless(std::move(text), other, reach, way);
  }

  static void AddUnless(std::string text, const CompiledDocument& other, Reach reach, Way* way) {
    if (reach != Reach::kWhole) text += fmt::format(", for those of them that policy {} speaks of", other.name);
    if (std::find(way->unless.begin(), way->unless.end(), text) == way->unless.end()) {
      way->unless.push_back(std::move(text));
    }
  }

  void AddMasks(const CompiledDocument& other, const CompiledDocument& document, Reach reach, const Place& object,
                Way* way) const {
    if (object.effect.object_kind != ObjectKind::kRelation) return;
    const Relations relatives = ViewOf(object).relatives;
    for (const CompiledMask& mask : other.masks) {
      const auto names = [&](std::string_view schema, std::string_view name) {
        return mask.schema.Matches(schema) && mask.relation.Matches(name);
      };
      const bool names_it = names(query_.schema, query_.name) ||
                            std::any_of(relatives.begin(), relatives.end(), [&](const sql::Relation* relative) {
                              return names(relative->schema, relative->name);
                            });
      if (!names_it || (!query_.column.empty() && !mask.column.Matches(query_.column))) continue;
      std::string text = fmt::format("{}: {} by {}", query_.column.empty() ? mask.column.text() : query_.column,
                                     StrategyName(mask.strategy), RuleWithPlace(mask.ref));
      if (&other != &document && reach != Reach::kWhole)
        text += fmt::format(", where policy {} speaks of them", other.name);
      way->masks.push_back(std::move(text));
    }
  }

  const std::vector<v1::Policy>& policies_;
  const WhoCanQuery& query_;
  const sql::Catalog* const catalog_;
  const sql::Statement no_statement_;
  std::vector<CompiledDocument> documents_;
  std::vector<Way> ways_;
};

}  // namespace

absl::StatusOr<WhoCanQuery> ParseWhoCan(std::string_view verb, std::string_view object) {
  WhoCanQuery query;
  const std::optional<VerbSet> verbs = VerbsOf(verb);
  if (!verbs) {
    const std::string nearest = NearestVerb(verb);
    return BadQuery(nearest.empty() ? fmt::format("`{}` is no verb", verb)
                                    : fmt::format("`{}` is no verb; did you mean `{}`?", verb, nearest));
  }
  query.verbs = *verbs;
  if (object.empty()) return query;
  if (object.find('*') != std::string_view::npos) return BadQuery("ask about one object: a name without `*`");
  const size_t first = object.find('.');
  const size_t last = object.rfind('.');
  if (first == std::string_view::npos) {
    query.schema = "public";
    query.name = std::string(object);
  } else {
    query.schema = std::string(object.substr(0, first));
    query.name = std::string(object.substr(first + 1, (first == last ? object.size() : last) - first - 1));
    if (first != last) query.column = std::string(object.substr(last + 1));
  }
  const bool has_empty = query.schema.empty() || query.name.empty() || object.back() == '.';
  if (has_empty || query.name.find('.') != std::string::npos) {
    return BadQuery(fmt::format("`{}` is no schema.relation or schema.relation.column", object));
  }
  return query;
}

std::vector<Way> WhoCan(const std::vector<v1::Policy>& policies, const WhoCanQuery& query,
                        const sql::Catalog* catalog) {
  return Asker(policies, query, catalog).Run();
}

Decision CanAtBest(const CompiledPolicy& compiled, const std::vector<v1::Policy>& policies, const Subject& subject,
                   const TargetView& target, const IntentView& intent, sql::Operation verb, const WhoCanQuery& query,
                   const sql::Catalog* catalog) {
  static const std::shared_ptr<const sql::Catalog> kNoCatalog = sql::Catalog::Build(v1::CatalogContents());
  if (catalog == nullptr) catalog = kNoCatalog.get();
  sql::Statement statement;
  statement.kind = sql::StatementKind::kUtility;  // what it shows is not asked
  statement.outputs_known = true;
  statement.effects.push_back(EffectOn(verb, query));
  const sql::Relation* relation = catalog->FindRelation(query.schema, query.name);
  if (relation != nullptr && !IsFunctionVerb(verb)) statement.effects[0].oid = relation->oid;
  statement.shape.has_where = true;
  statement.shape.limit = 1;
  for (const v1::Policy& policy : policies) {
    for (const v1::Rule& rule : policy.rules()) {
      const auto& columns = rule.require().where_on();
      statement.shape.where_equality.insert(statement.shape.where_equality.end(), columns.begin(), columns.end());
    }
  }
  return compiled.Judge(subject, target, intent, statement, *catalog);
}

std::string MatcherInWords(const v1::SubjectMatcher& subject) {
  std::vector<std::string> words;
  if (!subject.agent().empty()) words.push_back(fmt::format("agent {}", subject.agent()));
  if (!subject.on_behalf_of().empty()) words.push_back(fmt::format("on behalf of {}", subject.on_behalf_of()));
  if (!subject.group().empty()) words.push_back(fmt::format("in group {}", subject.group()));
  return fmt::format("{}", fmt::join(words, ", "));
}

std::string TargetsInWords(const v1::TargetMatcher& targets) {
  std::vector<std::string> words;
  if (!targets.names().empty()) words.push_back(fmt::format("target {}", fmt::join(targets.names(), " or ")));
  if (!targets.databases().empty()) words.push_back(fmt::format("database {}", fmt::join(targets.databases(), " or ")));
  if (!targets.env().empty()) words.push_back(fmt::format("env {}", fmt::join(targets.env(), " or ")));
  return words.empty() ? "any" : fmt::format("{}", fmt::join(words, ", "));
}

}  // namespace postern::policy
