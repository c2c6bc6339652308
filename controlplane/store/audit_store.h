// audit::AuditStore on SQLite.
#pragma once

#include "controlplane/audit/audit_store.h"
#include "controlplane/store/database.h"

namespace postern::store {

class SqlAuditStore : public audit::AuditStore {
 public:
  // `database` outlives the store.
  explicit SqlAuditStore(Database& database) : database_(database) {}

  absl::Status Write(const std::function<absl::Status(Change&)>& change) override;
  absl::StatusOr<audit::Frontier> Tree() const override;
  absl::StatusOr<std::vector<v1::LoggedRecord>> Find(const v1::AuditFilter& filter, const Range& range) const override;
  absl::StatusOr<std::vector<audit::Digest>> LeafHashes(int64_t from, int64_t end) const override;
  absl::Status AddCheckpoint(const v1::Checkpoint& checkpoint) override;
  absl::StatusOr<std::optional<v1::Checkpoint>> LatestCheckpoint() const override;
  absl::StatusOr<std::vector<v1::Checkpoint>> Checkpoints(int64_t after, int64_t upto) const override;
  absl::Status AddKey(const v1::AuditKey& key, absl::Time now) override;
  absl::StatusOr<std::vector<v1::AuditKey>> Keys() const override;

 private:
  Database& database_;
};

}  // namespace postern::store
