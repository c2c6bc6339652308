#include "controlplane/store/key_store.h"

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "controlplane/store/rows.h"

namespace postern::store {

absl::Status SqlKeyStore::InsertFirst(const std::vector<server::ServiceKey>& keys) {
  return database_.Write([&](Connection& db) -> absl::Status {
    for (const server::ServiceKey& key : keys) {
      Statement existing = db.Prepare("SELECT 1 FROM service_keys WHERE purpose = ? LIMIT 1");
      if (existing.BindAll(key.purpose).Step()) {
        return Error(absl::StatusCode::kAlreadyExists, "ALREADY_INITIALISED", "the data folder is initialised already",
                     "start it with `postern-controlplane --config FILE serve`");
      }
      POSTERN_RETURN_IF_ERROR(existing.status());
      POSTERN_RETURN_IF_ERROR(db.Run(
          "INSERT INTO service_keys(id, purpose, public_pem, sealed_private, create_time) VALUES (?, ?, ?, ?, ?)",
          key.id, key.purpose, key.public_pem, Blob{key.sealed_private}, key.create_time));
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<server::ServiceKey>> SqlKeyStore::List(std::string_view purpose) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement rows = reader->Prepare(
      "SELECT id, purpose, public_pem, sealed_private, create_time FROM service_keys WHERE purpose = ? "
      "ORDER BY create_time, id");
  rows.BindAll(purpose);
  return ReadAll<server::ServiceKey>(rows, [](const Statement& row) -> absl::StatusOr<server::ServiceKey> {
    return server::ServiceKey{row.Text(0), row.Text(1), row.Text(2), row.Bytes(3), row.Time(4)};
  });
}

}  // namespace postern::store
