#include "sidecar/app/config.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <thread>

#include <yaml-cpp/yaml.h>

#include "absl/time/time.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "fmt/format.h"

namespace postern::sidecar_app {
namespace {

using Take = std::function<absl::Status(const YAML::Node&)>;

class Reader {
 public:
  explicit Reader(std::string_view file) : file_(file) {}

  absl::Status Invalid(const YAML::Node& at, std::string_view what) const {
    return Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID",
                 fmt::format("{}:{}: {}", file_, at.Mark().line + 1, what),
                 "sidecar/app/config.h and docs/reference list every key.");
  }

  // Hands each key of the map to its taker; a key without one is an error.
  absl::Status Map(const YAML::Node& node, std::string_view where, const std::map<std::string, Take>& keys) const {
    if (!node.IsMap()) return Invalid(node, fmt::format("{} must be a map", where));
    for (const auto& item : node) {
      const auto key = item.first.as<std::string>();
      const auto taker = keys.find(key);
      if (taker == keys.end()) return Invalid(item.first, fmt::format("unknown key \"{}\" in {}", key, where));
      POSTERN_RETURN_IF_ERROR(taker->second(item.second));
    }
    return absl::OkStatus();
  }

  Take Text(std::string* out) const {
    return [this, out](const YAML::Node& node) {
      if (!node.IsScalar()) return Invalid(node, "expected a text");
      *out = node.as<std::string>();
      return absl::OkStatus();
    };
  }

  template <typename Integer>
  Take Number(Integer* out, int64_t low, int64_t high) const {
    return [this, out, low, high](const YAML::Node& node) {
      int64_t value = 0;
      if (!node.IsScalar() || !YAML::convert<int64_t>::decode(node, value) || value < low || value > high) {
        return Invalid(node, fmt::format("expected a number from {} to {}", low, high));
      }
      *out = static_cast<Integer>(value);
      return absl::OkStatus();
    };
  }

  Take Duration(absl::Duration* out) const {
    return [this, out](const YAML::Node& node) {
      absl::Duration value;
      if (!node.IsScalar() || !absl::ParseDuration(node.as<std::string>(), &value) || value <= absl::ZeroDuration()) {
        return Invalid(node, "expected a duration such as 10s");
      }
      *out = value;
      return absl::OkStatus();
    };
  }

  Take Texts(std::vector<std::string>* out) const {
    return [this, out](const YAML::Node& node) {
      if (!node.IsSequence()) return Invalid(node, "expected a list");
      for (const YAML::Node& item : node) {
        if (!item.IsScalar()) return Invalid(item, "expected a text");
        out->push_back(item.as<std::string>());
      }
      return absl::OkStatus();
    };
  }

