#include "controlplane/identity/authenticator.h"

#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "absl/strings/match.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/base/timestamps.h"
#include "common/crypto/certificate.h"
#include "common/token/assertion.h"

namespace postern::identity {
namespace {

constexpr std::string_view kBearer = "Bearer ";

absl::Status Refuse(std::string_view reason, std::string_view message, std::string_view hint = {}) {
  return Error(absl::StatusCode::kUnauthenticated, reason, message, hint);
}

absl::Status InvalidCredentials() {
  return Refuse("CREDENTIALS_INVALID", "the account, its key or the signature is not known here",
                "Check the profile: account, key file and control plane.");
}

absl::Status Disabled(std::string_view id) {
  return Error(absl::StatusCode::kPermissionDenied, "ACCOUNT_DISABLED", fmt::format("account {} is disabled", id),
               "Ask an administrator.");
}

absl::Status Clash(std::string_view id, std::string_view provider) {
  return Error(absl::StatusCode::kPermissionDenied, "PRINCIPAL_CLASH",
               fmt::format("identity provider {} names a caller {}, which is the name of an account", provider, id),
               "Set agent_id on the provider to let its tokens stand for an account.");
}

// Keys that may sign at `now`.
std::vector<token::PublicKey> LiveKeys(const v1::Account& account, absl::Time now) {
  std::vector<token::PublicKey> keys;
  for (const v1::AccountKey& key : account.keys()) {
    if (now < FromTimestamp(key.expire_time())) keys.push_back({key.id(), key.public_key_pem()});
  }
  return keys;
}

void AddAccount(const v1::Account& account, Caller& caller) {
  for (const std::string& group : account.groups()) caller.principal.add_groups(group);
  if (account.kind() != v1::AGENT) return;
  caller.may_act_for.assign(account.may_act_for().begin(), account.may_act_for().end());
  caller.owner = account.owner();
}

}  // namespace

Authenticator::Authenticator(Options options, const IdentityStore& store, const HttpFetcher& fetcher,
                             const Clock& clock)
    : options_(std::move(options)), store_(store), clock_(clock), issuers_(fetcher, clock), replays_(clock.Now()) {}

absl::StatusOr<Caller> Authenticator::Authenticate(const Credentials& credentials) {
  const bool has_token = !credentials.authorization.empty();
  const bool has_certificate = !credentials.certificate_pem.empty();
  if (!has_token && !has_certificate) {
    return Refuse("CREDENTIALS_MISSING", "the call carries neither a bearer token nor a client certificate",
                  "Run `postern login`, or give a profile with an account key.");
  }
  if (has_token && has_certificate) {
    return Refuse("CREDENTIALS_AMBIGUOUS", "the call carries both a bearer token and a client certificate");
  }
  absl::StatusOr<Caller> caller = InvalidCredentials();
  if (has_certificate) {
    caller = ByCertificate(credentials.certificate_pem);
  } else {
    const std::string_view header = credentials.authorization;
    // RFC 9110 section 11.1: the scheme's case does not matter.
    if (!absl::StartsWithIgnoreCase(AbslView(header), AbslView(kBearer))) {
      return Refuse("CREDENTIALS_MISSING", "the call's authorization is not a bearer token");
    }
    const std::string_view token = header.substr(kBearer.size());
    POSTERN_ASSIGN_OR_RETURN(const token::UnverifiedJws decoded, token::DecodeJws(token, kMaxBearerBytes));
    caller = decoded.type == token::kAssertionType ? ByAssertion(token, decoded) : ByProvider(token, decoded);
  }
  POSTERN_RETURN_IF_ERROR(caller.status());
  caller->peer = credentials.peer;
  POSTERN_RETURN_IF_ERROR(AddRoles(*caller));
  return caller;
}

absl::StatusOr<Caller> Authenticator::ByAssertion(std::string_view token, const token::UnverifiedJws& decoded) {
  const absl::Time now = clock_.Now();
  const std::optional<std::string> id = token::StringMember(decoded.claims.get(), "iss");
  if (!id.has_value()) return InvalidCredentials();
  const absl::StatusOr<v1::Account> account = store_.GetAccount(*id);
  if (account.status().code() == absl::StatusCode::kNotFound) return InvalidCredentials();
  POSTERN_RETURN_IF_ERROR(account.status());
  const absl::StatusOr<token::Assertion> assertion =
      token::VerifyAssertion(token, *id, LiveKeys(*account, now), options_.origin, clock_);
  const std::string reason = ReasonOf(assertion.status());
  if (reason == "TOKEN_UNKNOWN_KEY" || reason == "TOKEN_SIGNATURE") return InvalidCredentials();
  POSTERN_RETURN_IF_ERROR(assertion.status());
  POSTERN_RETURN_IF_ERROR(replays_.Use(*assertion, now));
  if (account->disabled()) return Disabled(*id);

  Caller caller;
  caller.principal.set_id(account->id());
  caller.principal.set_kind(account->kind());
  caller.principal.set_method("account-key");
  AddAccount(*account, caller);
  return caller;
}

absl::StatusOr<OidcIdentity> Authenticator::Claimed(std::string_view token, const token::UnverifiedJws& decoded,
                                                    const v1::IdentityProvider& provider) {
  POSTERN_RETURN_IF_ERROR(VerifyOidcToken(token, decoded, provider, *issuers_.For(provider), clock_.Now()));
  return MapClaims(decoded.claims.get(), provider);
}

absl::StatusOr<Caller> Authenticator::ByProvider(std::string_view token, const token::UnverifiedJws& decoded) {
  const std::optional<std::string> issuer = token::StringMember(decoded.claims.get(), "iss");
  if (!issuer.has_value()) return Refuse("TOKEN_MALFORMED", "the token names no issuer");
  POSTERN_ASSIGN_OR_RETURN(const std::vector<v1::IdentityProvider> providers, store_.ProvidersOf(*issuer));
  if (providers.empty()) {
    return Refuse("ISSUER_UNKNOWN", "no identity provider is registered for the token's issuer",
                  "An administrator registers one with `postern identity add-provider`.");
  }
  absl::Status first_error;
  const v1::IdentityProvider* match = nullptr;
  OidcIdentity identity;
  for (const v1::IdentityProvider& provider : providers) {
    absl::StatusOr<OidcIdentity> mapped = Claimed(token, decoded, provider);
    if (!mapped.ok()) {
      first_error.Update(mapped.status());
      continue;
    }
    if (match != nullptr) {
      return Error(absl::StatusCode::kPermissionDenied, "PROVIDER_AMBIGUOUS",
                   fmt::format("identity providers {} and {} both claim the token", match->name(), provider.name()),
                   "Give one of them a required claim that tells them apart.");
    }
    match = &provider;
    identity = *std::move(mapped);
  }
  if (match == nullptr) return first_error;
  return OfProvider(*match, std::move(identity));
}

absl::StatusOr<Caller> Authenticator::OfProvider(const v1::IdentityProvider& provider, OidcIdentity identity) const {
  Caller caller;
  caller.principal.set_id(identity.id);
  caller.principal.set_kind(provider.kind());
  caller.principal.set_method(fmt::format("oidc:{}", provider.name()));
  for (std::string& group : identity.groups) caller.principal.add_groups(std::move(group));

  const absl::StatusOr<v1::Account> account = store_.GetAccount(identity.id);
  if (account.status().code() == absl::StatusCode::kNotFound) return caller;
  POSTERN_RETURN_IF_ERROR(account.status());
  // A person is the same person by either proof. A workload that merely has an account's name in a claim is not it.
  const bool same = account->kind() == provider.kind() && (provider.kind() == v1::PERSON || identity.id_is_assigned);
  if (!same) return Clash(identity.id, provider.name());
  if (account->disabled()) return Disabled(identity.id);
  AddAccount(*account, caller);
  return caller;
}

absl::StatusOr<Caller> Authenticator::ByCertificate(std::string_view certificate_pem) const {
  const absl::StatusOr<crypto::CertificateInfo> info = crypto::ReadCertificate(certificate_pem);
  if (!info.ok() || info->uris.size() != 1) {
    return Refuse("CREDENTIALS_INVALID", "the client certificate is not a sidecar's");
  }
  const std::string id = crypto::SidecarIdOfUri(info->uris.front(), options_.origin);
  if (id.empty())
    return Refuse("CREDENTIALS_INVALID", "the client certificate is not a sidecar's of this installation");
  POSTERN_RETURN_IF_ERROR(options_.admit_sidecar(id, certificate_pem));
  Caller caller;
  caller.principal.set_id(id);
  caller.principal.set_kind(v1::SIDECAR);
  caller.principal.set_method("certificate");
  return caller;
}

absl::Status Authenticator::AddRoles(Caller& caller) const {
  v1::Principal& principal = caller.principal;
  const std::set<std::string> groups(principal.groups().begin(), principal.groups().end());
  principal.mutable_groups()->Assign(groups.begin(), groups.end());
  // Whatever group an agent is in: none of the roles is for one that a prompt can steer.
  if (principal.kind() != v1::PERSON) return absl::OkStatus();
  POSTERN_ASSIGN_OR_RETURN(const std::set<std::string> roles, store_.RolesOf({groups.begin(), groups.end()}));
  principal.mutable_roles()->Assign(roles.begin(), roles.end());
  return absl::OkStatus();
}

}  // namespace postern::identity
