#include "common/policy/masks.h"

#include <algorithm>
#include <string_view>

#include "fmt/format.h"

namespace postern::policy {
namespace {

bool NamesRelation(const CompiledMask& mask, std::string_view schema, std::string_view name) {
  return mask.schema.Matches(schema) && mask.relation.Matches(name);
}

bool HasMasks(const Matching& matching) {
  return std::any_of(matching.begin(), matching.end(), [](const CompiledDocument* d) { return !d->masks.empty(); });
}

// Calls `each(mask, column)` for every masked column of `relation`.
template <typename Each>
void ForEachMasked(const Matching& matching, const sql::Relation& relation, const sql::Catalog& catalog, Each each) {
  const Relations relatives = RelativesOf(relation, catalog);
  const auto names_a_relative = [&](const CompiledMask& mask) {
    return std::any_of(relatives.begin(), relatives.end(), [&](const sql::Relation* relative) {
      return NamesRelation(mask, relative->schema, relative->name);
    });
  };
  for (const CompiledDocument* document : matching) {
    for (const CompiledMask& mask : document->masks) {
      if (!NamesRelation(mask, relation.schema, relation.name) && !names_a_relative(mask)) continue;
      for (const sql::Column& column : relation.columns) {
        if (mask.column.Matches(column.name)) each(mask, column);
      }
    }
  }
}

bool Contains(const std::vector<std::string>& list, std::string_view text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

// Says where a masked value would have gone.
void Refuse(const TouchedMasks& masks, sql::ColumnId column, std::string_view code, std::string_view where,
            std::string_view hint, Decision* decision) {
  const TouchedMasks::Masked masked = *masks.Find(column);
  decision->rule = masked.mask->ref;
  decision->reason_code = code;
  decision->reason = fmt::format("{} is masked ({}) by {} and {}", masks.NameOf(column), StrategyName(masked.strategy),
                                 RuleWithPlace(masked.mask->ref), where);
  decision->hint = hint;
}

constexpr std::string_view kPlainColumnHint =
    "select the column by itself, and it comes back masked; leave it out of everything else";

// First column of a list that is masked.
std::optional<sql::ColumnId> FirstMasked(const TouchedMasks& masks, const std::vector<sql::ColumnId>& columns) {
  const auto found = std::find_if(columns.begin(), columns.end(),
                                  [&](sql::ColumnId column) { return masks.Find(column).has_value(); });
  if (found == columns.end()) return std::nullopt;
  return *found;
}

bool JudgeOutputs(const TouchedMasks& masks, const sql::Statement& statement, Decision* decision) {
  for (size_t i = 0; i < statement.outputs.size(); ++i) {
    const sql::OutputColumn& output = statement.outputs[i];
    // A whole row holds its columns side by side: no mask fits it.
    const bool is_bare = output.bare && output.bare->attnum != 0;
    for (const sql::ColumnId source : output.sources) {
      if (!masks.Find(source) || (is_bare && source == *output.bare)) continue;
      Refuse(masks, source, kReasonMaskedExpression,
             fmt::format("output column {} ({}) is computed from it", i + 1, output.name), kPlainColumnHint, decision);
      return false;
    }
    const std::optional<TouchedMasks::Masked> masked =
        output.bare ? masks.Find(*output.bare) : std::optional<TouchedMasks::Masked>();
    if (output.opaque && !masked) {
      // What a function or a trigger that nobody looked into put there may be a masked value.
      decision->reason_code = kReasonMaskedExpression;
      decision->reason =
          fmt::format("where output column {} ({}) comes from cannot be told, and the statement touches masked columns",
                      i + 1, output.name);
      decision->hint = "leave it out, or ask for it in a statement that touches no masked table";
      return false;
    }
    if (!masked) continue;
    if (!is_bare) {
      Refuse(masks, *output.bare, kReasonMaskedExpression,
             fmt::format("output column {} ({}) is a whole row with it", i + 1, output.name), kPlainColumnHint,
             decision);
      return false;
    }
    decision->masks.push_back({static_cast<int>(i), *output.bare, masked->strategy});
  }
  return true;
}

// Each row of the result is made of columns by themselves and of counts.
bool OnlyCounts(const sql::Statement& statement) {
  return std::all_of(statement.outputs.begin(), statement.outputs.end(), [](const sql::OutputColumn& output) {
    return output.bare.has_value() || (output.sources.empty() && !output.opaque);
  });
}

constexpr std::string_view kByLookup = "lookup";

// The key of policy that lets conditions of this statement test the column; "" when none does.
std::string_view MayTest(const TouchedMasks::Masked& masked, sql::ColumnId column, const sql::Statement& statement) {
  if (masked.lookup && std::binary_search(statement.equality_only_predicates.begin(),
                                          statement.equality_only_predicates.end(), column)) {
    return kByLookup;
  }
  const bool counts =
      masked.count_min > 0 && statement.shape.group_min.value_or(0) >= masked.count_min && OnlyCounts(statement);
  return counts ? "count_min" : "";
}

bool JudgePredicates(const TouchedMasks& masks, const sql::Statement& statement, Decision* decision) {
  for (const sql::ColumnId column : statement.predicates) {
    const std::optional<TouchedMasks::Masked> masked = masks.Find(column);
    if (!masked) continue;
    if (const std::string_view how = MayTest(*masked, column, statement); !how.empty()) {
      if (how == kByLookup) decision->looked_up.push_back(column);
      decision->probes_max = std::min(decision->probes_max.value_or(masked->probes_max), masked->probes_max);
      decision->probes.push_back(
          fmt::format("{} in conditions: {} of {}", masks.NameOf(column), how, RuleWithPlace(masked->mask->ref)));
      continue;
    }
    std::vector<std::string> allowed;
    if (masked->lookup) allowed.emplace_back("compare it by = or IN with given values");
    if (masked->count_min > 0) {
      allowed.push_back(fmt::format("count rows of this table alone, with HAVING count(*) >= {} and no other aggregate",
                                    masked->count_min));
    }
    Refuse(masks, column, kReasonMaskedPredicate,
           "a condition, join, grouping or ordering depends on it, which would let its values be guessed",
           allowed.empty() ? std::string(kPlainColumnHint) : fmt::format("{}", fmt::join(allowed, ", or ")), decision);
    return false;
  }
  return true;
}

// Conditions, writes, outputs and expressions.
bool JudgeUses(const TouchedMasks& masks, const sql::Statement& statement, Decision* decision) {
  if (!JudgePredicates(masks, statement, decision)) return false;
  if (const auto stored = FirstMasked(masks, statement.stored)) {
    Refuse(masks, *stored, kReasonMaskedStore, "its value would be stored where no mask reaches", kPlainColumnHint,
           decision);
    return false;
  }
  if (!JudgeOutputs(masks, statement, decision)) return false;
  const auto column = FirstMasked(masks, statement.computed);
  if (!column) return true;
  Refuse(masks, *column, kReasonMaskedExpression, "an expression is computed from it", kPlainColumnHint, decision);
  return false;
}

// A refused statement that only reads may be saved by placeholders. In one that writes or locks, a condition that NULL
// takes part in would choose other rows than were meant.
void OfferPlaceholders(const TouchedMasks& masks, const sql::Statement& statement, Decision* decision) {
  std::vector<sql::ColumnId> columns = masks.Placeholders();
  if (columns.empty() || FirstMasked(masks, statement.stored)) return;
  const auto changes = std::find_if(statement.effects.begin(), statement.effects.end(), [](const sql::Effect& effect) {
    return sql::OperationWrites(effect.operation) || effect.operation == sql::Operation::kLock;
  });
  if (changes != statement.effects.end()) {
    decision->hint +=
        fmt::format("; placeholders stand in statements that only read, and this one has {}", EffectName(*changes));
    return;
  }
  decision->placeholders = std::move(columns);
}

// What a function that nobody looked into returns may be a masked value, also where the statement itself touches none.
bool IsUnseenCall(const Matching& matching, const sql::Effect& effect) {
  return effect.operation == sql::Operation::kCall && effect.schema != "pg_catalog" && !IsVouchedFor(matching, effect);
}

bool HasTriggers(const sql::Catalog& catalog, sql::Oid oid) {
  const sql::Relation* relation = catalog.FindRelation(oid);
  if (relation == nullptr) return false;
  const std::vector<const sql::Relation*> parts = catalog.Descendants(oid);
  return relation->has_triggers ||
         std::any_of(parts.begin(), parts.end(), [](const sql::Relation* part) { return part->has_triggers; });
}

// Code that nobody looked into runs: what it raises may hold a masked value.
bool RunsUnseenCode(const Matching& matching, const sql::Statement& statement, const sql::Catalog& catalog) {
  return std::any_of(statement.effects.begin(), statement.effects.end(), [&](const sql::Effect& effect) {
    switch (effect.operation) {
      case sql::Operation::kCall:
        return IsUnseenCall(matching, effect);
      case sql::Operation::kDoBlock:
      case sql::Operation::kUnsafeFunction:
      case sql::Operation::kFunctionCall:
        return true;
      case sql::Operation::kInsert:
      case sql::Operation::kUpdate:
      case sql::Operation::kDelete:
      case sql::Operation::kTruncate:
      case sql::Operation::kCopyIn:
        return HasTriggers(catalog, effect.oid);
      default:
        return false;
    }
  });
}

bool JudgeCalls(const Matching& matching, const sql::Statement& statement, Decision* decision) {
  const auto output = std::find_if(statement.outputs.begin(), statement.outputs.end(),
                                   [](const sql::OutputColumn& o) { return o.from_call; });
  if (output == statement.outputs.end()) return true;
  for (const sql::Effect& effect : statement.effects) {
    if (!IsUnseenCall(matching, effect)) continue;
    decision->reason_code = kReasonMaskedExpression;
    decision->reason = fmt::format("output column {} ({}) comes from {}, which may show what policy masks",
                                   output - statement.outputs.begin() + 1, output->name, ObjectName(effect));
    decision->hint =
        "a function that shows nothing masked can be named, in full, under `functions` of the rule that allows it";
    return false;
  }
  return true;
}

// Statements whose rows go to the client.
bool ReturnsRows(const sql::Statement& statement) {
  switch (statement.kind) {
    case sql::StatementKind::kQuery:
    case sql::StatementKind::kExecute:
    case sql::StatementKind::kFetch:
    case sql::StatementKind::kDeclareCursor:
      return true;
    case sql::StatementKind::kCopy:
      return statement.copy && statement.copy->to;
    default:
      return !statement.outputs.empty();
  }
}

// A view's column is no place of its own: values come from base columns, and lineage speaks of those only.
bool JudgeViewColumns(const Matching& matching, const sql::Statement& statement, const sql::Catalog& catalog,
                      Decision* decision) {
  for (const sql::Effect& effect : statement.effects) {
    if (effect.oid == 0 || effect.operation != sql::Operation::kSelect) continue;
    const sql::Relation* relation = catalog.FindRelation(effect.oid);
    if (relation == nullptr || relation->kind != sql::RelationKind::kView) continue;
    for (const CompiledDocument* document : matching) {
      for (const CompiledMask& mask : document->masks) {
        if (!NamesRelation(mask, relation->schema, relation->name)) continue;
        for (const sql::Column& column : relation->columns) {
          if (!mask.column.Matches(column.name)) continue;
          if (!effect.all_columns && !Contains(effect.columns, column.name)) continue;
          decision->rule = mask.ref;
          decision->reason_code = kReasonMaskedExpression;
          decision->reason = fmt::format("{}.{}.{} is masked by {}, but is a view's column", relation->schema,
                                         relation->name, column.name, RuleWithPlace(mask.ref));
          decision->hint = "the policy must mask the table's column that the view shows; until then leave it out";
          return false;
        }
      }
    }
  }
  return true;
}

// Masked values that an agent read and writes back would destroy the data.
bool JudgeWrittenConstants(const TouchedMasks& masks, const sql::Statement& statement, Decision* decision) {
  if (statement.written_constants.empty()) return true;
  for (const sql::Effect& effect : statement.effects) {
    if (effect.operation != sql::Operation::kInsert && effect.operation != sql::Operation::kUpdate) continue;
    for (const auto& [name, column] : masks.Of(effect.oid)) {
      if (!effect.all_columns && !Contains(effect.columns, name)) continue;
      const v1::MaskStrategy strategy = masks.Find(column)->strategy;
      for (const std::string& constant : statement.written_constants) {
        if (!LooksMasked(strategy, constant)) continue;
        Refuse(masks, column, kReasonMaskSentinel, "a masked value would be written over it",
               "write the real value, or leave the column out", decision);
        return false;
      }
    }
  }
  return true;
}

}  // namespace

bool IsVouchedFor(const Matching& matching, const sql::Effect& effect) {
  const auto names_it = [&](const ObjectPattern& pattern) {
    return pattern.schema().literal() && pattern.name().literal() && pattern.Matches(effect.schema, effect.name);
  };
  return std::any_of(matching.begin(), matching.end(), [&](const CompiledDocument* document) {
    return std::any_of(document->rules.begin(), document->rules.end(), [&](const CompiledRule& rule) {
      return rule.grants() && !rule.on_token && rule.verbs.Contains(sql::Operation::kCall) &&
             std::any_of(rule.functions.begin(), rule.functions.end(), names_it);
    });
  });
}

TouchedMasks::TouchedMasks(const Matching& matching, const sql::Statement& statement, const sql::Catalog& catalog)
    : catalog_(catalog) {
  in_force_ = HasMasks(matching);
  if (!in_force_) return;
  absl::InlinedVector<sql::Oid, 8> oids(statement.relations.begin(), statement.relations.end());
  for (const sql::Effect& effect : statement.effects) {
    if (effect.object_kind != sql::ObjectKind::kRelation) continue;
    if (effect.oid != 0) {
      oids.push_back(effect.oid);
    } else {
      // Known by name alone: no lineage, but what comes back may still show a masked value.
      AddByName(matching, effect);
    }
  }
  std::sort(oids.begin(), oids.end());
  oids.erase(std::unique(oids.begin(), oids.end()), oids.end());
  for (const sql::Oid oid : oids) Add(matching, oid);
  sensitive_ = sensitive_ || !columns_.empty();
}

void TouchedMasks::AddByName(const Matching& matching, const sql::Effect& effect) {
  for (const CompiledDocument* document : matching) {
    for (const CompiledMask& mask : document->masks) {
      sensitive_ = sensitive_ || NamesRelation(mask, effect.schema, effect.name);
    }
  }
}

void TouchedMasks::Add(const Matching& matching, sql::Oid oid) {
  const sql::Relation* relation = catalog_.FindRelation(oid);
  if (relation == nullptr) return;
  ForEachMasked(matching, *relation, catalog_, [&](const CompiledMask& mask, const sql::Column& column) {
    const sql::ColumnId id{oid, column.attnum};
    const auto at = std::lower_bound(columns_.begin(), columns_.end(), id,
                                     [](const Entry& entry, sql::ColumnId wanted) { return entry.column < wanted; });
    if (at == columns_.end() || at->column != id) {
      columns_.insert(at, {id, {mask.strategy, &mask, mask.lookup, mask.count_min, mask.probes_max, mask.placeholder}});
      return;
    }
    Masked& known = at->masked;
    if (known.strategy != mask.strategy && Stricter(known.strategy, mask.strategy) == mask.strategy) {
      known.strategy = mask.strategy;
      known.mask = &mask;
    }
    // The stricter wins here, too.
    known.lookup = known.lookup && mask.lookup;
    known.count_min = known.count_min == 0 || mask.count_min == 0 ? 0 : std::max(known.count_min, mask.count_min);
    known.probes_max = std::min(known.probes_max, mask.probes_max);
    known.placeholder = known.placeholder && mask.placeholder;
  });
}

std::optional<TouchedMasks::Masked> TouchedMasks::Find(sql::ColumnId column) const {
  if (columns_.empty()) return std::nullopt;
  const auto at = std::lower_bound(columns_.begin(), columns_.end(), column,
                                   [](const Entry& entry, sql::ColumnId wanted) { return entry.column < wanted; });
  if (at == columns_.end() || at->column.relation != column.relation) {
    return std::nullopt;
  }
  if (at->column == column) return at->masked;
  // attnum 0 sorts before every column with a mask.
  if (column.attnum == 0)
    return Masked{v1::MASK_STRATEGY_REDACT, at->masked.mask, false, 0, at->masked.probes_max, false};
  return std::nullopt;
}

std::vector<std::pair<std::string, sql::ColumnId>> TouchedMasks::Of(sql::Oid relation) const {
  std::vector<std::pair<std::string, sql::ColumnId>> found;
  for (const Entry& entry : columns_) {
    if (entry.column.relation != relation) continue;
    for (const sql::Column& column : catalog_.FindRelation(relation)->columns) {
      if (column.attnum == entry.column.attnum) found.emplace_back(column.name, entry.column);
    }
  }
  return found;
}

std::vector<sql::ColumnId> TouchedMasks::Placeholders() const {
  std::vector<sql::ColumnId> columns;
  for (const Entry& entry : columns_) {
    if (entry.masked.placeholder) columns.push_back(entry.column);
  }
  return columns;
}

std::string TouchedMasks::NameOf(sql::ColumnId id) const { return ColumnName(id, catalog_); }

bool JudgeMasks(const Matching& matching, const sql::Statement& statement, const sql::Catalog& catalog,
                Decision* decision) {
  const TouchedMasks masks(matching, statement, catalog);
  decision->sensitive = masks.sensitive();
  // Without a catalog nothing is known of any output, and this is a test or an explanation.
  if (masks.in_force() && !catalog.relations().empty()) {
    decision->sensitive = decision->sensitive || RunsUnseenCode(matching, statement, catalog);
    if (!JudgeCalls(matching, statement, decision)) return false;
    // CALL shows a procedure's OUT arguments, unless whoever wrote the policy answers for it.
    const bool shows_unseen = statement.kind == sql::StatementKind::kUtility &&
                              std::any_of(statement.effects.begin(), statement.effects.end(),
                                          [&](const sql::Effect& effect) { return IsUnseenCall(matching, effect); });
    if (!statement.outputs_known && (ReturnsRows(statement) || shows_unseen)) {
      decision->reason_code = kReasonMaskedExpression;
      decision->reason = "which columns the statement shows is not known, and policy masks columns";
      decision->hint = "name the output columns one by one, and those of functions in FROM";
      return false;
    }
  }
  if (!masks.sensitive()) return true;
  if (!JudgeViewColumns(matching, statement, catalog, decision)) return false;
  if (masks.empty()) return true;
  if (!statement.outputs_known && ReturnsRows(statement)) {
    decision->reason_code = kReasonMaskedExpression;
    decision->reason = "the statement reads masked columns, and which output shows them is not known";
    decision->hint = kPlainColumnHint;
    return false;
  }
  if (!JudgeUses(masks, statement, decision)) {
    OfferPlaceholders(masks, statement, decision);
    return false;
  }
  return JudgeWrittenConstants(masks, statement, decision);
}

std::map<sql::ColumnId, v1::MaskStrategy> CompiledPolicy::MaskedColumns(const Subject& subject,
                                                                        const TargetView& target,
                                                                        const sql::Catalog& catalog) const {
  std::map<sql::ColumnId, v1::MaskStrategy> masked;
  const Matching matching = MatchingDocuments(impl_->documents, subject, target);
  if (!HasMasks(matching)) return masked;
  for (const sql::Relation& relation : catalog.relations()) {
    ForEachMasked(matching, relation, catalog, [&](const CompiledMask& mask, const sql::Column& column) {
      const auto [at, is_new] = masked.emplace(sql::ColumnId{relation.oid, column.attnum}, mask.strategy);
      if (!is_new) at->second = Stricter(at->second, mask.strategy);
    });
  }
  return masked;
}

}  // namespace postern::policy
