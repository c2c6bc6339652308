// session::SessionStore on SQLite.
#pragma once

#include "controlplane/session/session_store.h"
#include "controlplane/store/database.h"

namespace postern::store {

class SqlSessionStore : public session::SessionStore {
 public:
  // `database` outlives the store.
  explicit SqlSessionStore(Database& database) : database_(database) {}

  absl::Status Save(const v1::Session& session) override;
  absl::Status ReplaceLive(std::string_view sidecar_id, const std::vector<v1::Session>& live, absl::Time now) override;
  absl::StatusOr<v1::Session> Get(std::string_view id) const override;
  absl::StatusOr<std::vector<v1::Session>> List(const session::SessionFilter& filter) const override;

 private:
  Database& database_;
};

}  // namespace postern::store
