#include "controlplane/identity/http_fetcher.h"

#include <cstring>

#include <curl/curl.h>
#include <fmt/format.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace postern::identity {
namespace {

constexpr std::string_view kHttp = "http://";
constexpr std::string_view kHttps = "https://";

struct CurlFree {
  void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
};
using CurlPtr = std::unique_ptr<CURL, CurlFree>;

// curl_global_init() once, before any thread uses curl.
class CurlGlobal {
 public:
  CurlGlobal() { curl_global_init(CURL_GLOBAL_DEFAULT); }
};

struct Sink {
  std::string body;
  size_t max_bytes;
  bool too_large = false;
};

size_t Receive(char* data, size_t size, size_t count, void* context) {
  auto* sink = static_cast<Sink*>(context);
  const size_t bytes = size * count;
  if (bytes > sink->max_bytes - sink->body.size()) {
    sink->too_large = true;
    return 0;  // Not what was offered: curl gives up.
  }
  sink->body.append(data, bytes);
  return bytes;
}

absl::Status BadUrl(std::string_view what) {
  return Error(absl::StatusCode::kInvalidArgument, "ISSUER_URL", what,
               "Give the https:// URL that the provider publishes as its issuer.");
}

absl::Status Unavailable(std::string_view url, std::string_view why) {
  return Error(absl::StatusCode::kUnavailable, "ISSUER_UNAVAILABLE", fmt::format("cannot fetch {}: {}", url, why),
               "Check the provider, the network between, and the CA that signs its certificate.");
}

// Host of an authority, without port and brackets; empty if it is malformed.
std::string_view HostOf(std::string_view authority) {
  if (authority.starts_with('[')) {
    const size_t end = authority.find(']');
    return end == std::string_view::npos ? std::string_view() : authority.substr(1, end - 1);
  }
  return authority.substr(0, authority.find(':'));
}

bool IsLoopback(std::string_view host) {
  if (host == "localhost" || host == "::1") return true;
  // Digits and dots only: `127.0.0.1.evil.example` is a name, not an address.
  return host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string_view::npos;
}

void InitialiseCurl() { static const CurlGlobal kGlobal; }

class CurlFetcher final : public HttpFetcher {
 public:
  CurlFetcher() { InitialiseCurl(); }

  absl::StatusOr<std::string> Get(std::string_view url, const FetchOptions& options) const override {
    POSTERN_RETURN_IF_ERROR(CheckIssuerUrl(url, options.allow_loopback_http));
    const CurlPtr curl(curl_easy_init());
    if (curl == nullptr) return Unavailable(url, "out of memory");
    Sink sink{{}, options.max_bytes};
    Prepare(curl.get(), std::string(url), options, sink);
    const CURLcode code = curl_easy_perform(curl.get());
    if (sink.too_large) return Unavailable(url, fmt::format("the answer is larger than {} bytes", options.max_bytes));
    if (code != CURLE_OK) return Unavailable(url, curl_easy_strerror(code));
    long status = 0;
    curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) return Unavailable(url, fmt::format("the answer has status {}, not 200", status));
    return std::move(sink.body);
  }

  static void Prepare(CURL* curl, const std::string& url, const FetchOptions& options, Sink& sink) {
    const bool plain = url.starts_with(kHttp);
    curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, plain ? "http" : "https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(absl::ToInt64Milliseconds(options.timeout)));
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                     static_cast<long>(absl::ToInt64Milliseconds(options.timeout / 2)));
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, Receive);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &sink);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "postern");
    // A proxy would see plain text meant for this host; for https the environment's proxy is honoured.
    if (plain) curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    if (!options.ca_pem.empty()) {
      curl_blob blob{const_cast<char*>(options.ca_pem.data()), options.ca_pem.size(), CURL_BLOB_COPY};
      curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &blob);
      curl_easy_setopt(curl, CURLOPT_CAPATH, nullptr);
    }
  }
};

}  // namespace

absl::Status CheckIssuerUrl(std::string_view url, bool allow_loopback_http) {
  const bool plain = url.starts_with(kHttp);
  if (!plain && !url.starts_with(kHttps)) return BadUrl("an issuer's URL begins with https://");
  for (const char c : url) {
    if (c <= ' ' || c == '\x7f' || c == '\\' || c == '#' || c == '@') {
      return BadUrl("an issuer's URL has no user, fragment, white space or backslash");
    }
  }
  const std::string_view rest = url.substr(plain ? kHttp.size() : kHttps.size());
  const std::string_view host = HostOf(rest.substr(0, rest.find_first_of("/?")));
  if (host.empty()) return BadUrl("an issuer's URL names a host");
  if (plain && !(allow_loopback_http && IsLoopback(host))) {
    return BadUrl("an issuer over http:// is accepted on a loopback address only, and where the provider allows it");
  }
  return absl::OkStatus();
}

absl::Status HttpPost(const std::string& url, const std::vector<std::string>& headers, const std::string& body,
                      const FetchOptions& options) {
  POSTERN_RETURN_IF_ERROR(CheckIssuerUrl(url, options.allow_loopback_http));
  InitialiseCurl();
  const auto unavailable = [](std::string_view why) {
    return Error(absl::StatusCode::kUnavailable, "ISSUER_UNAVAILABLE", fmt::format("not delivered: {}", why));
  };
  const CurlPtr curl(curl_easy_init());
  if (curl == nullptr) return unavailable("out of memory");
  Sink sink{{}, options.max_bytes};
  CurlFetcher::Prepare(curl.get(), url, options, sink);
  std::unique_ptr<curl_slist, void (*)(curl_slist*)> lines(nullptr, curl_slist_free_all);
  for (const std::string& header : headers) {
    lines.reset(curl_slist_append(lines.release(), header.c_str()));
  }
  curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, lines.get());
  curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, body.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  if (const CURLcode code = curl_easy_perform(curl.get()); code != CURLE_OK)
    return unavailable(curl_easy_strerror(code));
  long status = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  if (status >= 200 && status < 300) return absl::OkStatus();
  return unavailable(fmt::format("the answer has status {}", status));
}

std::unique_ptr<HttpFetcher> NewHttpFetcher() { return std::make_unique<CurlFetcher>(); }

}  // namespace postern::identity
