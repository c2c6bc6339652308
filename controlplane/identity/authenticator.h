// From what a call carries, its bearer token or its client certificate, to who makes it.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/token/jws.h"
#include "controlplane/identity/caller.h"
#include "controlplane/identity/http_fetcher.h"
#include "controlplane/identity/identity_store.h"
#include "controlplane/identity/issuer_keys.h"
#include "controlplane/identity/oidc.h"
#include "controlplane/identity/replay_cache.h"

namespace postern::identity {

// What a call carries.
struct Credentials {
  // The value of `authorization`, scheme included; empty if there is none.
  std::string_view authorization;
  // PEM of the client certificate, which TLS has verified against the CA; empty if there is none.
  std::string_view certificate_pem;
  // Address of the caller.
  std::string peer;
};

// Thread-safe. May block while an issuer's keys are fetched.
class Authenticator {
 public:
  struct Options {
    // The control plane's name: audience of assertions, and part of sidecars' certificates.
    std::string origin;
    // Whether the sidecar may still call, by id and certificate. Its error is the answer to the call.
    std::function<absl::Status(std::string_view sidecar_id, std::string_view certificate_pem)> admit_sidecar;
  };

  // The references outlive the object.
  Authenticator(Options options, const IdentityStore& store, const HttpFetcher& fetcher, const Clock& clock);

  // Who calls.
  //   UNAUTHENTICATED/CREDENTIALS_MISSING, CREDENTIALS_AMBIGUOUS (both kinds at once), CREDENTIALS_INVALID (an unknown
  //   account, key or signature: they look alike), ISSUER_UNKNOWN, and what VerifyAssertion, VerifyOidcToken, MapClaims
  //   and ReplayCache say. PERMISSION_DENIED/ACCOUNT_DISABLED, PRINCIPAL_CLASH (a provider's claim names an account
  //   that is not its own), PROVIDER_AMBIGUOUS (several providers claim the token). UNAVAILABLE: the store or the
  //   issuer does not answer.
  absl::StatusOr<Caller> Authenticate(const Credentials& credentials);

 private:
  absl::StatusOr<Caller> ByAssertion(std::string_view token, const token::UnverifiedJws& decoded);
  absl::StatusOr<Caller> ByProvider(std::string_view token, const token::UnverifiedJws& decoded);
  // Whose the token is if it is one of `provider`.
  absl::StatusOr<OidcIdentity> Claimed(std::string_view token, const token::UnverifiedJws& decoded,
                                       const v1::IdentityProvider& provider);
  absl::StatusOr<Caller> OfProvider(const v1::IdentityProvider& provider, OidcIdentity identity) const;
  absl::StatusOr<Caller> ByCertificate(std::string_view certificate_pem) const;
  // Sorts groups and adds the roles that they give. Agents never get any.
  absl::Status AddRoles(Caller& caller) const;

  const Options options_;
  const IdentityStore& store_;
  const Clock& clock_;
  IssuerKeysCache issuers_;
  ReplayCache replays_;
};

}  // namespace postern::identity
