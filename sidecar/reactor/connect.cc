#include "sidecar/reactor/connect.h"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <thread>

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "fmt/format.h"

namespace postern::reactor {
// Not in the unnamed namespace: coroutine frames hold it, and those have linkage.
struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
};

namespace {

absl::Status ConnectFailed(std::string_view host, int port, std::string_view why) {
  return Error(absl::StatusCode::kUnavailable, "CONNECT_FAILED",
               fmt::format("cannot connect to {}:{}: {}", host, port, why));
}

absl::StatusOr<Address> UnixAddress(const std::string& path) {
  Address address;
  auto* un = reinterpret_cast<sockaddr_un*>(&address.storage);
  un->sun_family = AF_UNIX;
  if (path.size() >= sizeof(un->sun_path)) {
    return Error(absl::StatusCode::kInvalidArgument, "LISTEN_ADDRESS",
                 fmt::format("socket path is too long: {}", path));
  }
  std::memcpy(un->sun_path, path.c_str(), path.size() + 1);
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return address;
}

std::vector<Address> Lookup(const std::string& host, int port, int flags, std::string* error) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* list = nullptr;
  const int result = getaddrinfo(host.empty() ? nullptr : host.c_str(), std::to_string(port).c_str(), &hints, &list);
  std::vector<Address> addresses;
  if (result != 0) {
    *error = gai_strerror(result);
    return addresses;
  }
  for (const addrinfo* item = list; item != nullptr; item = item->ai_next) {
    Address address;
    std::memcpy(&address.storage, item->ai_addr, item->ai_addrlen);
    address.length = item->ai_addrlen;
    addresses.push_back(address);
  }
  freeaddrinfo(list);
  return addresses;
}

// Resolves without blocking the loop: getaddrinfo has no asynchronous form worth having.
Task<std::vector<Address>> Resolve(EventLoop& loop, std::string host, int port, std::string* error) {
  std::vector<Address> found = Lookup(host, port, AI_NUMERICHOST, error);
  if (!found.empty()) co_return found;
  struct Answer {
    explicit Answer(EventLoop& loop) : done(loop) {}
    Event done;
    std::vector<Address> addresses;
    std::string error;
  };
  auto answer = std::make_shared<Answer>(loop);
  std::thread([answer, &loop, host, port] {
    std::string why;
    auto addresses = Lookup(host, port, 0, &why);
    loop.Post([answer, addresses = std::move(addresses), why = std::move(why)] {
      answer->addresses = addresses;
      answer->error = why;
      answer->done.Set();
    });
  }).detach();
  co_await answer->done.Wait();
  *error = answer->error;
  co_return answer->addresses;
}

// Waits for a connect(2) in progress.
class ConnectWaiter : public FdHandler {
 public:
  explicit ConnectWaiter(EventLoop& loop) : done(loop) {}
  void OnReady(uint32_t) override { done.Set(); }
  Event done;
  bool timed_out = false;
};

Task<absl::StatusOr<UniqueFd>> ConnectOne(EventLoop& loop, const Address& address, absl::Duration timeout) {
  const bool tcp = address.storage.ss_family != AF_UNIX;
  UniqueFd fd(socket(address.storage.ss_family, SOCK_STREAM, 0));
  if (!fd.valid()) co_return absl::UnavailableError(std::strerror(errno));
  TuneSocket(fd.get(), tcp);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.length) == 0) co_return fd;
  // A unix socket whose backlog is full says EAGAIN and cannot be waited for.
  if (errno != EINPROGRESS) co_return absl::UnavailableError(std::strerror(errno));

  ConnectWaiter waiter(loop);
  if (absl::Status added = loop.Add(fd.get(), EPOLLOUT, &waiter); !added.ok()) co_return added;
  const auto timer = loop.After(timeout, [&waiter] {
    waiter.timed_out = true;
    waiter.done.Set();
  });
  co_await waiter.done.Wait();
  loop.CancelTimer(timer);
  loop.Remove(fd.get(), &waiter);
  if (waiter.timed_out) co_return absl::UnavailableError("timed out");
  int error = 0;
  socklen_t size = sizeof(error);
  getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) co_return absl::UnavailableError(std::strerror(error));
  co_return fd;
}

}  // namespace

