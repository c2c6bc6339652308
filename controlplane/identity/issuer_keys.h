// The signing keys of OIDC issuers: fetched by discovery (OpenID Connect Discovery 1.0 section 4), kept, and fetched
// again when they rotate, without letting a flood of made-up tokens become a flood of fetches.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/token/jws.h"
#include "controlplane/identity/http_fetcher.h"
#include "postern/v1/identity.pb.h"

namespace postern::identity {

// A JWK Set (RFC 7517). Immutable.
class KeySet {
 public:
  static constexpr size_t kMaxKeys = 100;

  // INVALID_ARGUMENT/JWKS_MALFORMED: not a set, more than kMaxKeys, or no public signing key in it. Keys of kinds that
  // we do not verify with are left aside, as section 5 of the RFC wants it.
  static absl::StatusOr<std::shared_ptr<const KeySet>> Parse(std::string_view text);

  // The key `key_id`, for `algorithm`. An empty id matches if exactly one key fits the algorithm.
  //   UNAUTHENTICATED/TOKEN_UNKNOWN_KEY: there is none, or it is not for this algorithm.
  absl::StatusOr<token::JwsKey> Find(std::string_view key_id, std::string_view algorithm) const;

 private:
  // An RSA key without `alg` stands here twice, once for each algorithm that it can be used with.
  explicit KeySet(std::vector<token::JwsKey> keys) : keys_(std::move(keys)) {}
  const std::vector<token::JwsKey> keys_;
};

// The keys of one issuer. Thread-safe.
class IssuerKeys {
 public:
  // A set is used without asking for this long.
  static constexpr absl::Duration kFresh = absl::Minutes(10);
  // While the issuer does not answer, the last set is used up to this age.
  static constexpr absl::Duration kStale = absl::Hours(12);
  // Fetches are at least this far apart, whatever tokens come in.
  static constexpr absl::Duration kMinInterval = absl::Seconds(10);
  // At most this many callers wait for a fetch; more are sent away, so that a slow issuer cannot tie up the server.
  static constexpr int kMaxWaiters = 16;

  // `fetcher` and `clock` outlive the object. A provider with static_jwks never fetches.
  IssuerKeys(const v1::IdentityProvider& provider, const HttpFetcher& fetcher, const Clock& clock);

  // The key for verifying a token with this header. Fetches if the set is old or lacks the key; callers that come
  // meanwhile share the one fetch.
  //   UNAUTHENTICATED/TOKEN_UNKNOWN_KEY: the issuer has no such key, or none for the algorithm.
  //   UNAVAILABLE/ISSUER_UNAVAILABLE: there is no set that may still be used.
  absl::StatusOr<token::JwsKey> Find(std::string_view key_id, std::string_view algorithm);

 private:
  // Discovery, then the set. Called without the lock.
  absl::StatusOr<std::shared_ptr<const KeySet>> Fetch() const;
  // Fetches, unless that was tried a moment ago, or waits for the fetch that runs.
  void Refresh() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether there is a set that is younger than `age`.
  bool HasSet(absl::Duration age) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::string issuer_;
  const FetchOptions options_;
  const HttpFetcher& fetcher_;
  const Clock& clock_;

  absl::Mutex mu_;
  std::shared_ptr<const KeySet> keys_ ABSL_GUARDED_BY(mu_);
  // Monotonic times.
  absl::Duration fetched_at_ ABSL_GUARDED_BY(mu_);
  absl::Duration tried_at_ ABSL_GUARDED_BY(mu_) = -absl::InfiniteDuration();
  absl::Status last_error_ ABSL_GUARDED_BY(mu_);
  bool fetching_ ABSL_GUARDED_BY(mu_) = false;
  int waiters_ ABSL_GUARDED_BY(mu_) = 0;
  bool fixed_ ABSL_GUARDED_BY(mu_) = false;
};

// One IssuerKeys for each issuer, shared by the providers that describe it alike. Thread-safe.
class IssuerKeysCache {
 public:
  // Both outlive the object.
  IssuerKeysCache(const HttpFetcher& fetcher, const Clock& clock) : fetcher_(fetcher), clock_(clock) {}
  std::shared_ptr<IssuerKeys> For(const v1::IdentityProvider& provider);

 private:
  // More than any installation has; deleted providers' entries go when it is reached.
  static constexpr size_t kMaxIssuers = 1000;

  const HttpFetcher& fetcher_;
  const Clock& clock_;
  absl::Mutex mu_;
  std::map<std::string, std::shared_ptr<IssuerKeys>> issuers_ ABSL_GUARDED_BY(mu_);
};

}  // namespace postern::identity
