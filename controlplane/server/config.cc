#include "controlplane/server/config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <utility>

#include <yaml-cpp/yaml.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "controlplane/store/engine.h"
#include "fmt/format.h"

namespace postern::server {
namespace {

absl::Status Invalid(std::string_view path, const YAML::Mark& mark, std::string_view what, std::string_view hint = {}) {
  return Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID",
               mark.is_null() ? fmt::format("{}: {}", path, what) : fmt::format("{}:{}: {}", path, mark.line + 1, what),
               hint);
}

// How each key is read. The readers throw what yaml-cpp throws; ReadMap turns it into a status.
using Reader = std::function<void(const YAML::Node&)>;
using Readers = std::map<std::string, Reader, std::less<>>;

absl::Status ReadMap(const YAML::Node& map, const Readers& readers, std::string_view prefix, std::string_view path) {
  if (!map.IsMap())
    return Invalid(path, map.Mark(), fmt::format("{} must be a map of keys", prefix.empty() ? "the file" : prefix));
  std::map<std::string, int> seen;
  for (const auto& entry : map) {
    const std::string key = entry.first.Scalar();
    const auto reader = readers.find(key);
    if (reader == readers.end()) {
      return Invalid(path, entry.first.Mark(), fmt::format("unknown key {}{}", prefix, key),
                     "every key is documented in the reference of postern-controlplane");
    }
    if (++seen[key] > 1) return Invalid(path, entry.first.Mark(), fmt::format("{}{} is set twice", prefix, key));
    try {
      reader->second(entry.second);
    } catch (const YAML::Exception&) {
      return Invalid(path, entry.second.Mark(), fmt::format("{}{} has a value of the wrong type", prefix, key));
    }
  }
  return absl::OkStatus();
}

Reader Into(std::string& value) {
  return [&value](const YAML::Node& node) { value = node.as<std::string>(); };
}
Reader Into(double& value) {
  return [&value](const YAML::Node& node) { value = node.as<double>(); };
}
Reader Into(bool& value) {
  return [&value](const YAML::Node& node) { value = node.as<bool>(); };
}
Reader Into(std::vector<std::string>& value) {
  return [&value](const YAML::Node& node) { value = node.as<std::vector<std::string>>(); };
}
Reader Into(int64_t& value) {
  return [&value](const YAML::Node& node) { value = node.as<int64_t>(); };
}

bool IsOrigin(std::string_view text) {
  return !text.empty() && text.size() <= 253 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  });
}

absl::Status Check(const Config& config, std::string_view path) {
  const auto invalid = [&](std::string_view what) { return Invalid(path, YAML::Mark::null_mark(), what); };
  if (!IsOrigin(config.origin)) return invalid("origin must be a host-like name: a-z, 0-9, - and dots");
  if (config.data_dir.empty()) return invalid("data_dir is missing");
  if (config.kek_file.empty()) return invalid("kek_file is missing");
  if (config.store != "sqlite" && !store::IsPostgresUri(config.store)) {
    return invalid("store must be sqlite or a postgresql:// URI");  // it may hold a password: not repeated
  }
  if (!ParseHostPort(config.listen).ok()) return invalid("listen must be host:port");
  if (!ParseHostPort(config.advertise).ok()) return invalid("advertise must be host:port");
  if (!config.metrics.empty() && !ParseHostPort(config.metrics).ok()) return invalid("metrics must be host:port");
  const std::string& level = config.log_level;
  if (level != "debug" && level != "info" && level != "warning" && level != "error") {
    return invalid("log_level must be debug, info, warning or error");
  }
  const Config::Limits& limits = config.limits;
  if (!std::isfinite(limits.calls_per_second) || limits.calls_per_second < 0) {
    return invalid("limits.calls_per_second must not be negative");
  }
  if (!std::isfinite(limits.burst) || limits.burst < 1) return invalid("limits.burst must be at least 1");
  if (limits.largest_request_bytes < 1024 || limits.largest_request_bytes > (int64_t{16} << 20)) {
    return invalid("limits.largest_request_bytes must be 1024 to 16777216");
  }
  return absl::OkStatus();
}

