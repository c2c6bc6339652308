#include "sidecar/reactor/stream.h"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/socket.h>

#include "common/base/errors.h"
#include "fmt/format.h"

namespace postern::reactor {
namespace {
// Sent bytes are cut off the front of the buffer only when that is worth a memmove.
constexpr size_t kCompactAt = 256 * 1024;

std::string SslErrorText() {
  const unsigned long code = ERR_peek_last_error();
  if (code == 0) return "connection closed during the handshake";
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "unknown TLS error";
}
}  // namespace

Stream::Stream(EventLoop& loop, UniqueFd fd) : loop_(loop), fd_(std::move(fd)) {
  interest_ = EPOLLIN | EPOLLRDHUP;
  registered_ = loop_.Add(fd_.get(), interest_, this).ok();
  if (!registered_) closed_ = true;
}

Stream::~Stream() { Close(); }

void Stream::Interest(uint32_t events) {
  if (events == interest_ || !registered_) return;
  interest_ = events;
  loop_.Modify(fd_.get(), events, this);
}

void Stream::WaitRead(std::coroutine_handle<> handle) {
  read_waiter_ = handle;
  Interest(interest_ | EPOLLIN);
}

void Stream::OnReady(uint32_t events) {
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
    // Level-triggered: without this the loop would spin on a half-closed connection.
    Interest(interest_ & ~static_cast<uint32_t>(EPOLLRDHUP));
    if (!std::exchange(hung_up_, true) && on_hangup_) on_hangup_();
    if (closed_) return;
    if ((events & (EPOLLHUP | EPOLLERR)) != 0 && !read_waiter_) {
      // HUP cannot be masked. Who reads later gets what is left in the socket, and then its end.
      Flush();
      loop_.Remove(fd_.get(), this);
      registered_ = false;
      return;
    }
  }
  if ((events & EPOLLOUT) != 0) {
    if (handshake_wants_write_) {
      handshake_wants_write_ = false;
      Interest(interest_ & ~static_cast<uint32_t>(EPOLLOUT));
      if (read_waiter_) std::exchange(read_waiter_, {}).resume();
      return;
    }
    Flush();
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0 && !closed_) {
    tls_starved_ = false;
    if (read_waiter_) {
      std::exchange(read_waiter_, {}).resume();
    } else {
      Interest(interest_ & ~static_cast<uint32_t>(EPOLLIN));
    }
  }
}

ReadResult Stream::Read(std::string_view* bytes, size_t limit) {
  *bytes = {};
  if (closed_) return ReadResult::kClosed;
  char* const to = loop_.scratch();
  limit = std::min(limit, EventLoop::kScratchBytes);
  if (ssl_ != nullptr) {
    // One call brings one record; the rest of what has arrived is taken along, for there may be no event for it.
    size_t have = 0;
    ERR_clear_error();
    do {
      const int n = SSL_read(ssl_.get(), to + have, static_cast<int>(limit - have));
      if (n <= 0) {
        const int error = SSL_get_error(ssl_.get(), n);
        const bool wait = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
        tls_starved_ = wait;
        if (have > 0) break;  // an end shows again at the next read
        return wait ? ReadResult::kWouldBlock : ReadResult::kClosed;
      }
      have += static_cast<size_t>(n);
    } while (have < limit && SSL_has_pending(ssl_.get()) != 0);
    *bytes = std::string_view(to, have);
    return ReadResult::kData;
  }
  ssize_t n = 0;
  do {
    n = recv(fd_.get(), to, limit, 0);
  } while (n < 0 && errno == EINTR);
  if (n > 0) {
    *bytes = std::string_view(to, static_cast<size_t>(n));
    return ReadResult::kData;
  }
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return ReadResult::kWouldBlock;
  return ReadResult::kClosed;
}

ReadResult Stream::Read(std::string* in, size_t limit) {
  std::string_view bytes;
  const ReadResult read = Read(&bytes, limit);
  in->append(bytes);
  return read;
}

size_t Stream::Peek(char* out, size_t size) const {
  if (closed_) return 0;
  const ssize_t n = recv(fd_.get(), out, size, MSG_PEEK | MSG_DONTWAIT);
  return n > 0 ? static_cast<size_t>(n) : 0;
}

