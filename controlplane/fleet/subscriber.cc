#include "controlplane/fleet/subscriber.h"

#include <utility>

#include "common/base/errors.h"

namespace postern::fleet {

void Subscriber::PushEvent(v1::SyncResponse event) {
  bool queued;
  {
    absl::MutexLock lock(&mu_);
    queued = outbox_.PushEvent(std::move(event));
  }
  if (queued) {
    stream_.wake();
  } else {
    stream_.close(Error(absl::StatusCode::kResourceExhausted, "SIDECAR_TOO_SLOW",
                        "the sidecar does not read its stream fast enough", "connect again for a new snapshot"));
  }
}

void Subscriber::SetState(v1::SyncResponse state) {
  {
    absl::MutexLock lock(&mu_);
    outbox_.SetState(std::move(state));
  }
  stream_.wake();
}

void Subscriber::SetSnapshot(v1::SyncResponse snapshot) {
  {
    absl::MutexLock lock(&mu_);
    outbox_.SetSnapshot(std::move(snapshot));
  }
  stream_.wake();
}

std::optional<v1::SyncResponse> Subscriber::Next() {
  absl::MutexLock lock(&mu_);
  return outbox_.Next();
}

}  // namespace postern::fleet
