// `postern login`: OIDC authorization code with PKCE (RFC 7636) on a loopback redirect (RFC 8252).
#include <array>
#include <cstdio>
#include <map>
#include <memory>

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/commands/commands.h"
#include "cli/output.h"
#include "cli/text.h"
#include "common/base/errors.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/crypto/base64.h"
#include "common/crypto/hash.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace postern::cli {
namespace {

constexpr int kLoginTimeoutSeconds = 300;
constexpr size_t kMaxResponse = 256 * 1024;

absl::Status LoginFailed(std::string_view what, std::string_view hint = {}) {
  return Error(absl::StatusCode::kUnauthenticated, "LOGIN_FAILED", what, hint);
}

struct CurlDeleter {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};

size_t Collect(char* data, size_t size, size_t count, void* into) {
  auto* body = static_cast<std::string*>(into);
  if (body->size() + size * count > kMaxResponse) return 0;
  body->append(data, size * count);
  return size * count;
}

std::string UrlEncode(std::string_view text) {
  constexpr std::string_view kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  std::string out;
  for (const char c : text) {
    out += kPlain.find(c) != std::string_view::npos ? std::string(1, c)
                                                    : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

std::string FormEncode(const std::map<std::string, std::string>& fields) {
  std::string out;
  for (const auto& [key, value] : fields) out += (out.empty() ? "" : "&") + UrlEncode(key) + "=" + UrlEncode(value);
  return out;
}

// GET, or POST when there is a form. Redirects are not followed: an issuer answers for itself.
absl::StatusOr<nlohmann::json> Fetch(const OidcSettings& oidc, const std::string& url, const std::string& form) {
  if (!url.starts_with("https://") && !url.starts_with("http://127.0.0.1") && !url.starts_with("http://localhost")) {
    return LoginFailed(fmt::format("{} is not https", url));
  }
  const std::unique_ptr<CURL, CurlDeleter> curl(curl_easy_init());
  if (curl == nullptr) return LoginFailed("cannot start an HTTP client");
  std::string body;
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, Collect);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &body);
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT, 20L);
  curl_easy_setopt(curl.get(), CURLOPT_FOLLOWLOCATION, 0L);
  if (!oidc.ca_file.empty()) curl_easy_setopt(curl.get(), CURLOPT_CAINFO, oidc.ca_file.c_str());
  if (!form.empty()) curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, form.c_str());
  const CURLcode done = curl_easy_perform(curl.get());
  if (done != CURLE_OK) {
    return LoginFailed(fmt::format("{} does not answer: {}", url, curl_easy_strerror(done)),
                       "check the issuer's address");
  }
  long http = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &http);
  auto json = nlohmann::json::parse(body, nullptr, false);
  if (http != 200 || json.is_discarded() || !json.is_object()) {
    const std::string why = json.is_object() ? json.value("error_description", json.value("error", "")) : "";
    return LoginFailed(fmt::format("{} answered {} {}", url, http, Printable(why)));
  }
  return json;
}

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

absl::StatusOr<uint16_t> ListenOnLoopback(int fd) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(fd, 4) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    return LoginFailed("cannot listen on a loopback port");
  }
  return ntohs(address.sin_port);
}

std::string UrlDecode(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::sscanf(std::string(text.substr(i + 1, 2)).c_str(), "%2x", &value) == 1) {
      out += static_cast<char>(value);
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

std::map<std::string, std::string> ParseQuery(std::string_view request_line) {
  std::map<std::string, std::string> fields;
  const size_t question = request_line.find('?');
  if (question == std::string_view::npos) return fields;
  std::string_view query = request_line.substr(question + 1);
  query = query.substr(0, query.find(' '));
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    const size_t equals = std::min(pair.find('='), pair.size());
    fields[UrlDecode(pair.substr(0, equals))] = equals < pair.size() ? UrlDecode(pair.substr(equals + 1)) : "";
    query.remove_prefix(std::min(end + 1, query.size()));
  }
  return fields;
}

