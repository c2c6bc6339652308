// Whether an intent is well formed, whoever asks and whatever policy says.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "postern/v1/token.pb.h"

namespace postern::grant {

// INVALID_ARGUMENT/INVALID_INTENT, naming the field and what it should be.
absl::Status ValidateIntent(const v1::Intent& intent);

// True if `person` is one of `may_act_for`, where `*` stands for any run of characters.
bool MayActFor(const std::vector<std::string>& may_act_for, std::string_view person);

}  // namespace postern::grant
