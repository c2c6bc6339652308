// What an audit record says of a plan.
#pragma once

#include <string_view>

#include "common/audit/record_writer.h"
#include "sidecar/enforce/enforcer.h"

namespace postern::sidecar {

// Appends the fields `fingerprint` to `masks` of a STATEMENT_INTENT. `decision`: "allow", "hold", "deny"; `reason`
// stands in place of the deciding rule's own unless it is empty.
void AppendJudgement(const Plan& plan, std::string_view decision, std::string_view reason, std::string_view approval_id,
                     audit::RecordWriter* record);

}  // namespace postern::sidecar
