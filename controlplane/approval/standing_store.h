// What stands for a while beside single approvals: templates and delegations.
#pragma once

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "postern/v1/approval.pb.h"

namespace postern::approval {

namespace error {
// NOT_FOUND/TEMPLATE_NOT_FOUND, NOT_FOUND/DELEGATION_NOT_FOUND.
absl::Status TemplateNotFound(std::string_view id);
absl::Status DelegationNotFound(std::string_view id);
}  // namespace error

// Thread-safe. UNAVAILABLE from any of them: unknown; read again before retrying.
class StandingStore {
 public:
  virtual ~StandingStore() = default;

  // `match_key` is what TemplateKeyOf() says of the requests that it approves.
  virtual absl::Status InsertTemplate(const v1::ApprovalTemplate& made, std::string_view match_key) = 0;
  // NOT_FOUND/TEMPLATE_NOT_FOUND.
  virtual absl::StatusOr<v1::ApprovalTemplate> GetTemplate(std::string_view id) const = 0;
  // One that is neither revoked nor over at `now`, and counts its use. NOT_FOUND/TEMPLATE_NOT_FOUND.
  virtual absl::StatusOr<v1::ApprovalTemplate> UseTemplate(std::string_view match_key, absl::Time now) = 0;
  // Newest first; those that live at `now`, or all.
  virtual absl::StatusOr<std::vector<v1::ApprovalTemplate>> ListTemplates(absl::Time now, bool all) const = 0;
  // Sets who and when. One that is revoked already stays as it is.
  virtual absl::StatusOr<v1::ApprovalTemplate> RevokeTemplate(std::string_view id, std::string_view by,
                                                              absl::Time now) = 0;

  virtual absl::Status InsertDelegation(const v1::Delegation& made) = 0;
  // Those that have not ended at `now`, also those that have not begun. By id.
  virtual absl::StatusOr<std::vector<v1::Delegation>> ListDelegations(absl::Time now) const = 0;
  // NOT_FOUND/DELEGATION_NOT_FOUND.
  virtual absl::StatusOr<v1::Delegation> GetDelegation(std::string_view id) const = 0;
  virtual absl::Status DeleteDelegation(std::string_view id) = 0;
};

}  // namespace postern::approval
