// What waits to be sent to one sidecar. Bounded, so that a sidecar that does not read costs the control plane nothing
// and delays nobody: on overflow the stream is given up and the sidecar starts again from a snapshot.
//
// Two sorts of message wait here. What happened (revocations, kills, approvals) waits in a queue in order. What holds
// (policy, targets, keys, lease) has one place each, and a newer one takes the place of the older. What happened goes
// first: a revocation never waits behind a policy.
#pragma once

#include <array>
#include <cstddef>
#include <deque>
#include <optional>

#include "postern/v1/sidecar.pb.h"

namespace postern::fleet {

// Not thread-safe; SyncStream guards it.
class Outbox {
 public:
  struct Limits {
    size_t events = 4096;
    size_t bytes = 4 << 20;
  };

  explicit Outbox(const Limits& limits) : limits_(limits) {}

  // Queues an event. False: it would exceed the limits; nothing was queued and the stream has to end.
  [[nodiscard]] bool PushEvent(v1::SyncResponse event);

  // Sets what holds; the case of `state` must be policy, targets, token_keys or lease.
  void SetState(v1::SyncResponse state);

  // Sets the snapshot. It was read after everything that was set here so far, and so takes its place; events stay.
  // Until there was one, Next() gives nothing.
  void SetSnapshot(v1::SyncResponse snapshot);

  // Takes what is to be sent next; nullopt if nothing is.
  std::optional<v1::SyncResponse> Next();

 private:
  const Limits limits_;
  bool open_ = false;  // a snapshot was set
  std::optional<v1::SyncResponse> snapshot_;
  std::deque<v1::SyncResponse> events_;
  size_t event_bytes_ = 0;
  // Keys before policy and targets: a token signed by a new key should not be refused for want of it. Lease last.
  enum Place { kTokenKeys, kTargets, kPolicy, kLease, kPlaces };
  std::array<std::optional<v1::SyncResponse>, kPlaces> state_;
};

}  // namespace postern::fleet
