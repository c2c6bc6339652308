// `postern approval watch` on a terminal: a list of what waits, each in full, and decisions by keyboard.
#pragma once

#include "absl/status/status.h"
#include "cli/client.h"

namespace postern::cli {

// Takes the terminal until the user quits. The stream of approvals is opened again when it breaks.
absl::Status WatchScreen(Client& client);

}  // namespace postern::cli
