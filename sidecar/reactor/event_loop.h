// A level-triggered epoll loop: one thread, many connections.
//
// System calls are what a relay costs, so the loop makes none that it can do without: interest in a descriptor changes
// only when it must, one epoll_wait harvests all sessions that are ready, and wake-ups from other threads are coalesced
// in one eventfd.
#pragma once

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include <sys/epoll.h>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "sidecar/reactor/fd.h"

namespace postern::reactor {

class FdHandler {
 public:
  virtual ~FdHandler() = default;
  // `events`: EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR. Called on the loop's thread.
  virtual void OnReady(uint32_t events) = 0;
};

// All methods but Post() and Stop() belong to the loop's thread, or to the time before Run().
class EventLoop {
 public:
  // INTERNAL/REACTOR_SETUP when the kernel gives no descriptors. `clock` is not owned.
  static absl::StatusOr<std::unique_ptr<EventLoop>> Create(const Clock& clock);
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Runs until Stop(). What was posted before Stop() still runs.
  void Run();
  // Thread-safe.
  void Stop();
  // Runs `fn` on the loop's thread, after the present wake-up. Thread-safe. Order of one poster is kept.
  void Post(std::function<void()> fn);
  bool OnLoopThread() const { return std::this_thread::get_id() == thread_; }

  // Registers, changes, removes a descriptor. `handler` is not owned and must be removed before it dies. A descriptor
  // that was removed gets no more calls, also not those harvested already.
  absl::Status Add(int fd, uint32_t events, FdHandler* handler);
  void Modify(int fd, uint32_t events, FdHandler* handler);
  void Remove(int fd, FdHandler* handler);

  // Resumes `handle` before the loop waits again. For waking a coroutine from inside another without nesting.
  void ResumeSoon(std::coroutine_handle<> handle) { resume_.push_back(handle); }

  // co_await loop.EndOfRound(): goes on when everything that was ready in this round has been handled, before the loop
  // waits again. Who has work that is cheaper for many at once meets the others of the round here.
  auto EndOfRound() {
    struct Awaiter {
      EventLoop& loop;
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> handle) const { loop.round_end_.push_back(handle); }
      void await_resume() const noexcept {}
    };
    return Awaiter{*this};
  }

  // Memory for one read, shared by all streams of the loop: its bytes are good until the next read.
  static constexpr size_t kScratchBytes = 256 * 1024;
  char* scratch() { return scratch_.get(); }

  using TimerId = std::pair<absl::Duration, uint64_t>;
  // Calls `fn` once after `delay` of Clock::Monotonic().
  TimerId After(absl::Duration delay, std::function<void()> fn);
  void CancelTimer(const TimerId& id) { timers_.erase(id); }

  const Clock& clock() const { return clock_; }

 private:
  EventLoop(const Clock& clock, UniqueFd epoll, UniqueFd wake)
      : clock_(clock), epoll_(std::move(epoll)), wake_(std::move(wake)) {}
  void RunTimers();
  void RunResumed();
  void RunRoundEnd();
  void RunPosted();
  int TimeoutMillis() const;

  const Clock& clock_;
  UniqueFd epoll_;
  UniqueFd wake_;
  std::thread::id thread_;
  std::vector<std::coroutine_handle<>> resume_;
  std::vector<std::coroutine_handle<>> round_end_;
  const std::unique_ptr<char[]> scratch_ = std::make_unique<char[]>(kScratchBytes);
  std::map<TimerId, std::function<void()>> timers_;
  uint64_t next_timer_ = 1;
  // Harvest under way: handlers removed meanwhile are blanked here.
  std::vector<epoll_event> harvest_;
  size_t harvested_ = 0;
  size_t at_ = 0;

  std::atomic<bool> stop_{false};
  absl::Mutex mu_;
  std::vector<std::function<void()>> posted_ ABSL_GUARDED_BY(mu_);
  bool wake_pending_ ABSL_GUARDED_BY(mu_) = false;
};

// Something that happens to one waiting coroutine. Sticky: set while nobody waits, the next wait returns at once.
// Belongs to the loop's thread.
class Event {
 public:
  explicit Event(EventLoop& loop) : loop_(loop) {}
  void Set() {
    set_ = true;
    if (waiter_) loop_.ResumeSoon(std::exchange(waiter_, {}));
  }
  // co_await event.Wait(): at most one waiter; clears the event.
  auto Wait() {
    struct Awaiter {
      Event& event;
      bool await_ready() const noexcept { return event.set_; }
      void await_suspend(std::coroutine_handle<> handle) const noexcept { event.waiter_ = handle; }
      void await_resume() const noexcept { event.set_ = false; }
    };
    return Awaiter{*this};
  }

 private:
  EventLoop& loop_;
  std::coroutine_handle<> waiter_;
  bool set_ = false;
};

}  // namespace postern::reactor
