// Fetches the documents of an identity provider.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace postern::identity {

struct FetchOptions {
  // PEM of the CAs to trust. Empty: the system's.
  std::string ca_pem;
  // Allow http:// to a loopback address. Any other http:// is refused always.
  bool allow_loopback_http = false;
  size_t max_bytes = 256 * 1024;
  absl::Duration timeout = absl::Seconds(10);
};

// Thread-safe; blocks for at most the timeout.
class HttpFetcher {
 public:
  virtual ~HttpFetcher() = default;
  // The body of a 200 answer to GET. Redirects are not followed.
  //   INVALID_ARGUMENT/ISSUER_URL: not https, and not an allowed http URL.
  //   UNAVAILABLE/ISSUER_UNAVAILABLE: no answer, another status, too large, TLS not trusted, out of time.
  virtual absl::StatusOr<std::string> Get(std::string_view url, const FetchOptions& options) const = 0;
};

// Over libcurl.
std::unique_ptr<HttpFetcher> NewHttpFetcher();

// Posts `body` with these header lines, over libcurl and with the same care. Thread-safe; blocks for at most the
// timeout. OK for an answer of 2xx, whose body is not read.
//   INVALID_ARGUMENT/ISSUER_URL, UNAVAILABLE/ISSUER_UNAVAILABLE as for Get(). Neither tells the URL, which may be
//   secret.
absl::Status HttpPost(const std::string& url, const std::vector<std::string>& headers, const std::string& body,
                      const FetchOptions& options);

// INVALID_ARGUMENT/ISSUER_URL unless `url` is one that Get() would ask: https with a host, or http to 127.0.0.0/8,
// [::1] or localhost where that is allowed; no user, no fragment.
absl::Status CheckIssuerUrl(std::string_view url, bool allow_loopback_http);

}  // namespace postern::identity
