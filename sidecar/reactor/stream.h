// A non-blocking connection, in plaintext or under TLS, of one event loop.
//
// Reading: `co_await stream.Readable()` and then one Read(), which makes one recv. Writing: append to out() and
// Flush(), or Send() what lies elsewhere: one send; what the socket does not take waits for EPOLLOUT without anybody's
// help. Interest in
// the descriptor is level-triggered and changes only under back-pressure. Belongs to the loop's thread.
#pragma once

#include <coroutine>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <openssl/ssl.h>

#include "absl/status/status.h"
#include "common/crypto/openssl_ptr.h"
#include "sidecar/reactor/event_loop.h"
#include "sidecar/reactor/fd.h"
#include "sidecar/reactor/task.h"

namespace postern::reactor {

using crypto::SslPtr;

enum class ReadResult { kData, kWouldBlock, kClosed };

class Stream : public FdHandler {
 public:
  // `fd` must be non-blocking. `loop` is not owned and outlives the stream.
  Stream(EventLoop& loop, UniqueFd fd);
  ~Stream() override;

  // Waits until Read() may have something to say. Returns at once when the stream is closed. At most one waiter.
  auto Readable() {
    struct Awaiter {
      Stream& stream;
      bool await_ready() const { return stream.ReadyNow(); }
      void await_suspend(std::coroutine_handle<> handle) const { stream.WaitRead(handle); }
      void await_resume() const {}
    };
    return Awaiter{*this};
  }
  // At most `limit` bytes of what one recv brings, in the loop's scratch memory: good until the next read of any stream
  // of the loop. kClosed: end of stream, or an error.
  ReadResult Read(std::string_view* bytes, size_t limit = EventLoop::kScratchBytes);
  // The same, appended to `in`.
  ReadResult Read(std::string* in, size_t limit = kReadChunk);
  // Looks at the next bytes of the socket without taking them; plaintext only.
  size_t Peek(char* out, size_t size) const;

  // True if the peer has neither sent anything that was not read nor closed its side.
  bool Quiet() const;

  std::string& out() { return out_; }
  // Bytes that wait to be sent.
  size_t pending() const { return out_.size() - sent_; }
  // Sends what it can. Failures show as a closed stream to the reader.
  void Flush();
  // Sends out() and then `bytes`, copying only what the socket does not take now.
  void Send(std::string_view bytes);
  // Waits until fewer than `limit` bytes wait, or the stream is closed. At most one waiter.
  auto Drained(size_t limit) {
    struct Awaiter {
      Stream& stream;
      size_t limit;
      bool await_ready() const { return stream.closed_ || stream.pending() < limit; }
      void await_suspend(std::coroutine_handle<> handle) const {
        stream.drain_waiter_ = handle;
        stream.drain_limit_ = limit;
      }
      void await_resume() const {}
    };
    return Awaiter{*this, limit};
  }

  // TLS handshakes. `ssl` is fresh, of a context with the right settings. Takes nothing of the socket before the call.
  Task<absl::Status> AcceptTls(SslPtr ssl) { return Handshake(std::move(ssl), true); }
  Task<absl::Status> ConnectTls(SslPtr ssl) { return Handshake(std::move(ssl), false); }
  SSL* ssl() const { return ssl_.get(); }

  // Called once when the peer has closed its side or the connection broke, also while nobody reads.
  void OnHangup(std::function<void()> fn) { on_hangup_ = std::move(fn); }
  bool hung_up() const { return hung_up_; }

  // Resumes whoever waits, so that it looks around: for ends that are decided elsewhere.
  void Wake();
  // Closes and wakes all waiters. What was not sent is lost. Idempotent.
  void Close();
  bool closed() const { return closed_; }
  int fd() const { return fd_.get(); }

  void OnReady(uint32_t events) override;

  static constexpr size_t kReadChunk = 64 * 1024;

 private:
  Task<absl::Status> Handshake(SslPtr ssl, bool accept);
  bool ReadyNow() const {
    return closed_ || !registered_ || (ssl_ != nullptr && SSL_has_pending(ssl_.get()) != 0 && !tls_starved_);
  }
  void WaitRead(std::coroutine_handle<> handle);
  void Interest(uint32_t events);
  void Broken();
  long SendSome(const char* data, size_t size);

  EventLoop& loop_;
  UniqueFd fd_;
  SslPtr ssl_;
  std::string out_;
  size_t sent_ = 0;
  uint32_t interest_ = 0;
  bool registered_ = false;
  bool closed_ = false;
  // Nothing can be sent any more.
  bool broken_ = false;
  bool hung_up_ = false;
  // The last SSL_read wanted more bytes although some are buffered: half a record.
  bool tls_starved_ = false;
  // The handshake waits for the socket to take bytes.
  bool handshake_wants_write_ = false;
  std::coroutine_handle<> read_waiter_;
  std::coroutine_handle<> drain_waiter_;
  size_t drain_limit_ = 0;
  std::function<void()> on_hangup_;
};

// Makes sure that `fd` does not block and sends without delay (TCP) and notices a dead peer.
void TuneSocket(int fd, bool tcp);

}  // namespace postern::reactor
