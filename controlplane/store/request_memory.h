// server::RequestMemory on SQLite.
#pragma once

#include "controlplane/server/request_memory.h"
#include "controlplane/store/database.h"

namespace postern::store {

class SqlRequestMemory : public server::RequestMemory {
 public:
  // `database` outlives the memory.
  explicit SqlRequestMemory(Database& database) : database_(database) {}

  absl::StatusOr<std::optional<Answer>> Find(const Key& key, absl::Time now) const override;
  absl::Status Save(const Key& key, const Answer& answer, absl::Time now) override;

 private:
  Database& database_;
};

}  // namespace postern::store
