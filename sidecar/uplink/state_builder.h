// Makes ControlStates out of what the sync stream says. What does not compile or parse never replaces what does: the
// old part stays in force and an alarm says so. Before there is an old part, nothing is allowed.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "postern/v1/sidecar.pb.h"
#include "sidecar/uplink/alarm.h"
#include "sidecar/uplink/uplink.h"

namespace postern::sidecar {

// Not thread-safe: one thread builds, any number read what it built.
class StateBuilder {
 public:
  // `clock` is not owned.
  StateBuilder(const Clock& clock, AlarmSink alarm);

  // nullptr before the first snapshot.
  std::shared_ptr<const ControlState> state() const { return state_; }

  // Replaces everything. The grants whose revocation is news are returned, with their reasons.
  std::vector<v1::Revocation> Apply(const v1::SyncResponse::Snapshot& snapshot);
  void Apply(const v1::PolicySet& policy);
  void Apply(const v1::SyncResponse::TokenKeys& keys);
  void Apply(const v1::SyncResponse::Targets& targets);
  // False if it was known.
  bool Apply(const v1::Revocation& revocation);

 private:
  // Drops revocations of grants that have expired by themselves.
  void Prune(ControlState& next);
  void SetPolicy(ControlState& next, const v1::PolicySet& policy);
  template <typename Keys>
  void SetKeys(ControlState& next, const Keys& keys);
  template <typename Targets, typename MaskKeys>
  static void SetTargets(ControlState& next, const Targets& targets, const MaskKeys& mask_keys);
  void Remember(ControlState& next, const v1::Revocation& revocation);
  ControlState Copy() const;
  void Publish(ControlState next);

  const Clock& clock_;
  const AlarmSink alarm_;
  std::shared_ptr<const ControlState> state_;
  std::map<std::string, absl::Time> forget_;  // grant id → when its revocation may be dropped
  uint64_t generation_ = 0;
};

}  // namespace postern::sidecar
