// Schema changes: each is applied once, in order of number, and recorded with the SHA-256 of its text. Numbers may have
// gaps, and one that arrives late is applied late: each room's migrations stand on their own tables.
#include <map>

#include <openssl/sha.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "controlplane/store/database.h"
#include "fmt/format.h"

namespace postern::store {
namespace {

std::string Sha256Hex(std::string_view text) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  std::string hex;
  for (unsigned char byte : digest) hex += fmt::format("{:02x}", byte);
  return hex;
}

absl::Status CheckApplied(const std::vector<Migration>& migrations,
                          const std::map<int64_t, std::pair<std::string, std::string>>& applied) {
  std::map<int64_t, const Migration*> known;
  for (const Migration& migration : migrations) known[migration.version] = &migration;
  for (const auto& [version, row] : applied) {
    const auto it = known.find(version);
    if (it == known.end()) {
      return Error(
          absl::StatusCode::kFailedPrecondition, "STORE_SCHEMA_NEWER",
          fmt::format("the store has schema change {} ({}), which this version does not know", version, row.first),
          "run the version that wrote the store, or a later one");
    }
    if (Sha256Hex(it->second->sql) != row.second) {
      return Error(
          absl::StatusCode::kFailedPrecondition, "STORE_SCHEMA_MISMATCH",
          fmt::format("schema change {} ({}) was applied in another form than this version's", version, row.first),
          "run the version that wrote the store");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Database::Migrate() {
  POSTERN_ASSIGN_OR_RETURN(Transaction transaction, Begin());
  POSTERN_RETURN_IF_ERROR(transaction->Script(std::string(engine_->schema_table())));
  std::map<int64_t, std::pair<std::string, std::string>> applied;
  {
    Statement rows = transaction->Prepare("SELECT version, name, sha256 FROM schema_migrations");
    while (rows.Step()) applied[rows.Int(0)] = {rows.Text(1), rows.Text(2)};
    POSTERN_RETURN_IF_ERROR(rows.status());
  }
  POSTERN_RETURN_IF_ERROR(CheckApplied(migrations(), applied));
  for (const Migration& migration : migrations()) {
    if (applied.contains(migration.version)) continue;
    if (absl::Status status = transaction->Script(std::string(migration.sql)); !status.ok()) {
      return Error(status.code(), "STORE_SCHEMA_FAILED",
                   fmt::format("schema change {} ({}) failed: {}", migration.version, migration.name,
                               std::string(status.message())));
    }
    POSTERN_RETURN_IF_ERROR(transaction->Run("INSERT INTO schema_migrations(version, name, sha256) VALUES (?, ?, ?)",
                                             migration.version, migration.name, Sha256Hex(migration.sql)));
  }
  return transaction.Commit();
}

}  // namespace postern::store
