// A time limit on everything that is done over one stream.
#pragma once

#include "sidecar/reactor/event_loop.h"
#include "sidecar/reactor/stream.h"

namespace postern::reactor {

// Closes the stream when the time is up, which ends every wait on it. Neither is owned; the stream outlives this.
class Deadline {
 public:
  Deadline(EventLoop& loop, absl::Duration timeout, Stream* stream) : loop_(loop) {
    timer_ = loop.After(timeout, [this, stream] {
      passed_ = true;
      stream->Close();
    });
  }
  ~Deadline() { loop_.CancelTimer(timer_); }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  bool passed() const { return passed_; }

 private:
  EventLoop& loop_;
  EventLoop::TimerId timer_;
  bool passed_ = false;
};

}  // namespace postern::reactor
