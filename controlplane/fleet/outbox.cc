#include "controlplane/fleet/outbox.h"

#include <utility>

namespace postern::fleet {

bool Outbox::PushEvent(v1::SyncResponse event) {
  const size_t size = event.ByteSizeLong();
  if (events_.size() >= limits_.events || event_bytes_ + size > limits_.bytes) return false;
  event_bytes_ += size;
  events_.push_back(std::move(event));
  return true;
}

void Outbox::SetState(v1::SyncResponse state) {
  switch (state.item_case()) {
    case v1::SyncResponse::kTokenKeys:
      state_[kTokenKeys] = std::move(state);
      break;
    case v1::SyncResponse::kTargets:
      state_[kTargets] = std::move(state);
      break;
    case v1::SyncResponse::kPolicy:
      state_[kPolicy] = std::move(state);
      break;
    case v1::SyncResponse::kLease:
      state_[kLease] = std::move(state);
      break;
    default:
      break;
  }
}

void Outbox::SetSnapshot(v1::SyncResponse snapshot) {
  for (auto& place : state_) place.reset();
  snapshot_ = std::move(snapshot);
  open_ = true;
}

std::optional<v1::SyncResponse> Outbox::Next() {
  if (!open_) return std::nullopt;
  if (snapshot_.has_value()) return std::exchange(snapshot_, std::nullopt);
  if (!events_.empty()) {
    v1::SyncResponse event = std::move(events_.front());
    events_.pop_front();
    event_bytes_ -= event.ByteSizeLong();
    return event;
  }
  for (auto& place : state_) {
    if (place.has_value()) return std::exchange(place, std::nullopt);
  }
  return std::nullopt;
}

}  // namespace postern::fleet
