#include "controlplane/store/target_store.h"

#include <limits>
#include <optional>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "controlplane/store/rows.h"
#include "fmt/format.h"

namespace postern::store {
namespace {

using target::StoredTarget;

constexpr std::string_view kColumns = "body, version, sealed_password, sealed_mask_key";

absl::Status NotFound(std::string_view name) {
  return Error(absl::StatusCode::kNotFound, "TARGET_NOT_FOUND", fmt::format("there is no target {}", name),
               "`postern target list` shows them");
}

absl::StatusOr<StoredTarget> ReadRow(const Statement& row) {
  StoredTarget stored;
  POSTERN_RETURN_IF_ERROR(ParseBody(row.Bytes(0), stored.target));
  stored.version = row.Int(1);
  stored.target.set_etag(std::to_string(stored.version));
  stored.sealed_password = row.Bytes(2);
  stored.sealed_mask_key = row.Bytes(3);
  return stored;
}

absl::StatusOr<StoredTarget> ReadByName(Connection& db, std::string_view name) {
  Statement row = db.Prepare(fmt::format("SELECT {} FROM targets WHERE name = ?", kColumns));
  return ReadOne<StoredTarget>(row.BindAll(name), ReadRow, [&] { return NotFound(name); });
}

}  // namespace

absl::StatusOr<StoredTarget> SqlTargetStore::Insert(const StoredTarget& target) {
  const absl::Status status = database_.Write([&](Connection& db) {
    return db.Run("INSERT INTO targets(name, version, body, sealed_password, sealed_mask_key) VALUES (?, 1, ?, ?, ?)",
                  target.target.name(), Blob{target.target.SerializeAsString()}, Blob{target.sealed_password},
                  Blob{target.sealed_mask_key});
  });
  if (status.code() == absl::StatusCode::kAlreadyExists) {
    return Error(absl::StatusCode::kAlreadyExists, "TARGET_EXISTS",
                 fmt::format("there is a target {} already", target.target.name()),
                 "choose another name, or update that one");
  }
  POSTERN_RETURN_IF_ERROR(status);
  StoredTarget stored = target;
  stored.version = 1;
  stored.target.set_etag("1");
  return stored;
}

absl::StatusOr<StoredTarget> SqlTargetStore::Get(std::string_view name) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  return ReadByName(*reader, name);
}

absl::StatusOr<StoredTarget> SqlTargetStore::Replace(const StoredTarget& next) {
  std::optional<StoredTarget> stored;
  POSTERN_RETURN_IF_ERROR(database_.Write([&](Connection& db) -> absl::Status {
    POSTERN_RETURN_IF_ERROR(
        db.Run("UPDATE targets SET version = version + 1, body = ?, sealed_password = ?, "
               "sealed_mask_key = ? WHERE name = ? AND version = ?",
               Blob{next.target.SerializeAsString()}, Blob{next.sealed_password}, Blob{next.sealed_mask_key},
               next.target.name(), next.version));
    const bool replaced = db.changes() == 1;
    POSTERN_ASSIGN_OR_RETURN(stored, ReadByName(db, next.target.name()));
    if (replaced) return absl::OkStatus();
    return Error(absl::StatusCode::kAborted, "STALE_ETAG",
                 fmt::format("target {} has changed since you saw it", next.target.name()),
                 "look at it again, then update");
  }));
  return *std::move(stored);
}

absl::Status SqlTargetStore::Delete(std::string_view name) {
  return database_.Write([&](Connection& db) -> absl::Status {
    POSTERN_RETURN_IF_ERROR(db.Run("DELETE FROM targets WHERE name = ?", name));
    return db.changes() == 1 ? absl::OkStatus() : NotFound(name);
  });
}

absl::StatusOr<std::vector<StoredTarget>> SqlTargetStore::List(std::string_view after, int limit) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement rows =
      reader->Prepare(fmt::format("SELECT {} FROM targets WHERE name > ? ORDER BY name LIMIT ?", kColumns));
  rows.BindAll(after, limit == 0 ? std::numeric_limits<int64_t>::max() : limit);
  return ReadAll<StoredTarget>(rows, ReadRow);
}

}  // namespace postern::store