 private:
  std::string file_;
};

absl::Status Check(const Reader& reader, const YAML::Node& root, const Config& config) {
  const session::GatewayOptions& gateway = config.gateway;
  if (gateway.listen.empty() && gateway.unix_socket_dir.empty()) {
    return reader.Invalid(root, "listen or unix_socket_dir is required");
  }
  const std::string& issuer = gateway.auth.discovery.issuer;
  if (!issuer.empty() && (!issuer.starts_with("https://") || issuer.ends_with('/'))) {
    return reader.Invalid(root, "auth.issuer is a URL that begins with https:// and does not end with a slash");
  }
  if (config.data_dir.empty()) return reader.Invalid(root, "data_dir is required");
  if (gateway.tls_certificate_file.empty() != gateway.tls_key_file.empty()) {
    return reader.Invalid(root, "tls needs both certificate and key");
  }
  return absl::OkStatus();
}

absl::StatusOr<Config> Parse(const Reader& reader, const YAML::Node& root) {
  Config config;
  session::GatewayOptions& gateway = config.gateway;
  // A loop with many sessions to harvest costs less per query than two that each wake for few.
  gateway.threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency() / 2));
  const std::map<std::string, Take> tls = {{"certificate", reader.Text(&gateway.tls_certificate_file)},
                                           {"key", reader.Text(&gateway.tls_key_file)},
                                           {"ca", reader.Text(&config.client_ca_file)}};
  const auto method = [&](const YAML::Node& node) {
    const auto parsed = session::ParseAuthMethod(node.IsScalar() ? node.as<std::string>() : "");
    if (!parsed.has_value()) return reader.Invalid(node, "expected password or oauthbearer");
    gateway.auth.method = *parsed;
    return absl::OkStatus();
  };
  const std::map<std::string, Take> auth = {{"method", method},
                                            {"issuer", reader.Text(&gateway.auth.discovery.issuer)},
                                            {"scope", reader.Text(&gateway.auth.discovery.scope)}};
  const std::map<std::string, Take> advertise = {{"host", reader.Text(&config.advertise_host)},
                                                 {"port", reader.Number(&config.advertise_port, 1, 65535)}};
  const std::map<std::string, Take> limits = {
      {"sessions", reader.Number(&gateway.sessions.sessions, 1, 100'000)},
      {"sessions_per_agent", reader.Number(&gateway.sessions.sessions_per_agent, 1, 100'000)},
      {"startup", reader.Duration(&gateway.limits.startup_deadline)},
      {"upstream", reader.Duration(&gateway.limits.upstream_timeout)},
      {"hold_outage", reader.Duration(&gateway.limits.hold_outage)},
      {"max_message", reader.Number(&gateway.limits.max_message_bytes, 1 << 16, 1 << 30)}};
  const std::map<std::string, Take> warm = {{"connections", reader.Number(&gateway.warm.connections, 0, 10'000)},
                                            {"idle", reader.Duration(&gateway.warm.idle)},
                                            {"age", reader.Duration(&gateway.warm.age)}};
  const std::map<std::string, Take> spool = {
      {"max_bytes", reader.Number(&config.spool_max_bytes, 64 << 20, int64_t{1} << 46)}};
  const auto log_level = [&](const YAML::Node& node) {
    if (!node.IsScalar() || !obs::ParseLevel(node.as<std::string>(), &config.log_level).ok()) {
      return reader.Invalid(node, "expected debug, info, warning or error");
    }
    return absl::OkStatus();
  };
  const auto map = [&](std::string_view where, const std::map<std::string, Take>& keys) -> Take {
    return [&reader, where, &keys](const YAML::Node& node) { return reader.Map(node, where, keys); };
  };
  POSTERN_RETURN_IF_ERROR(reader.Map(root, "the configuration",
                                     {{"listen", reader.Texts(&gateway.listen)},
                                      {"unix_socket_dir", reader.Text(&gateway.unix_socket_dir)},
                                      {"data_dir", reader.Text(&config.data_dir)},
                                      {"tls", map("tls", tls)},
                                      {"auth", map("auth", auth)},
                                      {"advertise", map("advertise", advertise)},
                                      {"threads", reader.Number(&gateway.threads, 1, 256)},
                                      {"limits", map("limits", limits)},
                                      {"warm", map("warm", warm)},
                                      {"spool", map("spool", spool)},
                                      {"metrics", reader.Text(&config.metrics_address)},
                                      {"log_level", log_level},
                                      {"drain", reader.Duration(&config.drain)}}));
  POSTERN_RETURN_IF_ERROR(Check(reader, root, config));
  return config;
}

}  // namespace

absl::StatusOr<Config> ParseConfig(std::string_view yaml, std::string_view file_name) {
  const Reader reader(file_name);
  try {
    return Parse(reader, YAML::Load(std::string(yaml)));
  } catch (const YAML::Exception& error) {
    return Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID",
                 fmt::format("{}:{}: {}", file_name, error.mark.line + 1, error.msg));
  }
}

absl::StatusOr<Config> LoadConfig(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string yaml((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file.is_open() || file.bad()) {
    return Error(absl::StatusCode::kNotFound, "CONFIG_UNREADABLE", fmt::format("cannot read {}", path),
                 "Name the configuration file with --config.");
  }
  return ParseConfig(yaml, path);
}

}  // namespace postern::sidecar_app
