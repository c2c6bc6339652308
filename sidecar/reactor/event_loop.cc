#include "sidecar/reactor/event_loop.h"

#include <cerrno>
#include <csignal>
#include <cstring>

#include <sys/eventfd.h>

#include "common/base/errors.h"
#include "fmt/format.h"

namespace postern::reactor {
namespace {
constexpr size_t kHarvest = 256;
constexpr int kMaxWaitMillis = 60'000;

absl::Status SystemError(std::string_view call) {
  return Error(absl::StatusCode::kInternal, "REACTOR_SETUP", fmt::format("{}: {}", call, std::strerror(errno)));
}
}  // namespace

absl::StatusOr<std::unique_ptr<EventLoop>> EventLoop::Create(const Clock& clock) {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return SystemError("epoll_create1");
  UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return SystemError("eventfd");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;  // the wake-up descriptor
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0) return SystemError("epoll_ctl");
  return std::unique_ptr<EventLoop>(new EventLoop(clock, std::move(epoll), std::move(wake)));
}

EventLoop::~EventLoop() = default;

void EventLoop::Run() {
  thread_ = std::this_thread::get_id();
  // OpenSSL writes without MSG_NOSIGNAL. The signal of a closed connection goes to the writing thread: this one.
  sigset_t broken_pipe;
  sigemptyset(&broken_pipe);
  sigaddset(&broken_pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
  harvest_.resize(kHarvest);
  for (;;) {
    RunPosted();
    RunTimers();
    RunResumed();
    RunRoundEnd();
    if (stop_.load(std::memory_order_acquire)) break;
    const int n = epoll_wait(epoll_.get(), harvest_.data(), static_cast<int>(kHarvest), TimeoutMillis());
    harvested_ = n > 0 ? static_cast<size_t>(n) : 0;
    for (at_ = 0; at_ < harvested_; ++at_) {
      const epoll_event& event = harvest_[at_];
      auto* handler = static_cast<FdHandler*>(event.data.ptr);
      if (handler != nullptr) {
        handler->OnReady(event.events);
        RunResumed();
      }
    }
    harvested_ = 0;
  }
  RunPosted();
  RunResumed();
  RunRoundEnd();
}

void EventLoop::Stop() {
  stop_.store(true, std::memory_order_release);
  Post([] {});
}

void EventLoop::Post(std::function<void()> fn) {
  bool wake = false;
  {
    absl::MutexLock lock(&mu_);
    posted_.push_back(std::move(fn));
    wake = !std::exchange(wake_pending_, true);
  }
  if (wake) {
    const uint64_t one = 1;
    // Can only fail when the counter is full, and then the loop is awake anyway.
    [[maybe_unused]] const ssize_t written = write(wake_.get(), &one, sizeof(one));
  }
}

absl::Status EventLoop::Add(int fd, uint32_t events, FdHandler* handler) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = handler;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return SystemError("epoll_ctl");
  return absl::OkStatus();
}

void EventLoop::Modify(int fd, uint32_t events, FdHandler* handler) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = handler;
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void EventLoop::Remove(int fd, FdHandler* handler) {
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  for (size_t i = at_; i < harvested_; ++i) {
    if (harvest_[i].data.ptr == handler) {
      harvest_[i].data.ptr = nullptr;
    }
  }
}

EventLoop::TimerId EventLoop::After(absl::Duration delay, std::function<void()> fn) {
  const TimerId id{clock_.Monotonic() + delay, next_timer_++};
  timers_.emplace(id, std::move(fn));
  return id;
}

void EventLoop::RunTimers() {
  if (timers_.empty()) return;
  const absl::Duration now = clock_.Monotonic();
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    auto fn = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    fn();
    RunResumed();
  }
}

void EventLoop::RunResumed() {
  // What a resumed coroutine wakes runs in the same round.
  for (size_t i = 0; i < resume_.size(); ++i) resume_[i].resume();
  resume_.clear();
}

void EventLoop::RunRoundEnd() {
  // Whoever comes while these run is of this round as well: nothing new is harvested in between.
  for (size_t i = 0; i < round_end_.size(); ++i) {
    round_end_[i].resume();
    RunResumed();
  }
  round_end_.clear();
}

void EventLoop::RunPosted() {
  {
    absl::MutexLock lock(&mu_);
    if (!wake_pending_) return;
  }
  // Read before taking the queue: a Post() in between leaves the descriptor readable, never a queue without a wake-up.
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t n = read(wake_.get(), &count, sizeof(count));
  std::vector<std::function<void()>> posted;
  {
    absl::MutexLock lock(&mu_);
    posted.swap(posted_);
    wake_pending_ = false;
  }
  for (auto& fn : posted) {
    fn();
    RunResumed();
  }
}

int EventLoop::TimeoutMillis() const {
  if (timers_.empty()) return kMaxWaitMillis;
  const absl::Duration left = timers_.begin()->first.first - clock_.Monotonic();
  if (left <= absl::ZeroDuration()) return 0;
  // Rounded up, so that the timer is due when epoll_wait returns.
  const int64_t millis = absl::ToInt64Milliseconds(left) + 1;
  return millis > kMaxWaitMillis ? kMaxWaitMillis : static_cast<int>(millis);
}

}  // namespace postern::reactor
