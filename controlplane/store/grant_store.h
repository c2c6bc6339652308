// grant::GrantStore on SQLite.
#pragma once

#include "controlplane/store/database.h"
#include "controlplane/token/grant_store.h"

namespace postern::store {

class SqlGrantStore : public grant::GrantStore {
 public:
  // `database` outlives the store.
  explicit SqlGrantStore(Database& database) : database_(database) {}

  absl::Status Insert(const grant::Grant& grant, const approval::Approval* opened) override;
  absl::StatusOr<grant::Grant> Get(std::string_view id) const override;
  absl::StatusOr<grant::Grant> FindByRequest(std::string_view agent, std::string_view request_id) const override;
  absl::Status Replace(const grant::Grant& next) override;
  absl::StatusOr<std::vector<grant::Grant>> List(const grant::GrantFilter& filter, absl::Time now) const override;
  absl::StatusOr<std::vector<grant::Grant>> Revoked(absl::Time now) const override;

 private:
  Database& database_;
};

// Replaces a grant inside somebody else's change. ABORTED/STALE_ETAG.
absl::Status ReplaceGrant(Connection& db, const grant::Grant& next);

}  // namespace postern::store
