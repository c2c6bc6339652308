#include "cli/profile.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <set>

#include <sys/wait.h>
#include <yaml-cpp/yaml.h>

#include "cli/text.h"
#include "common/base/clock.h"
#include "common/base/errors.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/crypto/ec_key.h"
#include "common/token/assertion.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace postern::cli {
namespace {

namespace fs = std::filesystem;

absl::Status Invalid(const std::string& path, const std::string& what) {
  return Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID", fmt::format("{}: {}", path, what),
               "see `postern login --help` for the keys of a profile");
}

std::string Below(const std::string& folder, const std::string& path) {
  if (path.empty() || fs::path(path).is_absolute()) return path;
  return (fs::path(folder) / path).string();
}

absl::Status ReadOidc(const YAML::Node& node, const std::string& path, Profile* profile) {
  OidcSettings oidc;
  for (const auto& entry : node) {
    const auto key = entry.first.as<std::string>();
    const auto value = entry.second.as<std::string>();
    if (key == "issuer") {
      oidc.issuer = value;
    } else if (key == "client_id") {
      oidc.client_id = value;
    } else if (key == "ca_file") {
      oidc.ca_file = Below(profile->folder, value);
    } else {
      return Invalid(path, fmt::format("profile {}: unknown key oidc.{}", profile->name, key));
    }
  }
  if (oidc.issuer.empty() || oidc.client_id.empty()) {
    return Invalid(path, fmt::format("profile {}: oidc needs issuer and client_id", profile->name));
  }
  profile->oidc = std::move(oidc);
  return absl::OkStatus();
}

absl::StatusOr<Profile> ReadProfile(const YAML::Node& node, const std::string& name, const std::string& path) {
  Profile profile;
  profile.name = name;
  profile.folder = fs::path(path).parent_path().string();
  if (!node.IsMap()) return Invalid(path, fmt::format("profile {} is not a map", name));
  for (const auto& entry : node) {
    const auto key = entry.first.as<std::string>();
    if (key == "oidc") {
      POSTERN_RETURN_IF_ERROR(ReadOidc(entry.second, path, &profile));
      continue;
    }
    if (key == "exec") {
      for (const auto& word : entry.second) profile.exec.push_back(word.as<std::string>());
      continue;
    }
    const auto value = entry.second.as<std::string>();
    if (key == "controlplane") {
      profile.controlplane = value;
    } else if (key == "ca_file") {
      profile.ca_file = Below(profile.folder, value);
    } else if (key == "audience") {
      profile.audience = value;
    } else if (key == "account") {
      profile.account = value;
    } else if (key == "key_file") {
      profile.key_file = Below(profile.folder, value);
    } else if (key == "token_file") {
      profile.token_file = Below(profile.folder, value);
    } else {
      return Invalid(path, fmt::format("profile {}: unknown key {}", name, key));
    }
  }
  if (profile.controlplane.empty()) return Invalid(path, fmt::format("profile {} lacks controlplane", name));
  if (profile.ca_file.empty()) return Invalid(path, fmt::format("profile {} lacks ca_file", name));
  return profile;
}

absl::StatusOr<Profile> PickProfile(const YAML::Node& root, std::string wanted, const std::string& path) {
  for (const auto& entry : root) {
    const auto key = entry.first.as<std::string>();
    if (key != "profiles" && key != "default_profile") return Invalid(path, fmt::format("unknown key {}", key));
  }
  const YAML::Node profiles = root["profiles"];
  if (!profiles || !profiles.IsMap() || profiles.size() == 0) return Invalid(path, "has no profiles");
  if (wanted.empty() && root["default_profile"]) wanted = root["default_profile"].as<std::string>();
  if (wanted.empty() && profiles.size() == 1) wanted = profiles.begin()->first.as<std::string>();
  std::string names;
  for (const auto& entry : profiles) names += (names.empty() ? "" : ", ") + entry.first.as<std::string>();
  if (wanted.empty()) {
    return Error(absl::StatusCode::kNotFound, "NO_PROFILE", "no profile chosen",
                 fmt::format("name one of {} with --profile or POSTERN_PROFILE", names));
  }
  if (!profiles[wanted]) {
    return Error(absl::StatusCode::kNotFound, "NO_PROFILE", fmt::format("{} has no profile {}", path, wanted),
                 fmt::format("it has: {}", names));
  }
  return ReadProfile(profiles[wanted], wanted, path);
}

