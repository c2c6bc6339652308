#include "controlplane/fleet/hub.h"

#include <algorithm>
#include <utility>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/timestamps.h"
#include "controlplane/fleet/fleet_errors.h"
#include "controlplane/fleet/scope.h"

namespace postern::fleet {
namespace {

// A session that is not over an hour after it was to be killed is on a sidecar that is gone for good.
constexpr absl::Duration kRememberKills = absl::Hours(1);

absl::Status Stopping() {
  return Error(absl::StatusCode::kUnavailable, "CONTROL_PLANE_STOPPING", "the control plane is stopping", "try again");
}

v1::SyncResponse KillEvent(std::string_view session_id, std::string_view reason) {
  v1::SyncResponse event;
  event.mutable_kill_session()->set_session_id(std::string(session_id));
  event.mutable_kill_session()->set_reason(std::string(reason));
  return event;
}

bool Serves(const Subscriber& subscriber, std::string_view target) {
  return std::find(subscriber.targets.begin(), subscriber.targets.end(), target) != subscriber.targets.end();
}

}  // namespace

Hub::Hub(const HubOptions& options, ControlSources& sources, FleetStore& store, const Clock& clock)
    : options_(options), sources_(sources), store_(store), clock_(clock), thread_([this] { Run(); }) {}

Hub::~Hub() { Stop(); }

void Hub::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
    changed_.SignalAll();
  }
  for (const auto& member : AllMembers()) member->Close(Stopping());
  if (thread_.joinable()) thread_.join();
}

void Hub::Mark(bool Dirty::*part) {
  absl::MutexLock lock(&mu_);
  dirty_.*part = true;
  changed_.SignalAll();
}

void Hub::PushPolicy() { Mark(&Dirty::policy); }
void Hub::PushTargets() { Mark(&Dirty::targets); }
void Hub::PushTokenKeys() { Mark(&Dirty::token_keys); }

void Hub::PushRevocation(const v1::Revocation& revocation) {
  v1::SyncResponse event;
  *event.mutable_revocation() = revocation;
  Broadcast(event);
}

void Hub::PushKill(std::string_view session_id, std::string_view reason) {
  {
    absl::MutexLock lock(&mu_);
    kills_.insert_or_assign(std::string(session_id), Kill{std::string(reason), clock_.Now()});
  }
  Broadcast(KillEvent(session_id, reason));
}

void Hub::PushApproval(const v1::Approval& approval) {
  if (approval.sidecar_id().empty()) return;
  v1::SyncResponse event;
  *event.mutable_approval() = approval;
  // The sidecar knows what it asked for, and an event in the outbox should be small.
  event.mutable_approval()->clear_binding();
  event.mutable_approval()->clear_effects();
  event.mutable_approval()->clear_preview();
  event.mutable_approval()->clear_shape();
  event.mutable_approval()->clear_hold();
  // Sessions on several sidecars may wait for the same approval, so all that serve the target hear of it.
  for (const auto& member : AllMembers()) {
    if (member->sidecar_id == approval.sidecar_id() || Serves(*member, approval.target())) member->PushEvent(event);
  }
}

std::vector<FleetHub::Endpoint> Hub::EndpointsFor(std::string_view target) const {
  std::vector<Endpoint> endpoints;
  for (const auto& member : AllMembers()) {
    if (!Serves(*member, target) || member->hello.advertise_host().empty()) continue;
    endpoints.push_back({.sidecar_id = member->sidecar_id,
                         .host = member->hello.advertise_host(),
                         .port = member->hello.advertise_port(),
                         .client_ca_pem = member->hello.client_ca_pem()});
  }
  return endpoints;
}

bool Hub::IsConnected(std::string_view sidecar_id) const {
  absl::MutexLock lock(&mu_);
  return members_.find(sidecar_id) != members_.end();
}

Hub::Members Hub::AllMembers() const {
  absl::MutexLock lock(&mu_);
  Members members;
  members.reserve(members_.size());
  for (const auto& [id, member] : members_) members.push_back(member);
  return members;
}

void Hub::Broadcast(const v1::SyncResponse& event) {
  for (const auto& member : AllMembers()) member->PushEvent(event);
}

