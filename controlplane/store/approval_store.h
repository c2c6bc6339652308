// approval::ApprovalStore on SQLite.
#pragma once

#include "controlplane/approval/approval_store.h"
#include "controlplane/store/database.h"

namespace postern::store {

class SqlApprovalStore : public approval::ApprovalStore {
 public:
  // `database` outlives the store.
  explicit SqlApprovalStore(Database& database) : database_(database) {}

  absl::StatusOr<approval::Approval> OpenOrJoin(const approval::Approval& fresh, const approval::Waiter& waiter,
                                                bool* joined) override;
  absl::StatusOr<approval::Approval> Get(std::string_view id) const override;
  absl::StatusOr<approval::Approval> Replace(const approval::Approval& next, const grant::Grant* also) override;
  absl::StatusOr<std::vector<approval::Approval>> List(const approval::ApprovalFilter& filter) const override;
  absl::Status AttachPreview(std::string_view id, const v1::Preview& preview) override;
  absl::StatusOr<std::vector<approval::Approval>> Due(absl::Time now, int limit) const override;
  absl::StatusOr<absl::Time> NextDeadline() const override;
  absl::StatusOr<std::vector<approval::Waiter>> Waiters(std::string_view id) const override;
  absl::StatusOr<approval::Approval> RemoveWaiter(const approval::Waiter& waiter,
                                                  const approval::Approval& if_last) override;

 private:
  Database& database_;
};

// Inserts a new approval inside somebody else's change.
absl::Status InsertApproval(Connection& db, const approval::Approval& fresh);

}  // namespace postern::store
