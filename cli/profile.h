// CLI profiles: which control plane, and how to prove who one is there.
//
// The file is YAML, found at $POSTERN_CONFIG or $XDG_CONFIG_HOME/postern/config.yaml (~/.config/…):
//
//   default_profile: agent
//   profiles:
//     agent:
//       controlplane: 127.0.0.1:7443       # host:port. Required.
//       ca_file: ca.pem                    # PEM that signed its certificate. Required.
//       audience: postern.example          # the control plane's origin name, `aud` of assertions. Required with a key.
//       account: support-bot               # with key_file: an account that proves itself by its key
//       key_file: support-bot.pem          # PKCS#8 PEM, P-256
//       token_file: token                  # or: a file holding a bearer token (OIDC or workload)
//       exec: [cmd, arg]                   # or: a command that prints one
//       oidc: {issuer: …, client_id: …}    # or: `postern login`, which keeps its tokens beside this file
//
// Relative paths are relative to the file. Unknown keys are errors.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace postern::cli {

struct OidcSettings {
  std::string issuer;
  std::string client_id;
  std::string ca_file;  // for the issuer's HTTPS; empty: the system's
};

struct Profile {
  std::string name;
  std::string controlplane;
  std::string ca_file;
  std::string audience;
  std::string account;
  std::string key_file;
  std::string token_file;
  std::vector<std::string> exec;
  std::optional<OidcSettings> oidc;
  // Folder of the configuration file: login sessions are kept there.
  std::string folder;
};

// Path of the configuration file in use.
std::string ConfigPath();

// Loads profile `name`; empty: $POSTERN_PROFILE, then default_profile, then the only one.
//   NOT_FOUND/NO_PROFILE, INVALID_ARGUMENT/CONFIG_INVALID.
absl::StatusOr<Profile> LoadProfile(std::string_view name);

// The bearer token to send with the next RPC: a fresh assertion (account keys), or the provider's token.
//   UNAUTHENTICATED/NO_CREDENTIAL: nothing to prove oneself with; the hint says how to get it.
absl::StatusOr<std::string> BearerToken(const Profile& profile);

// Where `postern login` keeps the tokens of this profile. Mode 0600.
std::string LoginFile(const Profile& profile);

}  // namespace postern::cli