absl::Status ReadWebhooks(const YAML::Node& list, std::string_view path, std::vector<Config::Webhook>& webhooks) {
  if (!list.IsSequence()) return Invalid(path, list.Mark(), "webhooks must be a list");
  for (const YAML::Node& node : list) {
    Config::Webhook& webhook = webhooks.emplace_back();
    const Readers keys = {{"name", Into(webhook.name)},
                          {"url", Into(webhook.url)},
                          {"shape", Into(webhook.shape)},
                          {"secret_file", Into(webhook.secret_file)},
                          {"routing_key_file", Into(webhook.routing_key_file)},
                          {"events", Into(webhook.events)},
                          {"groups", Into(webhook.groups)},
                          {"link", Into(webhook.link)},
                          {"ca_file", Into(webhook.ca_file)},
                          {"allow_loopback_http", Into(webhook.allow_loopback_http)}};
    POSTERN_RETURN_IF_ERROR(ReadMap(node, keys, "webhooks.", path));
    const auto invalid = [&](std::string_view what) {
      return Invalid(path, node.Mark(), fmt::format("webhook {}: {}", webhook.name, what));
    };
    if (webhook.name.empty()) return invalid("name is missing");
    if (std::count_if(webhooks.begin(), webhooks.end(),
                      [&](const Config::Webhook& other) { return other.name == webhook.name; }) > 1) {
      return invalid("the name is used twice");
    }
    if (webhook.url.empty()) return invalid("url is missing");
    if (webhook.shape != "postern" && webhook.shape != "slack" && webhook.shape != "teams" &&
        webhook.shape != "pagerduty") {
      return invalid("shape must be postern, slack, teams or pagerduty");
    }
    if (webhook.shape == "postern" && webhook.secret_file.empty()) return invalid("secret_file is missing");
    if (webhook.shape == "pagerduty" && webhook.routing_key_file.empty()) return invalid("routing_key_file is missing");
  }
  return absl::OkStatus();
}

// Hosts by which somebody may call: never the wildcard addresses.
void AddHost(std::string_view address, std::vector<std::string>& hosts) {
  const absl::StatusOr<HostPort> parsed = ParseHostPort(address);
  if (!parsed.ok() || parsed->host == "0.0.0.0" || parsed->host == "::") return;
  if (std::find(hosts.begin(), hosts.end(), parsed->host) == hosts.end()) hosts.push_back(parsed->host);
}

}  // namespace

std::string StoreLocation(const Config& config, const std::string& file) {
  return config.store == "sqlite" ? file : config.store;
}

absl::StatusOr<HostPort> ParseHostPort(std::string_view text) {
  const auto invalid = [&] {
    return Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID", fmt::format("{} is not host:port", text));
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return invalid();
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  if (host.front() == '[') {
    if (host.size() < 3 || host.back() != ']') return invalid();
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return invalid();
  }
  HostPort parsed{.host = std::string(host), .port = 0};
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), parsed.port);
  if (error != std::errc() || end != port.data() + port.size() || parsed.port < 0 || parsed.port > 65535) {
    return invalid();
  }
  return parsed;
}

absl::StatusOr<Config> ParseConfig(std::string_view yaml, std::string_view path) {
  YAML::Node root;
  try {
    root = YAML::Load(std::string(yaml));
  } catch (const YAML::Exception& exception) {
    return Invalid(path, exception.mark, fmt::format("not YAML: {}", exception.msg));
  }
  Config config;
  absl::Status limits_status;
  absl::Status webhooks_status;
  const Readers limits = {{"calls_per_second", Into(config.limits.calls_per_second)},
                          {"burst", Into(config.limits.burst)},
                          {"largest_request_bytes", Into(config.limits.largest_request_bytes)}};
  const Readers keys = {
      {"origin", Into(config.origin)},
      {"listen", Into(config.listen)},
      {"advertise", Into(config.advertise)},
      {"data_dir", Into(config.data_dir)},
      {"store", Into(config.store)},
      {"kek_file", Into(config.kek_file)},
      {"metrics", Into(config.metrics)},
      {"log_level", Into(config.log_level)},
      {"tls_hosts", [&](const YAML::Node& node) { config.tls_hosts = node.as<std::vector<std::string>>(); }},
      {"limits", [&](const YAML::Node& node) { limits_status = ReadMap(node, limits, "limits.", path); }},
      {"webhooks", [&](const YAML::Node& node) { webhooks_status = ReadWebhooks(node, path, config.webhooks); }},
  };
  POSTERN_RETURN_IF_ERROR(ReadMap(root, keys, "", path));
  POSTERN_RETURN_IF_ERROR(limits_status);
  POSTERN_RETURN_IF_ERROR(webhooks_status);
  if (config.advertise.empty()) config.advertise = config.listen;
  POSTERN_RETURN_IF_ERROR(Check(config, path));
  if (config.tls_hosts.empty()) {
    AddHost(config.advertise, config.tls_hosts);
    AddHost(config.listen, config.tls_hosts);
  }
  if (config.tls_hosts.empty()) {
    return Invalid(path, YAML::Mark::null_mark(), "tls_hosts is missing, and listen and advertise name no host");
  }
  return config;
}

absl::StatusOr<Config> LoadConfig(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  if (!file || file.bad()) {
    return Error(absl::StatusCode::kNotFound, "CONFIG_MISSING", fmt::format("cannot read {}", path),
                 "name the configuration file with --config");
  }
  return ParseConfig(text.str(), path);
}

}  // namespace postern::server
