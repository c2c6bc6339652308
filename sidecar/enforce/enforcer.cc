#include "sidecar/enforce/enforcer.h"

#include <atomic>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "common/base/fields.h"
#include "common/crypto/hash.h"
#include "fmt/format.h"
#include "sidecar/enforce/make_plan.h"
#include "sidecar/enforce/plan_cache.h"
#include "sidecar/enforce/plan_shapes.h"
#include "sidecar/enforce/probes.h"

namespace postern::sidecar {
namespace {

constexpr size_t kCacheBytes = size_t{64} << 20;
constexpr size_t kMostMaskedOrigins = 4096;

void AppendFields(const std::vector<std::string>& fields, std::string* bytes) {
  fmt::format_to(std::back_inserter(*bytes), "[{}]", fields.size());
  for (const std::string& field : fields) AppendField(field, bytes);
}

struct OriginsKey {
  uint64_t identity;
  int64_t policy_revision;
  uint64_t generation;
  friend auto operator<=>(const OriginsKey&, const OriginsKey&) = default;
};

using Origins = std::map<sql::ColumnId, v1::MaskStrategy>;

}  // namespace

SessionIdentity SessionIdentity::Make(policy::Subject subject, policy::TargetView target, policy::IntentView intent,
                                      std::string role) {
  std::string bytes;
  AppendField(subject.agent, &bytes);
  AppendField(subject.on_behalf_of, &bytes);
  AppendFields(subject.groups, &bytes);
  AppendField(target.name, &bytes);
  AppendField(target.database, &bytes);
  AppendField(target.env, &bytes);
  AppendFields(intent.verbs, &bytes);
  AppendFields(intent.objects, &bytes);
  AppendField(role, &bytes);
  SessionIdentity identity{std::move(subject), std::move(target), std::move(intent), std::move(role), 0};
  // SHA-256, since whoever asks for a token chooses much of this.
  for (const char byte : crypto::Sha256(bytes).substr(0, sizeof(identity.digest))) {
    identity.digest = (identity.digest << 8) | static_cast<uint8_t>(byte);
  }
  return identity;
}

struct Enforcer::Impl {
  CatalogInForce in_force() const {
    absl::ReaderMutexLock lock(&mu);
    return current;
  }

  PlanCache cache{kCacheBytes};
  mutable absl::Mutex mu;
  CatalogInForce current ABSL_GUARDED_BY(mu);
  std::atomic<uint64_t> generation{0};  // of `current`
  std::map<OriginsKey, std::shared_ptr<const Origins>> origins ABSL_GUARDED_BY(mu);
  ProbeBudget probes;
};

Enforcer::Enforcer() : impl_(std::make_unique<Impl>()) {}
Enforcer::~Enforcer() = default;

void Enforcer::SetCatalog(std::shared_ptr<const sql::Catalog> catalog) {
  if (catalog == nullptr) return;
  {
    absl::MutexLock lock(&impl_->mu);
    impl_->current.catalog = std::move(catalog);
    impl_->generation.store(++impl_->current.generation, std::memory_order_release);
    impl_->origins.clear();
  }
  impl_->cache.Clear();
}

std::shared_ptr<const sql::Catalog> Enforcer::catalog() const { return impl_->in_force().catalog; }
ProbeBudget& Enforcer::probes() { return impl_->probes; }
uint64_t Enforcer::catalog_generation() const { return impl_->generation.load(std::memory_order_acquire); }

std::shared_ptr<const Plan> Enforcer::Judge(const SessionIdentity& identity, const SessionState& state,
                                            const policy::CompiledPolicy& policy, std::string_view text) {
  const CatalogInForce in_force = impl_->in_force();
  const PlanKey key{
      identity.digest, state.meaning_digest(), policy.revision(), in_force.generation, text, &state.search_path,
      state.role};
  // These two make a plan of this moment only.
  if (state.search_path_uncertain() || state.catalog_changed_in_transaction()) {
    return MakePlan(in_force, identity, state, policy, text);
  }
  thread_local sql::TextShape shape;
  const bool shaped = sql::ShapeOf(text, &shape) && !shape.literals.empty() && !NamesSentinel(text, shape);
  if (shaped) {
    if (std::shared_ptr<const Plan> plan = FindByShape(impl_->cache, key, shape)) return plan;
  }
  if (std::shared_ptr<const Plan> plan = impl_->cache.Find(key)) return plan;
  const std::shared_ptr<Plan> plan = MakePlan(in_force, identity, state, policy, text);
  if (plan->local) return plan;
  if (shaped) plan->read_literals = ReadLiterals(*plan, shape);
  if (plan->read_literals.has_value()) {
    InsertByShape(impl_->cache, key, shape, plan);
  } else {
    impl_->cache.Insert(key, plan);
  }
  return plan;
}

std::shared_ptr<const Origins> Enforcer::MaskedOrigins(const SessionIdentity& identity,
                                                       const policy::CompiledPolicy& policy) {
  const CatalogInForce in_force = impl_->in_force();
  const OriginsKey key{identity.digest, policy.revision(), in_force.generation};
  {
    absl::ReaderMutexLock lock(&impl_->mu);
    if (const auto it = impl_->origins.find(key); it != impl_->origins.end()) return it->second;
  }
  auto origins = std::make_shared<const Origins>(
      in_force.catalog == nullptr ? Origins()
                                  : policy.MaskedColumns(identity.subject, identity.target, *in_force.catalog));
  absl::MutexLock lock(&impl_->mu);
  if (impl_->origins.size() >= kMostMaskedOrigins) impl_->origins.clear();
  impl_->origins[key] = origins;
  return origins;
}

}  // namespace postern::sidecar
