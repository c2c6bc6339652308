#include "sidecar/session/gateway.h"

#include <cerrno>

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>

#include "absl/synchronization/notification.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "fmt/format.h"
#include "sidecar/reactor/connect.h"
#include "sidecar/session/session.h"

namespace postern::session {
namespace {

// Postgres's own parser recurses; it runs on the loops' threads, and address space costs nothing.
constexpr size_t kStackBytes = 64 << 20;
constexpr absl::Duration kLeaseWatch = absl::Milliseconds(250);
constexpr int kAcceptsPerWake = 64;
// What a cut connection may take to go; connections that are still logging in have their own deadlines.
constexpr absl::Duration kCutTimeout = absl::Seconds(15);

Peer PeerOf(const sockaddr_storage& address, bool unix_socket) {
  if (unix_socket) return {.address = "local", .local = true, .unix_socket = true};
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET6) {
    const auto& in6 = reinterpret_cast<const sockaddr_in6&>(address);
    inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof(text));
    const bool local = IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr) ||
                       (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr) && in6.sin6_addr.s6_addr[12] == 127);
    return {.address = fmt::format("[{}]:{}", text, ntohs(in6.sin6_port)), .local = local};
  }
  const auto& in = reinterpret_cast<const sockaddr_in&>(address);
  inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
  return {.address = fmt::format("{}:{}", text, ntohs(in.sin_port)), .local = (ntohl(in.sin_addr.s_addr) >> 24) == 127};
}

wire::ErrorFields Fatal(std::string_view sqlstate, std::string message, std::string hint = {}) {
  return {
      .severity = "FATAL", .sqlstate = std::string(sqlstate), .message = std::move(message), .hint = std::move(hint)};
}

}  // namespace

class Gateway::Listener : public reactor::FdHandler {
 public:
  Listener(Gateway& gateway, reactor::UniqueFd fd, bool unix_socket)
      : gateway_(gateway), fd_(std::move(fd)), unix_socket_(unix_socket) {}
  void OnReady(uint32_t) override { gateway_.Accept(fd_.get(), unix_socket_); }
  int fd() const { return fd_.get(); }

 private:
  Gateway& gateway_;
  reactor::UniqueFd fd_;
  const bool unix_socket_;
};

struct Gateway::Thread {
  std::unique_ptr<reactor::EventLoop> loop;
  std::unique_ptr<WarmPool> warm;
  pthread_t thread{};
  bool running = false;

  absl::Status Start() {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, kStackBytes);
    const int result = pthread_create(
        &thread, &attributes,
        [](void* self) -> void* {
          static_cast<Thread*>(self)->loop->Run();
          return nullptr;
        },
        this);
    pthread_attr_destroy(&attributes);
    running = result == 0;
    if (running) return absl::OkStatus();
    return Error(absl::StatusCode::kInternal, "REACTOR_SETUP", "cannot start an event loop thread");
  }
  void Join() {
    if (!running) return;
    loop->Stop();
    pthread_join(thread, nullptr);
    running = false;
  }
};

Gateway::Gateway(GatewayOptions options, sidecar::Uplink& uplink, const Clock& clock, Random& random)
    : options_(std::move(options)),
      uplink_(uplink),
      clock_(clock),
      registry_(options_.sessions, random),
      previews_(clock) {}

Gateway::~Gateway() {
  Drain(absl::ZeroDuration());
  StopThreads();
}

absl::StatusOr<std::unique_ptr<Gateway>> Gateway::Create(GatewayOptions options, sidecar::Uplink& uplink,
                                                         spool::Spool& spool, const Clock& clock, Random& random) {
  std::unique_ptr<Gateway> gateway(new Gateway(std::move(options), uplink, clock, random));
  const GatewayOptions& o = gateway->options_;
  if (!o.tls_certificate_file.empty()) {
    POSTERN_ASSIGN_OR_RETURN(gateway->client_tls_, ClientTls::Load(o.tls_certificate_file, o.tls_key_file));
  }
  sidecar::CatalogServiceOptions catalog_options;
  catalog_options.poll_interval = o.catalog_poll_interval;
  catalog_options.publish = [raw = gateway.get()](const v1::CatalogSnapshot& snapshot, sidecar::CatalogPtr catalog) {
    raw->enforcers_.Get(snapshot.target(), snapshot.database())->SetCatalog(std::move(catalog));
    raw->uplink_.PublishCatalog(snapshot);
  };
  gateway->catalogs_ = std::make_unique<sidecar::CatalogService>(std::move(catalog_options), clock);
  gateway->services_ = std::make_unique<Services>(Services{
      clock, random, uplink, spool, *gateway->catalogs_, gateway->enforcers_, gateway->registry_, gateway->approvals_,
      gateway->previews_, gateway->upstream_tls_, gateway->client_tls_.get(), o.sidecar_id, o.limits, o.auth});
  POSTERN_RETURN_IF_ERROR(gateway->Bind());
  POSTERN_RETURN_IF_ERROR(gateway->MakeThreads());
  return gateway;
}

absl::Status Gateway::Bind() {
  for (const std::string& address : options_.listen) {
    int bound = 0;
    POSTERN_ASSIGN_OR_RETURN(reactor::UniqueFd fd, reactor::ListenTcp(address, &bound));
    if (port_ == 0) port_ = bound;
    listeners_.push_back(std::make_unique<Listener>(*this, std::move(fd), false));
  }
  if (!options_.unix_socket_dir.empty()) {
    unix_path_ = fmt::format("{}/.s.PGSQL.{}", options_.unix_socket_dir, port_ != 0 ? port_ : options_.unix_port);
    POSTERN_ASSIGN_OR_RETURN(reactor::UniqueFd fd, reactor::ListenUnix(unix_path_));
    listeners_.push_back(std::make_unique<Listener>(*this, std::move(fd), true));
  }
  return absl::OkStatus();
}

