// Threads for work that blocks (stores, signatures), so that gRPC's own few callback threads never do: on those, a slow
// disk would hold up every stream. Also runs work later, for answers that are held back on purpose.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace postern::fleet {

// Thread-safe.
class WorkerPool {
 public:
  explicit WorkerPool(int threads);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Runs `work` on one of the threads, in order of posting; works that run at once may finish in any order.
  void Post(std::function<void()> work);
  // The same, no earlier than `delay` from now.
  void PostAfter(absl::Duration delay, std::function<void()> work);

  // Runs what was posted (the delayed at once), then ends the threads. What is posted later runs on its poster.
  // Idempotent; not from one of the threads.
  void Stop();

 private:
  void Run();

  absl::Mutex mu_;
  absl::CondVar changed_;
  std::deque<std::function<void()>> ready_ ABSL_GUARDED_BY(mu_);
  std::multimap<absl::Time, std::function<void()>> later_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace postern::fleet
