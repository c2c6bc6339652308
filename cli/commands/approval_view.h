// How an approval is shown to the person who decides it.
#pragma once

#include <string>

#include "postern/v1/approval.pb.h"

namespace postern::cli {

// "pending", "approved", …
std::string_view ApprovalStateName(v1::ApprovalState state);

// All that an approver needs, over several lines.
std::string DescribeApproval(const v1::Approval& approval);

// One line for lists and for watch in pipes.
std::string SummariseApproval(const v1::Approval& approval);

// JSON with the statement as text beside the raw binding.
std::string ApprovalJson(const v1::Approval& approval);

}  // namespace postern::cli
