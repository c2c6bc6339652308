// Exit statuses of `postern`, stable for scripts.
#pragma once

#include "absl/status/status.h"

namespace postern::cli {

inline constexpr int kOk = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;
inline constexpr int kRefusedByPolicy = 3;
inline constexpr int kApprovalDenied = 4;  // or expired
inline constexpr int kUnreachable = 5;

// The exit status that a failure ends with.
int ExitStatusOf(const absl::Status& status);

// Prints `postern: <what happened>` and, when there is one, `hint: <what to do>`, to stderr; returns ExitStatusOf().
int Fail(const absl::Status& status);

}  // namespace postern::cli