absl::Status Hub::Attach(const std::shared_ptr<Subscriber>& subscriber) {
  std::shared_ptr<Subscriber> replaced;
  {
    absl::MutexLock lock(&mu_);
    if (stopping_) return Stopping();
    // Before the snapshot is read: what happens from now on is queued behind it, so nothing falls between the two.
    std::shared_ptr<Subscriber>& place = members_[subscriber->sidecar_id];
    replaced = std::exchange(place, subscriber);
  }
  if (replaced != nullptr) {
    replaced->Close(Error(absl::StatusCode::kAborted, "SIDECAR_REPLACED", "a newer stream of this sidecar took over"));
  }
  {
    absl::MutexLock refresh(&refresh_mu_);
    absl::StatusOr<v1::SyncResponse> snapshot = ReadSnapshot(*subscriber);
    if (!snapshot.ok()) {
      Detach(*subscriber);
      return snapshot.status();
    }
    // A revocation that came after this stream was admitted and before it was a member cut nothing.
    absl::StatusOr<v1::Sidecar> sidecar = store_.Get(subscriber->sidecar_id);
    if (!sidecar.ok() || sidecar->revoked()) {
      Detach(*subscriber);
      return sidecar.ok() ? error::SidecarRevoked() : sidecar.status();
    }
    subscriber->SetSnapshot(*std::move(snapshot));
  }
  for (const v1::Session& session : subscriber->hello.live_sessions()) {
    std::string reason;
    {
      absl::MutexLock lock(&mu_);
      auto kill = kills_.find(session.id());
      if (kill == kills_.end()) continue;
      reason = kill->second.reason;
    }
    subscriber->PushEvent(KillEvent(session.id(), reason));
  }
  return absl::OkStatus();
}

void Hub::Detach(const Subscriber& subscriber) {
  absl::MutexLock lock(&mu_);
  auto member = members_.find(subscriber.sidecar_id);
  if (member != members_.end() && member->second.get() == &subscriber) members_.erase(member);
}

void Hub::Cut(std::string_view sidecar_id, const absl::Status& why) {
  std::shared_ptr<Subscriber> subscriber;
  {
    absl::MutexLock lock(&mu_);
    auto member = members_.find(sidecar_id);
    if (member == members_.end()) return;
    subscriber = member->second;
    // From here on nothing more is sent to it, even if its stream takes a moment to end.
    members_.erase(member);
  }
  subscriber->Close(why);
}

void Hub::SessionEnded(std::string_view session_id) {
  absl::MutexLock lock(&mu_);
  if (auto kill = kills_.find(session_id); kill != kills_.end()) kills_.erase(kill);
}

absl::StatusOr<v1::SyncResponse> Hub::ReadSnapshot(const Subscriber& subscriber) {
  v1::SyncResponse message;
  v1::SyncResponse::Snapshot& snapshot = *message.mutable_snapshot();
  POSTERN_ASSIGN_OR_RETURN(ControlSources::TargetSet all, sources_.Targets());
  v1::SyncResponse::Targets targets = TargetsFor(all, subscriber.targets);
  POSTERN_ASSIGN_OR_RETURN(v1::PolicySet policy, sources_.Policy());
  *snapshot.mutable_policy() = PolicyFor(policy, targets);
  snapshot.mutable_targets()->Swap(targets.mutable_targets());
  snapshot.mutable_mask_keys()->swap(*targets.mutable_mask_keys());
  POSTERN_ASSIGN_OR_RETURN(std::vector<v1::TokenKey> keys, sources_.TokenKeys());
  for (v1::TokenKey& key : keys) *snapshot.add_token_keys() = std::move(key);
  POSTERN_ASSIGN_OR_RETURN(std::vector<v1::Revocation> revocations, sources_.Revocations());
  for (v1::Revocation& revocation : revocations) *snapshot.add_revocations() = std::move(revocation);
  snapshot.set_origin(sources_.Origin());
  *snapshot.mutable_lease() = MakeLease();
  return message;
}

v1::SyncResponse::Lease Hub::MakeLease() const {
  v1::SyncResponse::Lease lease;
  lease.set_lease_seconds(absl::ToInt64Seconds(options_.lease));
  *lease.mutable_server_time() = ToTimestamp(clock_.Now());
  if (std::optional<v1::Checkpoint> checkpoint = sources_.LatestCheckpoint(); checkpoint.has_value()) {
    *lease.mutable_checkpoint() = *std::move(checkpoint);
  }
  return lease;
}

