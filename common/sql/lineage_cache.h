// Lineages of views and SQL functions, remembered for as long as a Catalog lives. Internal to common/sql.
#pragma once

#include <memory>
#include <unordered_map>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/sql/range.h"

namespace postern::sql::internal {

// Thread-safe. Two threads may analyse the same view at once; the first result stays.
class LineageCache {
 public:
  // nullptr if there is none yet. What it returns lives as long as the cache.
  const Lineage* Find(Oid oid) const {
    absl::MutexLock lock(&mu_);
    auto it = by_oid_.find(oid);
    return it == by_oid_.end() ? nullptr : it->second.get();
  }

  const Lineage* Insert(Oid oid, std::unique_ptr<const Lineage> lineage) {
    absl::MutexLock lock(&mu_);
    return by_oid_.emplace(oid, std::move(lineage)).first->second.get();
  }

 private:
  mutable absl::Mutex mu_;
  std::unordered_map<Oid, std::unique_ptr<const Lineage>> by_oid_ ABSL_GUARDED_BY(mu_);
};

}  // namespace postern::sql::internal
