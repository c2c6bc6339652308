#include "sidecar/session/oauthbearer.h"

#include <algorithm>
#include <cctype>
#include <optional>

#include "common/base/errors.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace postern::session {
namespace {

constexpr char kSeparator = '\x01';

absl::Status MalformedBearer(std::string_view what) {
  return Error(absl::StatusCode::kInvalidArgument, "OAUTH_MALFORMED",
               fmt::format("malformed OAUTHBEARER message: {}", what));
}

// Takes what stands before `end` off the front of `text`. False: there is no `end`.
bool TakeUntil(char end, std::string_view* text, std::string_view* taken) {
  const size_t at = text->find(end);
  if (at == std::string_view::npos) return false;
  *taken = text->substr(0, at);
  text->remove_prefix(at + 1);
  return true;
}

// b64token of RFC 6750, 2.1.
bool IsBearerToken(std::string_view token) {
  const size_t padding = token.find('=');
  if (padding == 0 || token.empty()) return false;
  if (padding != std::string_view::npos) {
    if (token.find_first_not_of('=', padding) != std::string_view::npos) return false;
    token = token.substr(0, padding);
  }
  for (const char c : token) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!plain && std::string_view("-._~+/").find(c) == std::string_view::npos) return false;
  }
  return true;
}

// The value of `auth`: "Bearer TOKEN", the scheme in any case. Empty: none is meant.
absl::StatusOr<crypto::Secret> ReadAuth(std::string_view value) {
  constexpr std::string_view kScheme = "bearer ";
  if (value.empty()) return crypto::Secret();
  if (value.size() < kScheme.size()) return MalformedBearer("auth is not of the scheme Bearer");
  for (size_t i = 0; i < kScheme.size(); ++i) {
    if (std::tolower(static_cast<unsigned char>(value[i])) != kScheme[i]) {
      return MalformedBearer("auth is not of the scheme Bearer");
    }
  }
  value.remove_prefix(kScheme.size());
  value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
  if (!IsBearerToken(value)) return MalformedBearer("auth holds no bearer token");
  return crypto::Secret(value);
}

}  // namespace

absl::StatusOr<crypto::Secret> ReadBearerToken(std::string_view response) {
  std::string_view binding, identity, end;
  if (!TakeUntil(',', &response, &binding)) return MalformedBearer("no channel binding flag");
  if (binding.starts_with("p=")) return MalformedBearer("this mechanism has no channel binding");
  if (binding != "n" && binding != "y") return MalformedBearer("unknown channel binding flag");
  if (!TakeUntil(',', &response, &identity)) return MalformedBearer("no authorization identity");
  if (!identity.empty()) return MalformedBearer("another authorization identity is not supported");
  if (!TakeUntil(kSeparator, &response, &end) || !end.empty()) return MalformedBearer("no separator");
  std::optional<std::string_view> auth;
  std::string_view pair;
  while (TakeUntil(kSeparator, &response, &pair)) {
    if (pair.empty()) {
      if (!response.empty()) return MalformedBearer("bytes behind its end");
      if (!auth.has_value()) return MalformedBearer("no auth");
      return ReadAuth(*auth);
    }
    std::string_view key;
    if (!TakeUntil('=', &pair, &key) || key.empty()) return MalformedBearer("a pair without a key");
    // host, port and what else the RFC names say nothing that we go by.
    if (key != "auth") continue;
    if (auth.has_value()) return MalformedBearer("auth is given twice");
    auth = pair;
  }
  return MalformedBearer("no end");
}

std::string InvalidTokenChallenge(const OauthDiscovery& discovery) {
  nlohmann::ordered_json challenge = {{"status", "invalid_token"}};
  if (!discovery.issuer.empty()) {
    challenge["openid-configuration"] = discovery.issuer + "/.well-known/openid-configuration";
    challenge["scope"] = discovery.scope;
  }
  return challenge.dump();
}

}  // namespace postern::session
