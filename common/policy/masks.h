// Which columns are masked, and whether a statement keeps masked values where masks reach them.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/policy/compiled.h"

namespace postern::policy {

// The masked columns of the relations that one statement touches. Built per judgement; cheap when nothing is masked.
class TouchedMasks {
 public:
  struct Masked {
    v1::MaskStrategy strategy = v1::MASK_STRATEGY_REDACT;
    const CompiledMask* mask = nullptr;  // the strictest that names the column
    // What every mask that names the column allows of conditions.
    bool lookup = false;
    int64_t count_min = 0;
    int64_t probes_max = kDefaultProbesMax;
    // Every mask that names the column lets a placeholder take its place.
    bool placeholder = false;
  };

  TouchedMasks(const Matching& matching, const sql::Statement& statement, const sql::Catalog& catalog);

  // A masked column may be involved, if only by a name that the catalog does not know.
  bool sensitive() const { return sensitive_; }
  // Some policy masks something, whether this statement touches it or not.
  bool in_force() const { return in_force_; }
  bool empty() const { return columns_.empty(); }
  // nullopt: not masked. attnum 0, the whole row, is masked when any column of the relation is.
  std::optional<Masked> Find(sql::ColumnId column) const;
  // Masked columns of one relation with their names.
  std::vector<std::pair<std::string, sql::ColumnId>> Of(sql::Oid relation) const;
  // Those for which a placeholder may stand. Sorted.
  std::vector<sql::ColumnId> Placeholders() const;
  // "app.customers.email".
  std::string NameOf(sql::ColumnId column) const;

 private:
  void Add(const Matching& matching, sql::Oid oid);
  void AddByName(const Matching& matching, const sql::Effect& effect);

  struct Entry {
    sql::ColumnId column;
    Masked masked;
  };
  const sql::Catalog& catalog_;
  std::vector<Entry> columns_;  // sorted by column
  bool sensitive_ = false;
  bool in_force_ = false;
};

// Some rule grants the function by its full name: whoever wrote it answers for what the function shows.
bool IsVouchedFor(const Matching& matching, const sql::Effect& effect);

// Fills decision->masks and `sensitive`. Returns false when a masked value would go where no mask reaches: the rule and
// reason fields are then set and the verdict is the caller's to change.
bool JudgeMasks(const Matching& matching, const sql::Statement& statement, const sql::Catalog& catalog,
                Decision* decision);

}  // namespace postern::policy