absl::Status Gateway::MakeThreads() {
  for (int i = 0; i < std::max(1, options_.threads); ++i) {
    auto thread = std::make_unique<Thread>();
    POSTERN_ASSIGN_OR_RETURN(thread->loop, reactor::EventLoop::Create(clock_));
    thread->warm = std::make_unique<WarmPool>(*thread->loop, options_.warm);
    threads_.push_back(std::move(thread));
  }
  for (const auto& thread : threads_) POSTERN_RETURN_IF_ERROR(thread->Start());
  return absl::OkStatus();
}

void Gateway::Start() {
  threads_[0]->loop->Post([this] {
    for (const auto& listener : listeners_) {
      // Cannot fail but for memory: then nobody is served, and the health of the port says so.
      [[maybe_unused]] const absl::Status added = threads_[0]->loop->Add(listener->fd(), EPOLLIN, listener.get());
    }
    WatchLeases();
  });
}

void Gateway::Accept(int listener, bool unix_socket) {
  for (int i = 0; i < kAcceptsPerWake; ++i) {
    sockaddr_storage address{};
    socklen_t size = sizeof(address);
    reactor::UniqueFd fd(accept4(listener, reinterpret_cast<sockaddr*>(&address), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) return;  // nothing more, or out of descriptors: then the queue waits for the next wake-up
    reactor::TuneSocket(fd.get(), !unix_socket);
    Thread& thread = *threads_[next_thread_++ % threads_.size()];
    reactor::EventLoop& loop = *thread.loop;
    {
      absl::MutexLock lock(&live_mu_);
      ++live_;
    }
    loop.Post([this, &loop, &warm = *thread.warm, raw = fd.Release(), peer = PeerOf(address, unix_socket)] {
      auto stream = std::make_unique<reactor::Stream>(loop, reactor::UniqueFd(raw));
      auto session = std::make_shared<Session>(loop, *services_, warm, std::move(stream), peer);
      reactor::Detach([](Gateway* self, std::shared_ptr<Session> served) -> reactor::Task<void> {
        co_await Session::Run(std::move(served));
        absl::MutexLock lock(&self->live_mu_);
        --self->live_;
      }(this, std::move(session)));
    });
  }
}

void Gateway::WatchLeases() {
  const absl::Duration now = clock_.Monotonic();
  registry_.EndTargets([&](const std::string& target) { return uplink_.lease_ends(target) <= now; },
                       {.reason = "lease",
                        .fatal = Fatal("57P03", "postern: the control plane has been out of reach for too long",
                                       "Connect again when it is back.")});
  threads_[0]->loop->After(kLeaseWatch, [this] { WatchLeases(); });
}

void Gateway::OnRevoked(const std::string& grant_id, const std::string& reason) {
  registry_.EndGrant(grant_id, {.reason = "revoked",
                                .fatal = Fatal("57P01", fmt::format("postern: the grant was revoked: {}", reason))});
}

void Gateway::OnKillSession(const std::string& session_id, const std::string& reason) {
  registry_.EndSession(
      session_id,
      {.reason = "killed", .fatal = Fatal("57P01", fmt::format("postern: the session was ended: {}", reason))});
}

void Gateway::OnApproval(const v1::Approval& approval) { approvals_.Post(approval); }

void Gateway::OnStateChanged() {
  const auto state = uplink_.state();
  if (state == nullptr) return;
  registry_.EndTargets(
      [&](const std::string& target) { return !state->targets.contains(target); },
      {.reason = "target removed", .fatal = Fatal("57P01", "postern: the target is no longer served here")});
  // What was opened under the old state of targets and credentials waits for nobody.
  for (const auto& thread : threads_) thread->loop->Post([&warm = *thread->warm] { warm.Clear(); });
}

absl::Status Gateway::ReloadCertificate() { return client_tls_ == nullptr ? absl::OkStatus() : client_tls_->Reload(); }

void Gateway::Drain(absl::Duration deadline) {
  if (threads_.empty() || !threads_[0]->running) return;
  absl::Notification stopped;
  threads_[0]->loop->Post([this, &stopped] {
    for (const auto& listener : listeners_) threads_[0]->loop->Remove(listener->fd(), listener.get());
    listeners_.clear();
    stopped.Notify();
  });
  stopped.WaitForNotification();
  if (!unix_path_.empty()) unlink(unix_path_.c_str());
  const Ending ending{.reason = "drain",
                      .fatal = Fatal("57P01", "postern: terminating connection because the sidecar is shutting down",
                                     "Connect again.")};
  registry_.DrainAll(ending);
  const auto none_left = [this](absl::Duration timeout) {
    const auto none = +[](int* live) { return *live == 0; };
    absl::MutexLock lock(&live_mu_);
    return live_mu_.AwaitWithTimeout(absl::Condition(none, &live_), timeout);
  };
  if (none_left(deadline)) return;
  registry_.EndAll(ending);
  none_left(kCutTimeout);
}

void Gateway::StopThreads() {
  catalogs_.reset();
  for (const auto& thread : threads_) thread->Join();
}

}  // namespace postern::session
