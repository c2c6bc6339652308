#include "controlplane/identity/issuer_keys.h"

#include <optional>
#include <utility>

#include <fmt/format.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/crypto/hash.h"
#include "common/token/json.h"

namespace postern::identity {
namespace {

constexpr std::string_view kDiscoveryPath = "/.well-known/openid-configuration";

absl::Status MalformedSet(std::string_view what) {
  return Error(absl::StatusCode::kInvalidArgument, "JWKS_MALFORMED", what);
}

absl::Status WrongAnswer(std::string_view issuer, std::string_view what) {
  return Error(absl::StatusCode::kUnavailable, "ISSUER_UNAVAILABLE",
               fmt::format("issuer {} answers wrongly: {}", issuer, what));
}

absl::Status UnknownKey() {
  return Error(absl::StatusCode::kUnauthenticated, "TOKEN_UNKNOWN_KEY",
               "the token names a key, or an algorithm, that its issuer does not have");
}

// RFC 7517 section 4.2 and 4.3: a key for encryption, or not for verifying, is none for us.
bool IsForSignatures(const json_t* key) {
  if (token::StringMember(key, "use").value_or("sig") != "sig") return false;
  const std::optional<std::vector<std::string>> operations = token::StringsMember(key, "key_ops");
  if (!operations.has_value()) return true;
  for (const std::string& operation : *operations) {
    if (operation == "verify") return true;
  }
  return false;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const KeySet>> KeySet::Parse(std::string_view text) {
  const absl::StatusOr<token::JsonPtr> json = token::ParseJsonObject(text);
  if (!json.ok()) return MalformedSet("the key set is not a JSON object");
  const json_t* array = json_object_get(json->get(), "keys");
  if (!json_is_array(array)) return MalformedSet("the key set has no array 'keys'");
  if (json_array_size(array) > kMaxKeys)
    return MalformedSet(fmt::format("the key set has more than {} keys", kMaxKeys));
  std::vector<token::JwsKey> keys;
  for (size_t i = 0; i < json_array_size(array); ++i) {
    const json_t* jwk = json_array_get(array, i);
    if (!json_is_object(jwk) || !IsForSignatures(jwk)) continue;
    const std::optional<std::string> own = token::StringMember(jwk, "alg");
    for (const std::string_view algorithm : {"RS256", "PS256", "ES256", "ES384"}) {
      if (own.has_value() && *own != algorithm) continue;
      if (absl::StatusOr<token::JwsKey> key = token::JwsKey::FromJwk(jwk, algorithm); key.ok()) {
        keys.push_back(*std::move(key));
      }
    }
  }
  if (keys.empty()) return MalformedSet("the key set has no public key for RS256, PS256, ES256 or ES384");
  return std::shared_ptr<const KeySet>(new KeySet(std::move(keys)));
}

absl::StatusOr<token::JwsKey> KeySet::Find(std::string_view key_id, std::string_view algorithm) const {
  const token::JwsKey* found = nullptr;
  for (const token::JwsKey& key : keys_) {
    if (key.algorithm() != algorithm || (!key_id.empty() && key.id() != key_id)) continue;
    // Two that fit: which one is meant is not for us to guess.
    if (found != nullptr) return UnknownKey();
    found = &key;
  }
  if (found == nullptr) return UnknownKey();
  return *found;
}

IssuerKeys::IssuerKeys(const v1::IdentityProvider& provider, const HttpFetcher& fetcher, const Clock& clock)
    : issuer_(provider.issuer()),
      options_{.ca_pem = provider.ca_pem(), .allow_loopback_http = provider.allow_loopback_http()},
      fetcher_(fetcher),
      clock_(clock) {
  if (provider.static_jwks().empty()) return;
  absl::MutexLock lock(&mu_);
  fixed_ = true;
  absl::StatusOr<std::shared_ptr<const KeySet>> keys = KeySet::Parse(provider.static_jwks());
  if (keys.ok()) {
    keys_ = *std::move(keys);
  } else {
    last_error_ = keys.status();
  }
}

absl::StatusOr<std::shared_ptr<const KeySet>> IssuerKeys::Fetch() const {
  std::string base = issuer_;
  if (base.ends_with('/')) base.pop_back();
  POSTERN_ASSIGN_OR_RETURN(const std::string text, fetcher_.Get(base.append(kDiscoveryPath), options_));
  const absl::StatusOr<token::JsonPtr> document = token::ParseJsonObject(text);
  if (!document.ok()) return WrongAnswer(issuer_, "its configuration is not a JSON object");
  // Section 4.3: one issuer must not speak for another.
  if (token::StringMember(document->get(), "issuer") != issuer_) {
    return WrongAnswer(issuer_, "its configuration is of another issuer");
  }
  const std::optional<std::string> url = token::StringMember(document->get(), "jwks_uri");
  if (!url.has_value()) return WrongAnswer(issuer_, "its configuration names no jwks_uri");
  POSTERN_ASSIGN_OR_RETURN(const std::string set, fetcher_.Get(*url, options_));
  absl::StatusOr<std::shared_ptr<const KeySet>> keys = KeySet::Parse(set);
  if (!keys.ok()) return WrongAnswer(issuer_, StdView(keys.status().message()));
  return keys;
}

bool IssuerKeys::HasSet(absl::Duration age) const {
  return keys_ != nullptr && (fixed_ || clock_.Monotonic() - fetched_at_ < age);
}

void IssuerKeys::Refresh() {
  if (fetching_) {
    ++waiters_;
    mu_.Await(absl::Condition(
        +[](bool* fetching) { return !*fetching; }, &fetching_));
    --waiters_;
    return;
  }
  if (fixed_ || clock_.Monotonic() - tried_at_ < kMinInterval) return;
  fetching_ = true;
  mu_.Unlock();
  absl::StatusOr<std::shared_ptr<const KeySet>> fetched = Fetch();
  mu_.Lock();
  fetching_ = false;
  tried_at_ = clock_.Monotonic();
  last_error_ = fetched.status();
  if (fetched.ok()) {
    keys_ = *std::move(fetched);
    fetched_at_ = tried_at_;
  }
}

absl::StatusOr<token::JwsKey> IssuerKeys::Find(std::string_view key_id, std::string_view algorithm) {
  absl::MutexLock lock(&mu_);
  // While somebody else renews an old set, the old one still serves.
  if (HasSet(kFresh) || (fetching_ && HasSet(kStale))) {
    absl::StatusOr<token::JwsKey> key = keys_->Find(key_id, algorithm);
    if (key.ok()) return key;
  }
  if (fetching_ && waiters_ >= kMaxWaiters) {
    return Error(absl::StatusCode::kUnavailable, "ISSUER_UNAVAILABLE",
                 fmt::format("too many calls wait for the keys of issuer {}", issuer_), "Try again in a few seconds.");
  }
  Refresh();
  if (HasSet(kStale)) return keys_->Find(key_id, algorithm);
  if (!last_error_.ok()) return last_error_;
  return Error(absl::StatusCode::kUnavailable, "ISSUER_UNAVAILABLE",
               fmt::format("the keys of issuer {} are too old", issuer_));
}

std::shared_ptr<IssuerKeys> IssuerKeysCache::For(const v1::IdentityProvider& provider) {
  // Whatever decides about which keys are got, and from whom.
  v1::IdentityProvider source;
  source.set_issuer(provider.issuer());
  source.set_static_jwks(provider.static_jwks());
  source.set_ca_pem(provider.ca_pem());
  source.set_allow_loopback_http(provider.allow_loopback_http());
  const std::string key = crypto::Sha256(source.SerializeAsString());
  absl::MutexLock lock(&mu_);
  std::shared_ptr<IssuerKeys>& entry = issuers_[key];
  if (entry == nullptr) {
    entry = std::make_shared<IssuerKeys>(source, fetcher_, clock_);
    if (issuers_.size() > kMaxIssuers) {
      std::shared_ptr<IssuerKeys> only = entry;
      issuers_.clear();
      issuers_[key] = only;
      return only;
    }
  }
  return entry;
}

}  // namespace postern::identity
