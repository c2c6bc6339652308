#include "controlplane/store/request_memory.h"

#include "common/base/status_macros.h"

namespace postern::store {

absl::StatusOr<std::optional<server::RequestMemory::Answer>> SqlRequestMemory::Find(const Key& key,
                                                                                    absl::Time now) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement row = reader->Prepare(
      "SELECT digest, response FROM request_ids WHERE caller = ? AND method = ? AND request_id = ? AND expire_time > "
      "?");
  if (!row.BindAll(key.caller, key.method, key.request_id, now).Step()) {
    POSTERN_RETURN_IF_ERROR(row.status());
    return std::nullopt;
  }
  return Answer{.request_digest = row.Bytes(0), .response = row.Bytes(1)};
}

absl::Status SqlRequestMemory::Save(const Key& key, const Answer& answer, absl::Time now) {
  return database_.Write([&](Connection& db) -> absl::Status {
    POSTERN_RETURN_IF_ERROR(db.Run("DELETE FROM request_ids WHERE expire_time <= ?", now));
    return db.Run(
        "INSERT INTO request_ids(caller, method, request_id, digest, response, expire_time) VALUES (?, ?, ?, ?, ?, ?)",
        key.caller, key.method, key.request_id, Blob{answer.request_digest}, Blob{answer.response},
        now + server::kRememberFor);
  });
}

}  // namespace postern::store
