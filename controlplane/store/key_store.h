// server::KeyStore on SQLite.
#pragma once

#include "controlplane/server/key_store.h"
#include "controlplane/store/database.h"

namespace postern::store {

class SqlKeyStore : public server::KeyStore {
 public:
  // `database` outlives the store.
  explicit SqlKeyStore(Database& database) : database_(database) {}

  absl::Status InsertFirst(const std::vector<server::ServiceKey>& keys) override;
  absl::StatusOr<std::vector<server::ServiceKey>> List(std::string_view purpose) const override;

 private:
  Database& database_;
};

}  // namespace postern::store
