// HardenSql(): the rights that make Postgres itself refuse what policy masks and does not grant. A wall behind the
// gate: it stands also where analysis errs, or somebody finds a way past the sidecar with a session's role.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/policy/policy.h"

namespace postern::policy {

struct HardenOptions {
  TargetView target;
  // Role that the sidecar logs in as, and that sessions run as where policy names none.
  std::string login_role;
  std::string default_role;
};

// SQL for a superuser or the owner of everything, in one transaction; it fails, and changes nothing, when a session's
// role could still read a masked column afterwards. One role for each `session.role` of the policies that speak of the
// target. Masked columns and columns that no rule grants are granted to none.
//   FAILED_PRECONDITION/NO_POLICY: no policy speaks of the target. SHARED_ROLE: sessions would run as the login role,
//   which cannot be narrowed.
absl::StatusOr<std::string> HardenSql(const std::vector<v1::Policy>& policies, const HardenOptions& options,
                                      const sql::Catalog& catalog);

}  // namespace postern::policy
