// The second wall: the server's own word about where a column comes from, against what analysis has said.
#include <algorithm>

#include "common/base/errors.h"
#include "fmt/format.h"
#include "sidecar/enforce/enforcer.h"

namespace postern::sidecar {
namespace {

using Origins = std::map<sql::ColumnId, v1::MaskStrategy>;

// OIDs from here on are given to what users create.
constexpr sql::Oid kFirstUserOid = 16384;

absl::Status Mismatch(std::string_view why) {
  return Error(absl::StatusCode::kPermissionDenied, "ORIGIN_MISMATCH", why,
               "The result is withheld. Try again; if it stays, tell whoever runs this gate.");
}

// Strictest first.
int Rank(v1::MaskStrategy strategy) {
  switch (strategy) {
    case v1::MASK_STRATEGY_REDACT:
      return 1;
    case v1::MASK_STRATEGY_HASH:
      return 2;
    case v1::MASK_STRATEGY_YEAR:
      return 3;
    case v1::MASK_STRATEGY_LAST4:
      return 4;
    case v1::MASK_STRATEGY_PARTIAL:
      return 5;
    case v1::MASK_STRATEGY_EMAIL_DOMAIN:
      return 6;
    default:  // NULL, and what is newer than this
      return 0;
  }
}

// Kinds whose results are rows of relations.
bool ReturnsRows(const sql::Statement& statement) {
  switch (statement.kind) {
    case sql::StatementKind::kQuery:
    case sql::StatementKind::kDml:
    case sql::StatementKind::kCopy:
    case sql::StatementKind::kExecute:
    case sql::StatementKind::kFetch:
    case sql::StatementKind::kDeclareCursor:
      return true;
    default:
      return false;
  }
}

bool Touches(const sql::Statement& statement, sql::Oid relation) {
  return std::find(statement.relations.begin(), statement.relations.end(), relation) != statement.relations.end() ||
         std::any_of(statement.effects.begin(), statement.effects.end(),
                     [relation](const sql::Effect& effect) { return effect.oid == relation; });
}

bool DependsOnMasked(const sql::OutputColumn& output, const Origins& origins) {
  return std::any_of(output.sources.begin(), output.sources.end(),
                     [&](const sql::ColumnId& source) { return origins.contains(source); });
}

const policy::OutputMask* FindMask(const policy::Decision& decision, int column) {
  for (const policy::OutputMask& mask : decision.masks) {
    if (mask.column == column) return &mask;
  }
  return nullptr;
}

absl::Status CheckCount(const policy::Decision& decision, const sql::Statement& statement, int count,
                        const Origins& origins) {
  if (origins.empty()) return absl::OkStatus();  // whoever may see everything
  if (statement.outputs_known && count != static_cast<int>(statement.outputs.size())) {
    return Mismatch(
        fmt::format("the server returns {} columns where {} were expected", count, statement.outputs.size()));
  }
  if (!statement.outputs_known && ReturnsRows(statement) && !origins.empty()) {
    return Mismatch("the columns of the result were not known beforehand");
  }
  for (const policy::OutputMask& mask : decision.masks) {
    if (mask.column < 0 || mask.column >= count) return Mismatch("the server returns fewer columns than are masked");
  }
  return absl::OkStatus();
}

// The strategy for one column, absent if it goes out as it is.
absl::StatusOr<std::optional<v1::MaskStrategy>> StrategyFor(const policy::Decision& decision,
                                                            const sql::Statement& statement, int column,
                                                            const RowField& field, const Origins& origins) {
  const policy::OutputMask* planned = FindMask(decision, column);
  const auto said = origins.find({field.table, field.attnum});
  if (said != origins.end()) {
    if (planned == nullptr) {
      return Mismatch(fmt::format("the server takes column {} of the result from a masked column", column + 1));
    }
    return Rank(said->second) < Rank(planned->strategy) ? said->second : planned->strategy;
  }
  if (planned != nullptr) return planned->strategy;
  if (origins.empty()) return std::nullopt;
  if (field.table >= kFirstUserOid && ReturnsRows(statement) && !Touches(statement, field.table)) {
    return Mismatch(
        fmt::format("the server takes column {} of the result from a relation that the statement was not "
                    "found to read",
                    column + 1));
  }
  if (statement.outputs_known && DependsOnMasked(statement.outputs[static_cast<size_t>(column)], origins)) {
    return Mismatch(fmt::format("column {} of the result depends on a masked column", column + 1));
  }
  return std::nullopt;
}

void AddDetection(const policy::Decision& decision, const sql::Statement& statement, int column, sql::Oid type,
                  int16_t format, std::vector<mask::ColumnMask>* masks) {
  const auto at = static_cast<size_t>(column);
  const bool known = statement.outputs_known && at < statement.outputs.size();
  policy::Detection detection = known ? policy::Detection() : decision.detect_rest;
  if (known && at < decision.detections.size()) detection = decision.detections[at];
  if (detection.find.empty()) return;
  mask::ColumnMask mask;
  mask.column = column;
  mask.type = type;
  mask.format = format;
  mask.detect = detection.find;
  mask.alarm = detection.alarm;
  mask.counts = std::make_shared<mask::DetectorCounts>();
  masks->push_back(std::move(mask));
}

}  // namespace

absl::StatusOr<std::vector<mask::ColumnMask>> BindMasks(const policy::Decision& decision,
                                                        const sql::Statement& statement,
                                                        const std::vector<RowField>& fields, const Origins& origins) {
  const int count = static_cast<int>(fields.size());
  if (absl::Status status = CheckCount(decision, statement, count, origins); !status.ok()) return status;
  std::vector<mask::ColumnMask> masks;
  for (int column = 0; column < count; ++column) {
    const RowField& field = fields[static_cast<size_t>(column)];
    auto strategy = StrategyFor(decision, statement, column, field, origins);
    if (!strategy.ok()) return std::move(strategy).status();
    if (*strategy) {
      masks.push_back({column, **strategy, field.type, field.format});
    } else if (mask::IsSearched(field.type)) {
      AddDetection(decision, statement, column, field.type, field.format, &masks);
    }
  }
  return masks;
}

absl::StatusOr<std::vector<mask::ColumnMask>> BindCopyMasks(const policy::Decision& decision,
                                                            const sql::Statement& statement, int column_count,
                                                            const sql::Catalog& catalog, const Origins& origins) {
  if (absl::Status status = CheckCount(decision, statement, column_count, origins); !status.ok()) return status;
  std::vector<mask::ColumnMask> masks;
  for (int column = 0; column < column_count; ++column) {
    auto strategy = StrategyFor(decision, statement, column, RowField{}, origins);
    if (!strategy.ok()) return std::move(strategy).status();
    const policy::OutputMask* planned = FindMask(decision, column);
    const bool known = statement.outputs_known && static_cast<size_t>(column) < statement.outputs.size();
    sql::Oid type = 0;
    sql::ColumnId origin;
    if (planned != nullptr) {
      origin = planned->origin;
    } else if (known) {
      origin = statement.outputs[static_cast<size_t>(column)].bare.value_or(sql::ColumnId());
    }
    if (const sql::Relation* relation = catalog.FindRelation(origin.relation)) {
      for (const sql::Column& candidate : relation->columns) {
        if (candidate.attnum == origin.attnum) type = candidate.type;
      }
    }
    if (*strategy) {
      masks.push_back({column, **strategy, type, 0});
    } else if (type == 0 || mask::IsSearched(type)) {
      AddDetection(decision, statement, column, type, 0, &masks);
    }
  }
  return masks;
}

std::vector<RowField> WithFormats(std::vector<RowField> fields, const std::vector<int16_t>& result_formats) {
  for (size_t i = 0; i < fields.size(); ++i) {
    if (result_formats.empty()) {
      fields[i].format = 0;
    } else if (result_formats.size() == 1) {
      fields[i].format = result_formats[0];
    } else {
      // The server refuses a Bind with another number of formats; -1 makes the mask NULL if it ever came to that.
      fields[i].format = i < result_formats.size() ? result_formats[i] : int16_t{-1};
    }
  }
  return fields;
}

}  // namespace postern::sidecar