absl::Status Hub::Refresh(Dirty dirty) {
  absl::MutexLock refresh(&refresh_mu_);
  const Members members = AllMembers();
  if (members.empty()) return absl::OkStatus();
  if (dirty.token_keys) {
    POSTERN_ASSIGN_OR_RETURN(std::vector<v1::TokenKey> keys, sources_.TokenKeys());
    v1::SyncResponse state;
    for (v1::TokenKey& key : keys) *state.mutable_token_keys()->add_keys() = std::move(key);
    for (const auto& member : members) member->SetState(state);
  }
  if (!dirty.targets && !dirty.policy) return absl::OkStatus();
  POSTERN_ASSIGN_OR_RETURN(ControlSources::TargetSet all, sources_.Targets());
  POSTERN_ASSIGN_OR_RETURN(v1::PolicySet policy, sources_.Policy());
  for (const auto& member : members) {
    v1::SyncResponse targets;
    *targets.mutable_targets() = TargetsFor(all, member->targets);
    // Which policies a sidecar needs depends on its targets, so these never change without it.
    v1::SyncResponse scoped;
    *scoped.mutable_policy() = PolicyFor(policy, targets.targets());
    if (dirty.targets) member->SetState(std::move(targets));
    member->SetState(std::move(scoped));
  }
  return absl::OkStatus();
}

void Hub::Tick() {
  v1::SyncResponse lease;
  *lease.mutable_lease() = MakeLease();
  const absl::Time now = clock_.Now();
  std::vector<Sighting> sightings;
  for (const auto& member : AllMembers()) {
    // A revocation on another replica, or one whose cut was overtaken by a new stream, is found here.
    absl::StatusOr<v1::Sidecar> sidecar = store_.Get(member->sidecar_id);
    if (sidecar.ok() && sidecar->revoked()) {
      Cut(member->sidecar_id,
          Error(absl::StatusCode::kPermissionDenied, "SIDECAR_REVOKED", "this sidecar was revoked", "invite it again"));
      continue;
    }
    if (member->certificate_expire_time <= now) {
      Cut(member->sidecar_id, Error(absl::StatusCode::kUnauthenticated, "CERTIFICATE_EXPIRED",
                                    "the sidecar's certificate has expired", "connect with a renewed one"));
      continue;
    }
    member->SetState(lease);
    sightings.push_back({.sidecar_id = member->sidecar_id, .time = now, .applied_revision = member->applied_revision});
  }
  // Losing a sighting loses nothing: the next one says the same.
  if (!sightings.empty()) store_.RecordSightings(sightings).IgnoreError();

  absl::MutexLock lock(&mu_);
  for (auto kill = kills_.begin(); kill != kills_.end();) {
    kill = kill->second.asked + kRememberKills < now ? kills_.erase(kill) : std::next(kill);
  }
}

void Hub::Run() {
  absl::Time next_tick = absl::Now() + options_.lease_interval;
  absl::Time retry = absl::InfinitePast();  // no refresh before it
  while (true) {
    Dirty dirty;
    {
      absl::MutexLock lock(&mu_);
      while (!stopping_ && absl::Now() < next_tick && !(dirty_.any() && absl::Now() >= retry)) {
        changed_.WaitWithDeadline(&mu_, dirty_.any() ? std::min(next_tick, retry) : next_tick);
      }
      if (stopping_) return;
      if (absl::Now() >= retry) dirty = std::exchange(dirty_, Dirty{});
    }
    if (dirty.any()) {
      if (!Refresh(dirty).ok()) {
        absl::MutexLock lock(&mu_);
        dirty_.policy |= dirty.policy;
        dirty_.targets |= dirty.targets;
        dirty_.token_keys |= dirty.token_keys;
        retry = absl::Now() + options_.retry_interval;
      } else {
        retry = absl::InfinitePast();
      }
    }
    if (absl::Now() >= next_tick) {
      Tick();
      next_tick = absl::Now() + options_.lease_interval;
    }
  }
}

}  // namespace postern::fleet
