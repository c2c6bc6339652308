// The fleet hub: who is connected, and the thread that keeps them up to date.
//
// State (policy, targets, keys) is read from its source under one lock and set in the outboxes in the order of reading,
// so no sidecar ever goes back to an older state. Events go straight to the outboxes on the caller's thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "controlplane/fleet/control_sources.h"
#include "controlplane/fleet/fleet_hub.h"
#include "controlplane/fleet/fleet_store.h"
#include "controlplane/fleet/subscriber.h"

namespace postern::fleet {

struct HubOptions {
  // How long sidecars serve on without hearing from us, where a target says nothing else.
  absl::Duration lease = absl::Seconds(60);
  // Between two leases; at most 5 s by the contract.
  absl::Duration lease_interval = absl::Seconds(3);
  // Until a source that failed is read again.
  absl::Duration retry_interval = absl::Milliseconds(500);
  Outbox::Limits outbox;
};

// Thread-safe.
class Hub final : public FleetHub {
 public:
  // `sources`, `store` and `clock` are not owned and outlive the hub.
  Hub(const HubOptions& options, ControlSources& sources, FleetStore& store, const Clock& clock);
  ~Hub() override;

  void PushPolicy() override;
  void PushTargets() override;
  void PushTokenKeys() override;
  void PushRevocation(const v1::Revocation& revocation) override;
  void PushKill(std::string_view session_id, std::string_view reason) override;
  void PushApproval(const v1::Approval& approval) override;
  std::vector<Endpoint> EndpointsFor(std::string_view target) const override;
  bool IsConnected(std::string_view sidecar_id) const override;

  const HubOptions& options() const { return options_; }

  // Adds a stream and sets its snapshot. An older stream of the same sidecar is closed: it is usually a dead connection
  // that nobody has noticed yet. Reads the sources, so it may block.
  //   UNAVAILABLE: a source failed, or the hub is stopping; it was not added.
  absl::Status Attach(const std::shared_ptr<Subscriber>& subscriber);
  // The stream has ended. Ignored if a newer one has taken its place.
  void Detach(const Subscriber& subscriber);

  // Ends the sidecar's stream, if it has one.
  void Cut(std::string_view sidecar_id, const absl::Status& why);

  // A session that was to be killed is over.
  void SessionEnded(std::string_view session_id);

  // Closes every stream and ends the thread. Idempotent.
  void Stop();

 private:
  using Members = std::vector<std::shared_ptr<Subscriber>>;
  struct Dirty {
    bool policy = false;
    bool targets = false;
    bool token_keys = false;
    bool any() const { return policy || targets || token_keys; }
  };
  struct Kill {
    std::string reason;
    absl::Time asked;
  };

  void Mark(bool Dirty::*part);
  Members AllMembers() const;
  void Broadcast(const v1::SyncResponse& event);
  void Run();
  // Reads what changed and sets it for everyone.
  absl::Status Refresh(Dirty dirty);
  absl::StatusOr<v1::SyncResponse> ReadSnapshot(const Subscriber& subscriber)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(refresh_mu_);
  v1::SyncResponse::Lease MakeLease() const;
  // Leases for all; ends streams of sidecars that were revoked elsewhere or whose certificate ran out.
  void Tick();

  const HubOptions options_;
  ControlSources& sources_;
  FleetStore& store_;
  const Clock& clock_;

  // Held from the reading of a source until what was read is set in the outboxes.
  absl::Mutex refresh_mu_ ABSL_ACQUIRED_BEFORE(mu_);

  mutable absl::Mutex mu_;
  absl::CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  Dirty dirty_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, std::shared_ptr<Subscriber>, std::less<>> members_ ABSL_GUARDED_BY(mu_);
  // Sessions that are to end, until they have: told again to a sidecar that connects with one of them alive.
  std::map<std::string, Kill, std::less<>> kills_ ABSL_GUARDED_BY(mu_);

  std::thread thread_;
};

}  // namespace postern::fleet
