// Whether votes fill the steps of a hold rule. Internal to this room.
#pragma once

#include "google/protobuf/repeated_ptr_field.h"
#include "postern/v1/approval.pb.h"

namespace postern::approval {

// True if the people behind `votes`, all of them approving and distinct, fill every place of all steps (or of one,
// where any is enough), one person at most one place. Somebody in the groups of two steps is counted where it helps
// most.
bool StepsFilled(const v1::HoldSettings& hold, const google::protobuf::RepeatedPtrField<v1::Vote>& votes);

}  // namespace postern::approval
