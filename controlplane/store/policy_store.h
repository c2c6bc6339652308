// policy::PolicyStore on SQLite.
#pragma once

#include "controlplane/policy/policy_store.h"
#include "controlplane/store/database.h"

namespace postern::store {

class SqlPolicyStore : public policy::PolicyStore {
 public:
  // `database` outlives the store.
  explicit SqlPolicyStore(Database& database) : database_(database) {}

  absl::StatusOr<v1::PolicyRevision> Latest() const override;
  absl::StatusOr<v1::PolicyRevision> Get(int64_t revision) const override;
  absl::StatusOr<v1::PolicyRevision> Append(v1::PolicyRevision next, int64_t seen) override;
  absl::StatusOr<std::vector<v1::PolicyRevision>> List(int64_t before, int limit) const override;

 private:
  Database& database_;
};

}  // namespace postern::store
