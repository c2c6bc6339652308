#include "cli/exit_status.h"

#include <cstdio>
#include <string>

#include "common/base/errors.h"

namespace postern::cli {

int ExitStatusOf(const absl::Status& status) {
  if (status.ok()) return kOk;
  const std::string reason = ReasonOf(status);
  if (reason == "USAGE") return kUsage;
  if (reason == "POLICY_DENIED") return kRefusedByPolicy;
  if (reason == "APPROVAL_DENIED" || reason == "APPROVAL_EXPIRED" || reason == "APPROVAL_CANCELLED") {
    return kApprovalDenied;
  }
  if (reason == "CONTROL_PLANE_UNREACHABLE") return kUnreachable;
  return kFailed;
}

int Fail(const absl::Status& status) {
  if (status.ok()) return kOk;
  const ErrorDetails details = DetailsOf(status);
  std::string line = "postern: " + std::string(status.message());
  if (!details.hint.empty()) line += "; " + details.hint;
  for (char& c : line) {
    if (c == '\n') c = ' ';
  }
  std::fprintf(stderr, "%s\n", line.c_str());
  return ExitStatusOf(status);
}

}  // namespace postern::cli
