#include "controlplane/identity/oidc.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "absl/strings/ascii.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/crypto/certificate.h"
#include "common/token/json.h"
#include "common/token/token.h"
#include "controlplane/identity/http_fetcher.h"

namespace postern::identity {
namespace {

constexpr std::array<std::string_view, 4> kVerified = {"RS256", "PS256", "ES256", "ES384"};
constexpr size_t kMaxIdBytes = 256;
constexpr size_t kMaxGroups = 500;
constexpr size_t kMaxListed = 50;

absl::Status Refuse(std::string_view reason, std::string_view message, std::string_view hint = {}) {
  return Error(absl::StatusCode::kUnauthenticated, reason, message, hint);
}

absl::Status Invalid(std::string_view what) {
  return Error(absl::StatusCode::kInvalidArgument, "PROVIDER_INVALID", what);
}

bool Contains(const std::vector<std::string>& all, std::string_view one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

std::string IdClaimOf(const v1::IdentityProvider& provider) {
  if (!provider.id_claim().empty()) return provider.id_claim();
  return provider.kind() == v1::PERSON ? "email" : "sub";
}

bool IsPlainText(std::string_view text) {
  return !text.empty() && text.size() <= kMaxIdBytes && std::none_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || c == '\x7f';
  });
}

absl::Status CheckAudience(const json_t* claims, const v1::IdentityProvider& provider) {
  const std::optional<std::vector<std::string>> audiences = token::StringOrStringsMember(claims, "aud");
  if (!audiences.has_value())
    return Refuse("TOKEN_MALFORMED", "the token's claim 'aud' is missing or of the wrong type");
  const auto ours = [&provider](std::string_view audience) {
    return std::find(provider.audiences().begin(), provider.audiences().end(), audience) != provider.audiences().end();
  };
  const bool named = std::any_of(audiences->begin(), audiences->end(), ours);
  // Issued to another party for several audiences: that party could pass on to us what it got for itself.
  const std::optional<std::string> party = token::StringMember(claims, "azp");
  const bool issued_to_us = audiences->size() == 1 || !party.has_value() || ours(*party);
  if (named && issued_to_us) return absl::OkStatus();
  return Refuse("TOKEN_WRONG_AUDIENCE", "the token is for another audience",
                fmt::format("Identity provider {} accepts tokens for: {}.", provider.name(),
                            fmt::join(provider.audiences(), ", ")));
}

absl::Status CheckTimes(const json_t* claims, absl::Time now) {
  const auto time = [claims](const char* name) -> std::optional<absl::Time> {
    const std::optional<int64_t> seconds = token::NumericDateMember(claims, name);
    if (!seconds.has_value()) return std::nullopt;
    return absl::FromUnixSeconds(*seconds);
  };
  for (const char* name : {"exp", "nbf", "iat"}) {
    if (json_object_get(claims, name) != nullptr && !time(name).has_value()) {
      return Refuse("TOKEN_MALFORMED", fmt::format("the token's claim '{}' is not a time", name));
    }
  }
  const std::optional<absl::Time> expires = time("exp");
  if (!expires.has_value()) return Refuse("TOKEN_MALFORMED", "the token does not expire");
  if (now >= *expires + token::kClockSkew) return Refuse("TOKEN_EXPIRED", "the token has expired", "Log in again.");
  if (time("nbf").value_or(now) > now + token::kClockSkew || time("iat").value_or(now) > now + token::kClockSkew) {
    return Refuse("TOKEN_NOT_YET_VALID", "the token is not valid yet",
                  "Compare the clocks of the provider and of the control plane.");
  }
  return absl::OkStatus();
}

// A claim as text: strings as they are, whole numbers and truth values as JSON writes them.
std::optional<std::string> ClaimText(const json_t* claims, const char* name) {
  const json_t* value = json_object_get(claims, name);
  if (json_is_string(value)) return token::StringMember(claims, name);
  if (json_is_integer(value)) return std::to_string(json_integer_value(value));
  if (json_is_boolean(value)) return json_is_true(value) ? "true" : "false";
  return std::nullopt;
}

absl::StatusOr<std::string> IdOf(const json_t* claims, const v1::IdentityProvider& provider) {
  if (!provider.agent_id().empty()) return provider.agent_id();
  const std::string claim = IdClaimOf(provider);
  std::optional<std::string> id = token::StringMember(claims, claim.c_str());
  if (!id.has_value() || !IsPlainText(*id)) {
    return Refuse("TOKEN_CLAIMS",
                  fmt::format("the token's claim '{}', which names the caller, is missing or unusable", claim));
  }
  if (claim != "email") return *id;
  // Some providers write truth values as strings.
  if (json_object_get(claims, "email_verified") != nullptr && ClaimText(claims, "email_verified") != "true") {
    return Refuse("EMAIL_NOT_VERIFIED", "the provider has not verified the caller's e-mail address");
  }
  // One person, one id, however the provider writes it: votes are counted by it.
  absl::AsciiStrToLower(&*id);
  return *id;
}

absl::StatusOr<std::vector<std::string>> GroupsOf(const json_t* claims, const v1::IdentityProvider& provider) {
  std::vector<std::string> groups(provider.groups().begin(), provider.groups().end());
  const std::string claim = provider.groups_claim().empty() ? "groups" : provider.groups_claim();
  if (json_object_get(claims, claim.c_str()) != nullptr) {
    const std::optional<std::vector<std::string>> listed = token::StringOrStringsMember(claims, claim.c_str());
    if (!listed.has_value() || listed->size() > kMaxGroups) {
      return Refuse("TOKEN_CLAIMS",
                    fmt::format("the token's claim '{}' does not list at most {} groups", claim, kMaxGroups));
    }
    groups.insert(groups.end(), listed->begin(), listed->end());
  }
  std::sort(groups.begin(), groups.end());
  groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
  return groups;
}

absl::Status CheckSource(const v1::IdentityProvider& provider) {
  if (provider.issuer().empty() || provider.issuer().size() > 1024)
    return Invalid("an identity provider needs an issuer");
  if (!provider.static_jwks().empty()) return KeySet::Parse(provider.static_jwks()).status();
  POSTERN_RETURN_IF_ERROR(CheckIssuerUrl(provider.issuer(), provider.allow_loopback_http()));
  if (provider.ca_pem().empty()) return absl::OkStatus();
  return crypto::ReadCertificate(provider.ca_pem()).status();
}

}  // namespace

