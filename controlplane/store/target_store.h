// target::TargetStore on SQLite.
#pragma once

#include "controlplane/store/database.h"
#include "controlplane/target/target_store.h"

namespace postern::store {

class SqlTargetStore : public target::TargetStore {
 public:
  // `database` outlives the store.
  explicit SqlTargetStore(Database& database) : database_(database) {}

  absl::StatusOr<target::StoredTarget> Insert(const target::StoredTarget& target) override;
  absl::StatusOr<target::StoredTarget> Get(std::string_view name) const override;
  absl::StatusOr<target::StoredTarget> Replace(const target::StoredTarget& next) override;
  absl::Status Delete(std::string_view name) override;
  absl::StatusOr<std::vector<target::StoredTarget>> List(std::string_view after, int limit) const override;

 private:
  Database& database_;
};

}  // namespace postern::store
