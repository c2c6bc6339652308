#include "controlplane/identity/http_fetcher.h"

#include <atomic>
#include <thread>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/errors.h"

namespace postern::identity {
namespace {

// Answers every connection on a loopback port with the same bytes; with none, it keeps the caller waiting.
class Responder {
 public:
  explicit Responder(std::string answer) : answer_(std::move(answer)), listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener_, 8), 0);
    EXPECT_EQ(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Serve(); });
  }
  ~Responder() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }

  std::string Url(std::string_view path = "/") const { return fmt::format("http://127.0.0.1:{}{}", port_, path); }
  int connections() const { return connections_; }

 private:
  void Serve() {
    while (true) {
      const int client = accept(listener_, nullptr, nullptr);
      if (client < 0) return;
      ++connections_;
      char buffer[4096];
      // The request fits one read; with no answer to give, the second read waits for the caller to go.
      while (read(client, buffer, sizeof(buffer)) > 0) {
        if (answer_.empty()) continue;
        for (size_t sent = 0; sent < answer_.size();) {
          const ssize_t n = send(client, answer_.data() + sent, answer_.size() - sent, MSG_NOSIGNAL);
          if (n <= 0) break;
          sent += static_cast<size_t>(n);
        }
        break;
      }
      close(client);
    }
  }

  const std::string answer_;
  const int listener_;
  int port_ = 0;
  std::atomic<int> connections_ = 0;
  std::thread thread_;
};

FetchOptions Loopback() {
  FetchOptions options;
  options.allow_loopback_http = true;
  return options;
}

absl::StatusOr<std::string> Get(const std::string& url, const FetchOptions& options = Loopback()) {
  return NewHttpFetcher()->Get(url, options);
}

TEST(HttpFetcher, GivesTheBodyOfA200) {
  const Responder responder("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
  EXPECT_EQ(*Get(responder.Url()), "{}");
}

TEST(HttpFetcher, FollowsNoRedirect) {
  const Responder elsewhere("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
  const Responder responder(
      fmt::format("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", elsewhere.Url()));
  EXPECT_EQ(ReasonOf(Get(responder.Url()).status()), "ISSUER_UNAVAILABLE");
  EXPECT_EQ(elsewhere.connections(), 0);
}

TEST(HttpFetcher, RefusesOtherStatuses) {
  for (const std::string_view status : {"404 Not Found", "500 Oops", "204 No Content", "201 Created"}) {
    const Responder responder(fmt::format("HTTP/1.1 {}\r\nContent-Length: 0\r\n\r\n", status));
    EXPECT_EQ(ReasonOf(Get(responder.Url()).status()), "ISSUER_UNAVAILABLE") << status;
  }
}

TEST(HttpFetcher, RefusesBodiesOverTheCapWithAndWithoutALength) {
  FetchOptions options = Loopback();
  options.max_bytes = 1000;
  const Responder exact("HTTP/1.1 200 OK\r\n\r\n" + std::string(1000, 'x'));
  EXPECT_EQ(Get(exact.Url(), options)->size(), 1000u);
  const Responder more("HTTP/1.1 200 OK\r\n\r\n" + std::string(1001, 'x'));
  EXPECT_EQ(ReasonOf(Get(more.Url(), options).status()), "ISSUER_UNAVAILABLE");
  const Responder stated("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + std::string(5000, 'x'));
  EXPECT_EQ(ReasonOf(Get(stated.Url(), options).status()), "ISSUER_UNAVAILABLE");
}

TEST(HttpFetcher, GivesUpInTime) {
  const Responder silent("");
  FetchOptions options = Loopback();
  options.timeout = absl::Milliseconds(100);
  EXPECT_EQ(ReasonOf(Get(silent.Url(), options).status()), "ISSUER_UNAVAILABLE");
}

TEST(HttpFetcher, RefusesATlsPeerThatSpeaksPlainText) {
  const Responder plain("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
  EXPECT_EQ(ReasonOf(Get("https" + plain.Url().substr(4)).status()), "ISSUER_UNAVAILABLE");
}

TEST(CheckIssuerUrl, TakesHttpsAndAllowedLoopback) {
  for (const std::string_view url :
       {"https://issuer.example", "https://issuer.example:8443/realms/a", "https://[::1]/"}) {
    EXPECT_TRUE(CheckIssuerUrl(url, false).ok()) << url;
  }
  for (const std::string_view url :
       {"http://127.0.0.1:8080", "http://localhost/x", "http://[::1]:80", "http://127.9.9.9"}) {
    EXPECT_TRUE(CheckIssuerUrl(url, true).ok()) << url;
    EXPECT_EQ(ReasonOf(CheckIssuerUrl(url, false)), "ISSUER_URL") << url;
  }
  for (const std::string_view url :
       {"", "issuer.example", "ftp://issuer.example", "file:///etc/passwd", "https://", "https:///x",
        "http://example.com", "http://127.0.0.1.evil.example", "http://localhost.evil.example",
        "http://localhost@evil.example", "https://issuer.example#x", "https://issuer .example",
        "https://issuer.example\\@evil.example", "http://10.0.0.1", "http://[::1", "http://127.evil.example"}) {
    EXPECT_EQ(ReasonOf(CheckIssuerUrl(url, true)), "ISSUER_URL") << url;
  }
}

}  // namespace
}  // namespace postern::identity