// Waits for the browser to come back with our `state`; requests without it (favicon, probes) get a 404.
absl::StatusOr<std::string> AwaitCode(int listener, const std::string& state) {
  for (;;) {
    pollfd waiting{listener, POLLIN, 0};
    if (poll(&waiting, 1, kLoginTimeoutSeconds * 1000) <= 0) {
      return LoginFailed("nobody finished the login in the browser within five minutes", "run it again");
    }
    const Fd peer(accept(listener, nullptr, nullptr));
    if (peer.get() < 0) continue;
    timeval limit{5, 0};
    setsockopt(peer.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    std::array<char, 8192> buffer{};
    const ssize_t n = recv(peer.get(), buffer.data(), buffer.size(), 0);
    const std::string_view request(buffer.data(), n > 0 ? static_cast<size_t>(n) : 0);
    auto fields = ParseQuery(request.substr(0, request.find("\r\n")));
    const bool ours = crypto::ConstantTimeEqual(fields["state"], state);
    const bool good = ours && !fields["code"].empty();
    const std::string body = good ? "You are logged in to Postern. This window may be closed.\n"
                                  : "This is not the login that Postern waits for.\n";
    const std::string answer = fmt::format(
        "HTTP/1.1 {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
        good ? "200 OK" : "404 Not Found", body.size(), body);
    send(peer.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
    if (good) return fields["code"];
    if (ours) return LoginFailed(fmt::format("the provider refused: {}", Printable(fields["error"])));
  }
}

absl::Status Login(Client& client) {
  POSTERN_ASSIGN_OR_RETURN(const Profile profile, LoadProfile(client.profile_name));
  if (!profile.oidc.has_value()) {
    return Usage(fmt::format("profile {} has no oidc section", profile.name),
                 "add oidc: {issuer: …, client_id: …} to it");
  }
  const OidcSettings& oidc = *profile.oidc;
  POSTERN_ASSIGN_OR_RETURN(const nlohmann::json discovery,
                           Fetch(oidc, oidc.issuer + "/.well-known/openid-configuration", ""));
  if (discovery.value("issuer", "") != oidc.issuer) return LoginFailed("the provider's metadata names another issuer");

  const Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  POSTERN_ASSIGN_OR_RETURN(const uint16_t port, ListenOnLoopback(listener.get()));
  const std::string redirect = fmt::format("http://127.0.0.1:{}/callback", port);
  const std::string state = crypto::Base64UrlEncode(Random::System().Bytes(24));
  const std::string verifier = crypto::Base64UrlEncode(Random::System().Bytes(32));
  const std::string url = discovery.value("authorization_endpoint", "") + "?" +
                          FormEncode({{"response_type", "code"},
                                      {"client_id", oidc.client_id},
                                      {"redirect_uri", redirect},
                                      {"scope", "openid email profile groups"},
                                      {"state", state},
                                      {"code_challenge", crypto::Base64UrlEncode(crypto::Sha256(verifier))},
                                      {"code_challenge_method", "S256"}});
  std::fprintf(stderr, "Open this address in a browser on this machine:\n");
  PrintLine(url);
  POSTERN_ASSIGN_OR_RETURN(const std::string code, AwaitCode(listener.get(), state));
  POSTERN_ASSIGN_OR_RETURN(const nlohmann::json tokens, Fetch(oidc, discovery.value("token_endpoint", ""),
                                                              FormEncode({{"grant_type", "authorization_code"},
                                                                          {"code", code},
                                                                          {"redirect_uri", redirect},
                                                                          {"client_id", oidc.client_id},
                                                                          {"code_verifier", verifier}})));
  if (!tokens.contains("id_token") || !tokens["id_token"].is_string())
    return LoginFailed("the provider gave no ID token");
  nlohmann::json saved;
  saved["id_token"] = tokens["id_token"];
  POSTERN_RETURN_IF_ERROR(WritePrivateFile(LoginFile(profile), saved.dump()));
  std::fprintf(stderr, "Logged in. `postern whoami` shows as whom.\n");
  return absl::OkStatus();
}

}  // namespace

void AddLogin(CLI::App& app, Env& env) {
  auto forget = std::make_shared<bool>(false);
  CLI::App* login =
      Leaf(app, env, "login", "Log in as a person through the profile's OIDC provider",
           "  postern login\n  postern login --forget\n\n"
           "The profile (see POSTERN_CONFIG) needs: controlplane, ca_file, oidc: {issuer, client_id, ca_file}.",
           [&env, forget]() -> absl::Status {
             if (!*forget) return Login(env.client);
             POSTERN_ASSIGN_OR_RETURN(const Profile profile, LoadProfile(env.client.profile_name));
             unlink(LoginFile(profile).c_str());
             return absl::OkStatus();
           });
  login->add_flag("--forget", *forget, "Log out: remove the saved tokens");
}

}  // namespace postern::cli