// Runs the profile's command without a shell and returns what it prints.
absl::StatusOr<std::string> RunCredentialCommand(const Profile& profile) {
  std::array<int, 2> ends{};
  if (pipe(ends.data()) != 0) return absl::InternalError("pipe failed");
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    std::vector<char*> argv;
    for (const std::string& word : profile.exec) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  close(ends[1]);
  std::string output;
  std::array<char, 4096> buffer{};
  for (ssize_t n = 0; (n = read(ends[0], buffer.data(), buffer.size())) > 0;) {
    output.append(buffer.data(), static_cast<size_t>(n));
    if (output.size() > 64 * 1024) break;
  }
  close(ends[0]);
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return Error(absl::StatusCode::kUnauthenticated, "NO_CREDENTIAL",
                 fmt::format("the credential command of profile {} failed", profile.name),
                 fmt::format("run `{}` by hand to see why", profile.exec[0]));
  }
  return Trim(output);
}

absl::StatusOr<std::string> LoginToken(const Profile& profile) {
  const auto hint = fmt::format("run `postern login --profile {}`", profile.name);
  auto text = ReadFile(LoginFile(profile));
  if (!text.ok()) {
    return Error(absl::StatusCode::kUnauthenticated, "NO_CREDENTIAL", "not logged in", hint);
  }
  const auto json = nlohmann::json::parse(*text, nullptr, false);
  if (json.is_discarded() || !json.contains("id_token") || !json["id_token"].is_string()) {
    return Error(absl::StatusCode::kUnauthenticated, "NO_CREDENTIAL", "the saved login is damaged", hint);
  }
  return json["id_token"].get<std::string>();
}

}  // namespace

std::string ConfigPath() {
  if (const char* path = std::getenv("POSTERN_CONFIG"); path != nullptr && *path != '\0') return path;
  if (const char* folder = std::getenv("XDG_CONFIG_HOME"); folder != nullptr && *folder != '\0') {
    return std::string(folder) + "/postern/config.yaml";
  }
  const char* home = std::getenv("HOME");
  return std::string(home != nullptr ? home : "/") + "/.config/postern/config.yaml";
}

absl::StatusOr<Profile> LoadProfile(std::string_view name) {
  std::string wanted(name);
  if (const char* env = std::getenv("POSTERN_PROFILE"); wanted.empty() && env != nullptr) wanted = env;
  const std::string path = ConfigPath();
  if (!fs::exists(path)) {
    return Error(absl::StatusCode::kNotFound, "NO_PROFILE", fmt::format("there is no configuration file {}", path),
                 "set POSTERN_CONFIG, or source the env file that deploy/quickstart wrote");
  }
  try {
    return PickProfile(YAML::LoadFile(path), wanted, path);
  } catch (const YAML::Exception& e) {
    return Invalid(path, e.what());
  }
}

std::string LoginFile(const Profile& profile) { return Below(profile.folder, "login-" + profile.name + ".json"); }

absl::StatusOr<std::string> BearerToken(const Profile& profile) {
  if (!profile.key_file.empty()) {
    if (profile.account.empty() || profile.audience.empty()) {
      return Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID",
                   fmt::format("profile {} has key_file but lacks account or audience", profile.name));
    }
    POSTERN_ASSIGN_OR_RETURN(const std::string pem, ReadFile(profile.key_file));
    POSTERN_ASSIGN_OR_RETURN(const crypto::EcPrivateKey key, crypto::EcPrivateKey::FromPem(pem));
    return token::MakeAssertion(profile.account, key, profile.audience, Clock::System(), Random::System());
  }
  if (!profile.token_file.empty()) {
    POSTERN_ASSIGN_OR_RETURN(const std::string text, ReadFile(profile.token_file));
    return Trim(text);
  }
  if (!profile.exec.empty()) return RunCredentialCommand(profile);
  if (profile.oidc.has_value()) return LoginToken(profile);
  return Error(absl::StatusCode::kUnauthenticated, "NO_CREDENTIAL",
               fmt::format("profile {} has no way to prove who you are", profile.name),
               "give it key_file, token_file, exec or oidc");
}

}  // namespace postern::cli