absl::Status CheckProvider(const v1::IdentityProvider& provider) {
  const std::string& name = provider.name();
  if (name.empty() || name.size() > 63 ||
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") != std::string::npos) {
    return Invalid("a provider's name is 1 to 63 of a-z, 0-9 and -");
  }
  POSTERN_RETURN_IF_ERROR(CheckSource(provider));
  if (provider.audiences().empty()) return Invalid("an identity provider needs at least one audience");
  for (const std::string& audience : provider.audiences()) {
    if (audience.empty()) return Invalid("an audience is empty");
  }
  for (const std::string& algorithm : provider.algorithms()) {
    if (std::find(kVerified.begin(), kVerified.end(), algorithm) == kVerified.end()) {
      return Invalid(fmt::format("algorithm {} is not supported; choose of {}", algorithm, fmt::join(kVerified, ", ")));
    }
  }
  if (provider.kind() != v1::PERSON && provider.kind() != v1::AGENT) {
    return Invalid("a provider's tokens stand for PERSON or AGENT");
  }
  if (!provider.agent_id().empty() && (provider.kind() != v1::AGENT || !IsPlainText(provider.agent_id()))) {
    return Invalid("agent_id is for providers of agents, and has no white space");
  }
  for (const std::string& group : provider.groups()) {
    if (!IsPlainText(group)) return Invalid("a group's name has no white space");
  }
  const size_t listed = provider.audiences().size() + provider.required_claims().size() + provider.groups().size();
  if (listed > 3 * kMaxListed) return Invalid("too many audiences, required claims or groups");
  return absl::OkStatus();
}

std::vector<std::string> AlgorithmsOf(const v1::IdentityProvider& provider) {
  if (provider.algorithms().empty()) return {"RS256", "ES256"};
  return {provider.algorithms().begin(), provider.algorithms().end()};
}

absl::Status VerifyOidcToken(std::string_view token, const token::UnverifiedJws& decoded,
                             const v1::IdentityProvider& provider, IssuerKeys& keys, absl::Time now) {
  if (!Contains(AlgorithmsOf(provider), decoded.algorithm)) {
    return Refuse("TOKEN_ALGORITHM",
                  fmt::format("identity provider {} does not allow the token's algorithm", provider.name()));
  }
  POSTERN_ASSIGN_OR_RETURN(const token::JwsKey key, keys.Find(decoded.key_id, decoded.algorithm));
  POSTERN_RETURN_IF_ERROR(token::VerifyJws(token, decoded, key));
  const json_t* claims = decoded.claims.get();
  if (token::StringMember(claims, "iss") != provider.issuer()) {
    return Refuse("TOKEN_WRONG_ISSUER", "the token is of another issuer");
  }
  POSTERN_RETURN_IF_ERROR(CheckAudience(claims, provider));
  return CheckTimes(claims, now);
}

absl::StatusOr<OidcIdentity> MapClaims(const json_t* claims, const v1::IdentityProvider& provider) {
  for (const auto& [name, wanted] : provider.required_claims()) {
    if (ClaimText(claims, name.c_str()) != wanted) {
      return Refuse("TOKEN_CLAIMS", fmt::format("the token's claim '{}' is not what identity provider {} requires",
                                                name, provider.name()));
    }
  }
  OidcIdentity identity;
  identity.id_is_assigned = !provider.agent_id().empty();
  POSTERN_ASSIGN_OR_RETURN(identity.id, IdOf(claims, provider));
  POSTERN_ASSIGN_OR_RETURN(identity.groups, GroupsOf(claims, provider));
  return identity;
}

}  // namespace postern::identity
