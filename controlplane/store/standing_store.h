// approval::StandingStore on either engine.
#pragma once

#include "controlplane/approval/standing_store.h"
#include "controlplane/store/database.h"

namespace postern::store {

class SqlStandingStore : public approval::StandingStore {
 public:
  // `database` outlives the store.
  explicit SqlStandingStore(Database& database) : database_(database) {}

  absl::Status InsertTemplate(const v1::ApprovalTemplate& made, std::string_view match_key) override;
  absl::StatusOr<v1::ApprovalTemplate> GetTemplate(std::string_view id) const override;
  absl::StatusOr<v1::ApprovalTemplate> UseTemplate(std::string_view match_key, absl::Time now) override;
  absl::StatusOr<std::vector<v1::ApprovalTemplate>> ListTemplates(absl::Time now, bool all) const override;
  absl::StatusOr<v1::ApprovalTemplate> RevokeTemplate(std::string_view id, std::string_view by,
                                                      absl::Time now) override;
  absl::Status InsertDelegation(const v1::Delegation& made) override;
  absl::StatusOr<std::vector<v1::Delegation>> ListDelegations(absl::Time now) const override;
  absl::StatusOr<v1::Delegation> GetDelegation(std::string_view id) const override;
  absl::Status DeleteDelegation(std::string_view id) override;

 private:
  Database& database_;
};

}  // namespace postern::store
