#include "sidecar/session/approval_board.h"

#include <optional>
#include <vector>

namespace postern::session {

uint64_t ApprovalBoard::Watch(const std::string& id, Watcher watcher) {
  std::optional<v1::Approval> known;
  uint64_t handle = 0;
  {
    absl::MutexLock lock(&mu_);
    handle = next_++;
    watchers_[handle] = {id, watcher};
    if (const auto found = recent_.find(id); found != recent_.end()) known = found->second;
  }
  if (known.has_value()) watcher(*known);
  return handle;
}

void ApprovalBoard::Unwatch(uint64_t handle) {
  absl::MutexLock lock(&mu_);
  watchers_.erase(handle);
}

void ApprovalBoard::Post(const v1::Approval& approval) {
  std::vector<Watcher> interested;
  {
    absl::MutexLock lock(&mu_);
    if (!recent_.contains(approval.id())) order_.push_back(approval.id());
    recent_[approval.id()] = approval;
    if (order_.size() > kRemembered) {
      recent_.erase(order_.front());
      order_.pop_front();
    }
    for (const auto& [handle, watcher] : watchers_) {
      if (watcher.first == approval.id()) interested.push_back(watcher.second);
    }
  }
  for (const Watcher& watcher : interested) watcher(approval);
}

}  // namespace postern::session
