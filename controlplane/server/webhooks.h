// From the configuration's webhooks to what the dispatcher sends to.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "controlplane/server/config.h"
#include "controlplane/webhook/dispatcher.h"

namespace postern::server {

// Reads the files with secrets and CAs. INVALID_ARGUMENT/CONFIG_INVALID names the webhook and what is wrong with it.
absl::StatusOr<std::vector<webhook::Endpoint>> LoadWebhooks(const Config& config);

// Over libcurl, for at most 10 seconds. Redirects are not followed.
absl::Status PostToWebhook(const webhook::Endpoint& endpoint, const std::vector<std::string>& headers,
                           const std::string& body);

}  // namespace postern::server
