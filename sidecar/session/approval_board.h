// Where held statements wait for news of their approvals.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <unordered_map>

#include "absl/synchronization/mutex.h"
#include "postern/v1/approval.pb.h"

namespace postern::session {

// Thread-safe. News may arrive before the answer that first names the approval, so recent news is kept for a while.
class ApprovalBoard {
 public:
  using Watcher = std::function<void(const v1::Approval&)>;

  // Calls `watcher` for every change of the approval `id` from now on, on the thread that brings it, and at once if
  // something newer than PENDING has been heard already. Must not block.
  uint64_t Watch(const std::string& id, Watcher watcher);
  void Unwatch(uint64_t handle);
  void Post(const v1::Approval& approval);

 private:
  static constexpr size_t kRemembered = 1024;

  absl::Mutex mu_;
  uint64_t next_ ABSL_GUARDED_BY(mu_) = 1;
  std::map<uint64_t, std::pair<std::string, Watcher>> watchers_ ABSL_GUARDED_BY(mu_);
  std::unordered_map<std::string, v1::Approval> recent_ ABSL_GUARDED_BY(mu_);
  std::deque<std::string> order_ ABSL_GUARDED_BY(mu_);
};

}  // namespace postern::session