bool Stream::Quiet() const {
  if (closed_ || broken_ || hung_up_ || (ssl_ != nullptr && SSL_has_pending(ssl_.get()) != 0)) return false;
  char byte = 0;
  const ssize_t n = recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

// Returns bytes taken, 0 for "not now", -1 for a broken connection.
long Stream::SendSome(const char* data, size_t size) {
  if (ssl_ != nullptr) {
    ERR_clear_error();
    const int n = SSL_write(ssl_.get(), data, static_cast<int>(std::min<size_t>(size, 1 << 30)));
    if (n > 0) return n;
    const int error = SSL_get_error(ssl_.get(), n);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
  }
  ssize_t n = 0;
  do {
    n = send(fd_.get(), data, size, MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  if (n >= 0) return n;
  return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
}

void Stream::Flush() {
  if (closed_ || broken_) {
    out_.clear();
    sent_ = 0;
    return;
  }
  bool blocked = false;
  while (sent_ < out_.size()) {
    const long n = SendSome(out_.data() + sent_, out_.size() - sent_);
    if (n < 0) {
      Broken();
      return;
    }
    if (n == 0) {
      blocked = true;
      break;
    }
    sent_ += static_cast<size_t>(n);
    // A short write on a plain socket means that it is full: the next send would only say so.
    if (ssl_ == nullptr && sent_ < out_.size()) {
      blocked = true;
      break;
    }
  }
  if (sent_ == out_.size()) {
    out_.clear();
    sent_ = 0;
    if (out_.capacity() > kReadChunk) out_.shrink_to_fit();
  } else if (sent_ > kCompactAt) {
    out_.erase(0, sent_);
    sent_ = 0;
  }
  Interest(blocked ? interest_ | EPOLLOUT : interest_ & ~static_cast<uint32_t>(EPOLLOUT));
  if (drain_waiter_ && pending() < drain_limit_) loop_.ResumeSoon(std::exchange(drain_waiter_, {}));
}

void Stream::Send(std::string_view bytes) {
  // A TLS write that was not taken must be repeated as it was, so those bytes need a place of their own.
  if (bytes.empty() || pending() > 0 || ssl_ != nullptr || closed_ || broken_) {
    out_.append(bytes);
    Flush();
    return;
  }
  const long n = SendSome(bytes.data(), bytes.size());
  if (n < 0) {
    Broken();
    return;
  }
  if (static_cast<size_t>(n) == bytes.size()) return;
  out_.append(bytes.substr(static_cast<size_t>(n)));
  Interest(interest_ | EPOLLOUT);
}

// Nothing can be sent any more. Writers no longer wait; readers still get what the peer sent before it went.
void Stream::Broken() {
  if (std::exchange(broken_, true)) return;
  out_.clear();
  sent_ = 0;
  Interest(interest_ & ~static_cast<uint32_t>(EPOLLOUT));
  if (!std::exchange(hung_up_, true) && on_hangup_) on_hangup_();
  if (drain_waiter_) loop_.ResumeSoon(std::exchange(drain_waiter_, {}));
}

void Stream::Close() {
  if (registered_) {
    loop_.Remove(fd_.get(), this);
    registered_ = false;
  }
  closed_ = true;
  on_hangup_ = nullptr;
  if (ssl_ != nullptr && fd_.valid() && !broken_ && SSL_is_init_finished(ssl_.get()) != 0) {
    ERR_clear_error();
    SSL_shutdown(ssl_.get());  // sends close_notify if the socket takes it; the answer is not awaited
  }
  fd_.Reset();
  Wake();
}

void Stream::Wake() {
  if (read_waiter_) loop_.ResumeSoon(std::exchange(read_waiter_, {}));
  if (drain_waiter_) loop_.ResumeSoon(std::exchange(drain_waiter_, {}));
}

Task<absl::Status> Stream::Handshake(SslPtr ssl, bool accept) {
  if (closed_) co_return Error(absl::StatusCode::kUnavailable, "CONNECTION_CLOSED", "connection closed");
  SSL_set_fd(ssl.get(), fd_.get());
  SSL_set_mode(ssl.get(),
               SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  // One recv brings several records.
  SSL_set_read_ahead(ssl.get(), 1);
  for (;;) {
    ERR_clear_error();
    const int result = accept ? SSL_accept(ssl.get()) : SSL_connect(ssl.get());
    if (result == 1) break;
    const int error = SSL_get_error(ssl.get(), result);
    if (error == SSL_ERROR_WANT_WRITE) {
      handshake_wants_write_ = true;
      Interest(interest_ | EPOLLOUT);
    } else if (error != SSL_ERROR_WANT_READ) {
      co_return Error(absl::StatusCode::kUnavailable, "TLS_HANDSHAKE",
                      fmt::format("TLS handshake: {}", SslErrorText()));
    }
    co_await Readable();
    if (closed_) co_return Error(absl::StatusCode::kUnavailable, "CONNECTION_CLOSED", "connection closed");
  }
  ssl_ = std::move(ssl);
  co_return absl::OkStatus();
}

void TuneSocket(int fd, bool tcp) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  if (!tcp) return;
  const int on = 1;
  const int idle = 60, interval = 10, count = 6;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

}  // namespace postern::reactor
