#include "controlplane/fleet/worker_pool.h"

#include <utility>

namespace postern::fleet {

WorkerPool::WorkerPool(int threads) {
  threads_.reserve(threads);
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

WorkerPool::~WorkerPool() { Stop(); }

void WorkerPool::Post(std::function<void()> work) {
  {
    absl::MutexLock lock(&mu_);
    if (!stopping_) {
      ready_.push_back(std::move(work));
      changed_.Signal();
      return;
    }
  }
  work();
}

void WorkerPool::PostAfter(absl::Duration delay, std::function<void()> work) {
  {
    absl::MutexLock lock(&mu_);
    if (!stopping_) {
      // absl's condition variables count by the system's clock anyhow, so the injected one would add nothing here.
      later_.emplace(absl::Now() + delay, std::move(work));
      changed_.Signal();
      return;
    }
  }
  work();
}

void WorkerPool::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
    for (auto& [time, work] : later_) ready_.push_back(std::move(work));
    later_.clear();
    changed_.SignalAll();
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void WorkerPool::Run() {
  absl::MutexLock lock(&mu_);
  while (true) {
    while (!later_.empty() && later_.begin()->first <= absl::Now()) {
      ready_.push_back(std::move(later_.begin()->second));
      later_.erase(later_.begin());
    }
    if (!ready_.empty()) {
      std::function<void()> work = std::move(ready_.front());
      ready_.pop_front();
      mu_.Unlock();
      work();
      work = nullptr;  // what it captured goes outside the lock too
      mu_.Lock();
      continue;
    }
    if (stopping_) return;
    if (later_.empty()) {
      changed_.Wait(&mu_);
    } else {
      changed_.WaitWithDeadline(&mu_, later_.begin()->first);
    }
  }
}

}  // namespace postern::fleet
