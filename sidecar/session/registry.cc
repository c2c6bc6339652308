#include "sidecar/session/registry.h"

#include <cstring>

#include "common/base/errors.h"
#include "common/crypto/hash.h"
#include "fmt/format.h"

namespace postern::session {

absl::StatusOr<Registry::CancelKey> Registry::Add(const v1::Session& session, std::weak_ptr<SessionControl> control,
                                                  size_t secret_bytes) {
  absl::MutexLock lock(&mu_);
  if (sessions_.size() >= static_cast<size_t>(limits_.sessions)) {
    return Error(absl::StatusCode::kResourceExhausted, "TOO_MANY_SESSIONS",
                 fmt::format("this sidecar serves {} sessions at most", limits_.sessions),
                 "Close a session, or try again later.");
  }
  int& of_agent = per_agent_[session.agent()];
  if (of_agent >= limits_.sessions_per_agent) {
    return Error(absl::StatusCode::kResourceExhausted, "TOO_MANY_SESSIONS_OF_AGENT",
                 fmt::format("an agent may have {} sessions at most", limits_.sessions_per_agent),
                 "Close a session first.");
  }
  ++of_agent;
  Entry entry{session, std::move(control), 0, random_.Bytes(secret_bytes)};
  do {
    const std::string bytes = random_.Bytes(4);
    std::memcpy(&entry.process_id, bytes.data(), sizeof(entry.process_id));
    entry.process_id &= 0x7fffffff;  // a pid is positive; some drivers print it
  } while (entry.process_id == 0 || by_process_.contains(entry.process_id));
  by_process_[entry.process_id] = session.id();
  by_grant_.emplace(session.grant_id(), session.id());
  CancelKey key{entry.process_id, entry.secret};
  sessions_[session.id()] = std::move(entry);
  return key;
}

void Registry::Remove(const std::string& session_id) {
  absl::MutexLock lock(&mu_);
  const auto found = sessions_.find(session_id);
  if (found == sessions_.end()) return;
  const Entry& entry = found->second;
  by_process_.erase(entry.process_id);
  const auto [begin, end] = by_grant_.equal_range(entry.session.grant_id());
  for (auto it = begin; it != end; ++it) {
    if (it->second == session_id) {
      by_grant_.erase(it);
      break;
    }
  }
  const auto agent = per_agent_.find(entry.session.agent());
  if (agent != per_agent_.end() && --agent->second == 0) per_agent_.erase(agent);
  sessions_.erase(found);
}

void Registry::Cancel(uint32_t process_id, std::string_view secret) const {
  std::shared_ptr<SessionControl> live;
  {
    absl::MutexLock lock(&mu_);
    const auto id = by_process_.find(process_id);
    if (id == by_process_.end()) return;
    const auto found = sessions_.find(id->second);
    if (found == sessions_.end() || !crypto::ConstantTimeEqual(found->second.secret, secret)) return;
    live = found->second.control.lock();
  }
  if (live != nullptr) live->CancelSoon();
}

void Registry::EndGrant(const std::string& grant_id, const Ending& ending) const {
  std::vector<std::shared_ptr<SessionControl>> live;
  {
    absl::MutexLock lock(&mu_);
    const auto [begin, end] = by_grant_.equal_range(grant_id);
    for (auto it = begin; it != end; ++it) {
      const auto found = sessions_.find(it->second);
      if (found == sessions_.end()) continue;
      if (auto control = found->second.control.lock()) live.push_back(std::move(control));
    }
  }
  for (const auto& control : live) control->EndSoon(ending);
}

void Registry::EndSession(const std::string& session_id, const Ending& ending) const {
  std::shared_ptr<SessionControl> live;
  {
    absl::MutexLock lock(&mu_);
    const auto found = sessions_.find(session_id);
    if (found != sessions_.end()) live = found->second.control.lock();
  }
  if (live != nullptr) live->EndSoon(ending);
}

void Registry::DrainAll(const Ending& ending) const {
  for (const auto& [session, control] : Snapshot()) {
    if (auto live = control.lock()) live->DrainSoon(ending);
  }
}

void Registry::EndAll(const Ending& ending) const {
  for (const auto& [session, control] : Snapshot()) {
    if (auto live = control.lock()) live->EndSoon(ending);
  }
}

size_t Registry::size() const {
  absl::MutexLock lock(&mu_);
  return sessions_.size();
}

std::vector<std::pair<v1::Session, std::weak_ptr<SessionControl>>> Registry::Snapshot() const {
  std::vector<std::pair<v1::Session, std::weak_ptr<SessionControl>>> all;
  absl::MutexLock lock(&mu_);
  all.reserve(sessions_.size());
  for (const auto& [id, entry] : sessions_) all.emplace_back(entry.session, entry.control);
  return all;
}

}  // namespace postern::session
