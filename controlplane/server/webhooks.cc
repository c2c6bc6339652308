#include "controlplane/server/webhooks.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <utility>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "controlplane/identity/http_fetcher.h"
#include "fmt/format.h"

namespace postern::server {
namespace {

constexpr size_t kShortestSecret = 32;

absl::Status WebhookInvalid(const Config::Webhook& webhook, std::string_view what) {
  return Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID", fmt::format("webhook {}: {}", webhook.name, what),
               "docs/webhooks.md says what each key means");
}

// Without the newline that editors leave at the end.
absl::StatusOr<std::string> ReadWebhookFile(const Config::Webhook& webhook, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  if (!file || file.bad()) return WebhookInvalid(webhook, fmt::format("cannot read {}", path));
  std::string content = text.str();
  while (!content.empty() && (content.back() == '\n' || content.back() == '\r')) content.pop_back();
  return content;
}

webhook::Shape ShapeFromName(std::string_view name) {
  if (name == "slack") return webhook::Shape::kSlack;
  if (name == "teams") return webhook::Shape::kTeams;
  return name == "pagerduty" ? webhook::Shape::kPagerDuty : webhook::Shape::kPostern;
}

absl::StatusOr<webhook::Endpoint> LoadOne(const Config::Webhook& from) {
  webhook::Endpoint endpoint;
  endpoint.name = from.name;
  endpoint.url = from.url;
  endpoint.shape = ShapeFromName(from.shape);
  endpoint.link = from.link;
  endpoint.allow_loopback_http = from.allow_loopback_http;
  const absl::Status url = identity::CheckIssuerUrl(from.url, from.allow_loopback_http);
  if (!url.ok()) return WebhookInvalid(from, "url must be https:// with a host, or an allowed http:// on loopback");
  if (!from.secret_file.empty()) {
    POSTERN_ASSIGN_OR_RETURN(std::string secret, ReadWebhookFile(from, from.secret_file));
    if (secret.size() < kShortestSecret) {
      return WebhookInvalid(from, fmt::format("the secret has {} bytes; it needs {}", secret.size(), kShortestSecret));
    }
    endpoint.secret = crypto::Secret::Take(secret);
  }
  if (!from.routing_key_file.empty()) {
    POSTERN_ASSIGN_OR_RETURN(std::string key, ReadWebhookFile(from, from.routing_key_file));
    endpoint.routing_key = crypto::Secret::Take(key);
  }
  if (!from.ca_file.empty()) {
    POSTERN_ASSIGN_OR_RETURN(endpoint.ca_pem, ReadWebhookFile(from, from.ca_file));
  }
  const std::vector<std::string>& known = webhook::Events();
  for (const std::string& event : from.events) {
    if (std::find(known.begin(), known.end(), event) == known.end()) {
      return WebhookInvalid(from, fmt::format("there is no event {}", event));
    }
    endpoint.events.insert(event);
  }
  endpoint.groups.insert(from.groups.begin(), from.groups.end());
  return endpoint;
}

}  // namespace

absl::StatusOr<std::vector<webhook::Endpoint>> LoadWebhooks(const Config& config) {
  std::vector<webhook::Endpoint> endpoints;
  for (const Config::Webhook& webhook : config.webhooks) {
    POSTERN_ASSIGN_OR_RETURN(webhook::Endpoint endpoint, LoadOne(webhook));
    endpoints.push_back(std::move(endpoint));
  }
  return endpoints;
}

absl::Status PostToWebhook(const webhook::Endpoint& endpoint, const std::vector<std::string>& headers,
                           const std::string& body) {
  return identity::HttpPost(endpoint.url, headers, body,
                            {.ca_pem = endpoint.ca_pem, .allow_loopback_http = endpoint.allow_loopback_http});
}

}  // namespace postern::server
