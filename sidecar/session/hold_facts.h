// What approvers are told of a held statement beside its text: its shape and its risks.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "postern/v1/approval.pb.h"
#include "sidecar/enforce/enforcer.h"

namespace postern::session {

// `alone`: a limit of affected rows could be kept. Templates are for single plain writes only, whose code is all seen.
v1::StatementShape ShapeForApproval(const sidecar::Plan& plan, std::string_view sql, bool alone);

struct Risks {
  // "low", "medium", "high".
  std::string level;
  // Worst first.
  std::vector<std::string> reasons;
};
Risks RisksOf(const sidecar::Plan& plan);

}  // namespace postern::session
