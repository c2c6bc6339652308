#include "sidecar/uplink/state_builder.h"

#include <utility>

#include <fmt/format.h>

#include "common/base/timestamps.h"

namespace postern::sidecar {
namespace {

// Tokens are accepted a little beyond their expiry (token::kClockSkew), so revocations are kept a little longer.
constexpr absl::Duration kForgetMargin = absl::Minutes(5);

}  // namespace

StateBuilder::StateBuilder(const Clock& clock, AlarmSink alarm) : clock_(clock), alarm_(std::move(alarm)) {}

std::vector<v1::Revocation> StateBuilder::Apply(const v1::SyncResponse::Snapshot& snapshot) {
  std::shared_ptr<const ControlState> before = state_;
  ControlState next;
  // What is in force stays so until its successor has compiled.
  if (before != nullptr && before->origin == snapshot.origin()) {
    next.verifier = before->verifier;
    next.policy = before->policy;
    next.policy_revision = before->policy_revision;
  }
  next.origin = snapshot.origin();
  SetKeys(next, snapshot.token_keys());
  SetPolicy(next, snapshot.policy());
  SetTargets(next, snapshot.targets(), snapshot.mask_keys());
  forget_.clear();
  std::vector<v1::Revocation> news;
  for (const v1::Revocation& revocation : snapshot.revocations()) {
    Remember(next, revocation);
    if (before == nullptr || before->revoked.count(revocation.grant_id()) == 0) news.push_back(revocation);
  }
  Publish(std::move(next));
  return news;
}

void StateBuilder::Apply(const v1::PolicySet& policy) {
  ControlState next = Copy();
  SetPolicy(next, policy);
  Publish(std::move(next));
}

void StateBuilder::Apply(const v1::SyncResponse::TokenKeys& keys) {
  ControlState next = Copy();
  SetKeys(next, keys.keys());
  Publish(std::move(next));
}

void StateBuilder::Apply(const v1::SyncResponse::Targets& targets) {
  ControlState next = Copy();
  SetTargets(next, targets.targets(), targets.mask_keys());
  Publish(std::move(next));
}

bool StateBuilder::Apply(const v1::Revocation& revocation) {
  ControlState next = Copy();
  const bool news = next.revoked.count(revocation.grant_id()) == 0;
  Remember(next, revocation);
  Publish(std::move(next));
  return news;
}

void StateBuilder::SetPolicy(ControlState& next, const v1::PolicySet& policy) {
  absl::StatusOr<std::shared_ptr<const policy::CompiledPolicy>> compiled = policy::CompiledPolicy::Compile(policy);
  if (compiled.ok()) {
    next.policy = *std::move(compiled);
    next.policy_revision = policy.revision();
    return;
  }
  alarm_("POLICY_NOT_APPLIED",
         fmt::format("policy revision {} does not compile here, revision {} stays in force: {}", policy.revision(),
                     next.policy_revision, std::string(compiled.status().message())));
  if (next.policy == nullptr) {
    // An empty set denies everything.
    compiled = policy::CompiledPolicy::Compile(v1::PolicySet());
    if (compiled.ok()) next.policy = *std::move(compiled);
  }
}

template <typename Keys>
void StateBuilder::SetKeys(ControlState& next, const Keys& keys) {
  std::vector<token::PublicKey> parsed;
  for (const v1::TokenKey& key : keys) parsed.push_back({.id = key.key_id(), .pem = key.public_key_pem()});
  absl::StatusOr<std::shared_ptr<const token::TokenVerifier>> verifier =
      token::TokenVerifier::Create(next.origin, parsed);
  if (verifier.ok()) {
    next.verifier = *std::move(verifier);
    return;
  }
  alarm_("TOKEN_KEYS_NOT_APPLIED", fmt::format("the token keys cannot be used, those before stay in force: {}",
                                               std::string(verifier.status().message())));
  if (next.verifier == nullptr) {
    // Without keys every token is refused.
    verifier = token::TokenVerifier::Create(next.origin, {});
    if (verifier.ok()) next.verifier = *std::move(verifier);
  }
}

template <typename Targets, typename MaskKeys>
void StateBuilder::SetTargets(ControlState& next, const Targets& targets, const MaskKeys& mask_keys) {
  next.targets.clear();
  for (const v1::Target& target : targets) next.targets.emplace(target.name(), target);
  next.mask_keys.clear();
  for (const auto& [name, key] : mask_keys) next.mask_keys.emplace(name, key);
}

void StateBuilder::Remember(ControlState& next, const v1::Revocation& revocation) {
  next.revoked.emplace(revocation.grant_id(), revocation.reason());
  forget_[revocation.grant_id()] =
      revocation.has_forget_time() ? FromTimestamp(revocation.forget_time()) + kForgetMargin : absl::InfiniteFuture();
}

void StateBuilder::Prune(ControlState& next) {
  const absl::Time now = clock_.Now();
  for (auto it = forget_.begin(); it != forget_.end();) {
    if (it->second > now) {
      ++it;
      continue;
    }
    next.revoked.erase(it->first);
    it = forget_.erase(it);
  }
}

ControlState StateBuilder::Copy() const { return state_ == nullptr ? ControlState() : *state_; }

void StateBuilder::Publish(ControlState next) {
  Prune(next);
  next.generation = ++generation_;
  state_ = std::make_shared<const ControlState>(std::move(next));
}

}  // namespace postern::sidecar
