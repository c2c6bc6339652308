// A connected sidecar as the hub sees it: who it is, what waits for it, and how to wake or end its stream.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "controlplane/fleet/outbox.h"
#include "postern/v1/sidecar.pb.h"

namespace postern::fleet {

// Thread-safe.
class Subscriber {
 public:
  // How the hub reaches the stream. Both may be called on any thread, after the stream's end too, and return at once.
  struct Stream {
    // Something waits in the outbox.
    std::function<void()> wake;
    // End it, telling the sidecar why.
    std::function<void(absl::Status)> close;
  };

  Subscriber(std::string id, std::vector<std::string> served, absl::Time certificate_expires,
             v1::SyncRequest::Hello said, const Outbox::Limits& limits, Stream stream)
      : sidecar_id(std::move(id)),
        targets(std::move(served)),
        certificate_expire_time(certificate_expires),
        hello(std::move(said)),
        stream_(std::move(stream)),
        outbox_(limits) {}

  const std::string sidecar_id;
  const std::vector<std::string> targets;
  const absl::Time certificate_expire_time;
  const v1::SyncRequest::Hello hello;

  // The policy revision that the sidecar last said it applies.
  std::atomic<int64_t> applied_revision{0};

  void PushEvent(v1::SyncResponse event);
  void SetState(v1::SyncResponse state);
  void SetSnapshot(v1::SyncResponse snapshot);
  // What the stream is to send next.
  std::optional<v1::SyncResponse> Next();
  void Close(const absl::Status& why) { stream_.close(why); }

 private:
  const Stream stream_;
  absl::Mutex mu_;
  Outbox outbox_ ABSL_GUARDED_BY(mu_);
};

}  // namespace postern::fleet
