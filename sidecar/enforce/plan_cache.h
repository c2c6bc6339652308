// The plans that sessions have asked for lately.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "sidecar/enforce/enforcer.h"

namespace postern::sidecar {

// All that a plan depends on. Text, search_path and role are compared in full, since a session chooses them; the
// identity by its digest, which comes from a signed grant. `text` is a statement's, or the key of a shape.
struct PlanKey {
  uint64_t identity = 0;
  uint64_t meaning = 0;
  int64_t policy_revision = 0;
  uint64_t catalog_generation = 0;
  std::string_view text;
  const std::vector<std::string>* search_path = nullptr;
  std::string_view role;
  bool shaped = false;  // `text` is the key of a shape
};

// Least recently used, in shards. Thread-safe.
class PlanCache {
 public:
  // Bytes are an estimate; texts beyond a share of it are not kept.
  explicit PlanCache(size_t capacity_bytes);

  // nullptr if there is none.
  std::shared_ptr<const Plan> Find(const PlanKey& key);
  void Insert(const PlanKey& key, std::shared_ptr<const Plan> plan);
  void Clear();

  size_t size() const;

 private:
  struct Entry {
    uint64_t hash;
    uint64_t identity;
    int64_t policy_revision;
    uint64_t catalog_generation;
    std::string text;
    bool shaped;
    std::vector<std::string> search_path;
    std::string role;
    std::shared_ptr<const Plan> plan;
    size_t bytes;
  };
  struct Shard {
    mutable absl::Mutex mu;
    std::list<Entry> entries ABSL_GUARDED_BY(mu);  // latest use first
    std::unordered_multimap<uint64_t, std::list<Entry>::iterator> index ABSL_GUARDED_BY(mu);
    size_t bytes ABSL_GUARDED_BY(mu) = 0;

    std::list<Entry>::iterator Find(uint64_t hash, const PlanKey& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
    void Erase(std::list<Entry>::iterator entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  };
  static constexpr size_t kShards = 16;

  Shard& ShardOf(uint64_t hash) { return shards_[hash >> 60]; }

  const size_t shard_bytes_;
  std::array<Shard, kShards> shards_;
};

}  // namespace postern::sidecar
