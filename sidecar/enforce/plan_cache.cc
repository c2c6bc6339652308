#include "sidecar/enforce/plan_cache.h"

#include <utility>

#include "absl/hash/hash.h"
#include "common/base/strings.h"

namespace postern::sidecar {
namespace {

uint64_t HashOf(const PlanKey& key) {
  return absl::HashOf(key.identity, key.meaning, key.policy_revision, key.catalog_generation, AbslView(key.text),
                      key.shaped);
}

// What a plan takes, more or less.
size_t BytesOf(const PlanKey& key, const Plan& plan) {
  constexpr size_t kPlan = 2048;
  constexpr size_t kStatement = 2048;
  const size_t statements = plan.analysis == nullptr ? 0 : plan.analysis->statements.size();
  if (plan.changed != nullptr) return BytesOf(key, *plan.unchanged) + 2 * (kPlan + plan.changed->forwarded.size());
  return kPlan + 2 * (plan.text.size() + key.text.size()) + statements * kStatement;
}

}  // namespace

PlanCache::PlanCache(size_t capacity_bytes) : shard_bytes_(capacity_bytes / kShards) {}

std::list<PlanCache::Entry>::iterator PlanCache::Shard::Find(uint64_t hash, const PlanKey& key) {
  for (auto [it, end] = index.equal_range(hash); it != end; ++it) {
    const Entry& entry = *it->second;
    if (entry.identity == key.identity && entry.policy_revision == key.policy_revision &&
        entry.catalog_generation == key.catalog_generation && entry.text == key.text && entry.shaped == key.shaped &&
        entry.role == key.role && entry.search_path == *key.search_path) {
      return it->second;
    }
  }
  return entries.end();
}

void PlanCache::Shard::Erase(std::list<Entry>::iterator entry) {
  for (auto [it, end] = index.equal_range(entry->hash); it != end; ++it) {
    if (it->second == entry) {
      index.erase(it);
      break;
    }
  }
  bytes -= entry->bytes;
  entries.erase(entry);
}

std::shared_ptr<const Plan> PlanCache::Find(const PlanKey& key) {
  const uint64_t hash = HashOf(key);
  Shard& shard = ShardOf(hash);
  absl::MutexLock lock(&shard.mu);
  const auto entry = shard.Find(hash, key);
  if (entry == shard.entries.end()) return nullptr;
  shard.entries.splice(shard.entries.begin(), shard.entries, entry);
  return entry->plan;
}

void PlanCache::Insert(const PlanKey& key, std::shared_ptr<const Plan> plan) {
  const size_t bytes = BytesOf(key, *plan);
  if (bytes > shard_bytes_ / 4) return;
  const uint64_t hash = HashOf(key);
  Shard& shard = ShardOf(hash);
  absl::MutexLock lock(&shard.mu);
  // Two sessions may have judged the same text at once.
  if (shard.Find(hash, key) != shard.entries.end()) return;
  shard.entries.push_front({hash, key.identity, key.policy_revision, key.catalog_generation, std::string(key.text),
                            key.shaped, *key.search_path, std::string(key.role), std::move(plan), bytes});
  shard.index.emplace(hash, shard.entries.begin());
  shard.bytes += bytes;
  while (shard.bytes > shard_bytes_) shard.Erase(std::prev(shard.entries.end()));
}

void PlanCache::Clear() {
  for (Shard& shard : shards_) {
    absl::MutexLock lock(&shard.mu);
    shard.index.clear();
    shard.entries.clear();
    shard.bytes = 0;
  }
}

size_t PlanCache::size() const {
  size_t size = 0;
  for (const Shard& shard : shards_) {
    absl::MutexLock lock(&shard.mu);
    size += shard.entries.size();
  }
  return size;
}

}  // namespace postern::sidecar
