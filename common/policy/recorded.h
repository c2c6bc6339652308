// Recorded statements, read again: what an audit record's effects, text and masks say. Internal to suggest.cc.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/policy/policy.h"
#include "common/sql/analysis.h"
#include "postern/v1/audit.pb.h"

namespace postern::policy {

// One effect as Effect::ToString() wrote it; nullopt for what is none. Object kinds are those that the text allows to
// tell: relations and functions by their verbs, kOther else.
std::optional<sql::Effect> ParseEffect(std::string_view text);

// A message as it was recorded, analysed again.
struct Recorded {
  const v1::AuditRecord* record = nullptr;
  std::vector<sql::Effect> effects;  // as recorded, with kinds and oids where analysis knows them
  // Its statements; empty when they cannot be analysed now. `by_catalog`: with the catalog, not by names alone.
  std::vector<sql::Statement> statements;
  bool by_catalog = false;
  // The text with its strings replaced where judging does not depend on them; "" when it cannot be written so.
  std::string text;
};

// Sessions replayed: what was prepared and declared earlier in a session is known to what came later.
class Replayer {
 public:
  explicit Replayer(const CatalogSource* catalogs) : catalogs_(catalogs) {}
  Recorded Read(const v1::AuditRecord& record);
  // nullptr: not known.
  std::shared_ptr<const sql::Catalog> CatalogOf(const v1::AuditRecord& record) const;

 private:
  struct Session : sql::SessionView {
    const sql::Statement* FindPrepared(std::string_view name) const override;
    const sql::Statement* FindCursor(std::string_view name) const override;
    std::map<std::string, sql::Statement, std::less<>> prepared, cursors;
  };

  const CatalogSource* const catalogs_;
  std::map<std::string, Session> sessions_;
};

}  // namespace postern::policy