Task<absl::StatusOr<std::unique_ptr<Stream>>> Connect(EventLoop& loop, std::string host, int port,
                                                      absl::Duration timeout) {
  std::vector<Address> addresses;
  std::string why = "no address";
  if (host.starts_with('/')) {
    absl::StatusOr<Address> address = UnixAddress(fmt::format("{}/.s.PGSQL.{}", host, port));
    if (!address.ok()) co_return address.status();
    addresses.push_back(*address);
  } else {
    addresses = co_await Resolve(loop, host, port, &why);
  }
  const absl::Duration deadline = loop.clock().Monotonic() + timeout;
  for (const Address& address : addresses) {
    const absl::Duration left = deadline - loop.clock().Monotonic();
    if (left <= absl::ZeroDuration()) break;
    absl::StatusOr<UniqueFd> fd = co_await ConnectOne(loop, address, left);
    if (fd.ok()) co_return std::make_unique<Stream>(loop, *std::move(fd));
    why = std::string(fd.status().message());
  }
  co_return ConnectFailed(host, port, why);
}

absl::StatusOr<UniqueFd> ListenTcp(const std::string& address, int* bound_port) {
  const size_t colon = address.rfind(':');
  int port = -1;
  if (colon != std::string::npos) {
    const char* begin = address.data() + colon + 1;
    const auto [end, ec] = std::from_chars(begin, address.data() + address.size(), port);
    if (ec != std::errc() || end != address.data() + address.size()) port = -1;
  }
  if (port < 0 || port > 65535) {
    return Error(absl::StatusCode::kInvalidArgument, "LISTEN_ADDRESS", fmt::format("not an address: {}", address),
                 "Write host:port, for instance 127.0.0.1:6432 or [::1]:6432.");
  }
  std::string host = address.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  std::string why;
  const std::vector<Address> found = Lookup(host, port, AI_PASSIVE, &why);
  for (const Address& candidate : found) {
    UniqueFd fd(socket(candidate.storage.ss_family, SOCK_STREAM, 0));
    if (!fd.valid()) {
      why = std::strerror(errno);
      continue;
    }
    TuneSocket(fd.get(), true);
    const int on = 1;
    setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&candidate.storage), candidate.length) != 0 ||
        listen(fd.get(), 1024) != 0) {
      why = std::strerror(errno);
      continue;
    }
    sockaddr_storage bound{};
    socklen_t size = sizeof(bound);
    getsockname(fd.get(), reinterpret_cast<sockaddr*>(&bound), &size);
    *bound_port = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                                    : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
    return fd;
  }
  return Error(absl::StatusCode::kUnavailable, "LISTEN_FAILED", fmt::format("cannot listen on {}: {}", address, why));
}

absl::StatusOr<UniqueFd> ListenUnix(const std::string& path) {
  POSTERN_ASSIGN_OR_RETURN(const Address address, UnixAddress(path));
  const auto* name = reinterpret_cast<const sockaddr*>(&address.storage);
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM, 0));
  if (!fd.valid()) return Error(absl::StatusCode::kUnavailable, "LISTEN_FAILED", std::strerror(errno));
  TuneSocket(fd.get(), false);
  {
    UniqueFd probe(socket(AF_UNIX, SOCK_STREAM, 0));
    if (connect(probe.get(), name, address.length) != 0 && errno == ECONNREFUSED) unlink(path.c_str());
  }
  if (bind(fd.get(), name, address.length) != 0 || chmod(path.c_str(), 0660) != 0 || listen(fd.get(), 1024) != 0) {
    return Error(absl::StatusCode::kUnavailable, "LISTEN_FAILED",
                 fmt::format("cannot listen on {}: {}", path, std::strerror(errno)));
  }
  return fd;
}

}  // namespace postern::reactor
