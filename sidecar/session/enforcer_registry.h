// One Enforcer for each target database, shared by its sessions, and one Masker for each mask key.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "sidecar/enforce/enforcer.h"
#include "sidecar/mask/mask.h"

namespace postern::session {

// Thread-safe.
class EnforcerRegistry {
 public:
  std::shared_ptr<sidecar::Enforcer> Get(const std::string& target, const std::string& database) {
    absl::MutexLock lock(&mu_);
    auto& enforcer = enforcers_[{target, database}];
    if (enforcer == nullptr) enforcer = std::make_shared<sidecar::Enforcer>();
    return enforcer;
  }

  // A new key makes a new masker; sessions under way keep the old one.
  std::shared_ptr<const mask::Masker> MaskerFor(const std::string& target, const std::string& key) {
    absl::MutexLock lock(&mu_);
    auto& [known_key, masker] = maskers_[target];
    if (masker == nullptr || known_key != key) {
      known_key = key;
      masker = std::make_shared<const mask::Masker>(key);
    }
    return masker;
  }

 private:
  absl::Mutex mu_;
  std::map<std::pair<std::string, std::string>, std::shared_ptr<sidecar::Enforcer>> enforcers_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, std::pair<std::string, std::shared_ptr<const mask::Masker>>> maskers_ ABSL_GUARDED_BY(mu_);
};

}  // namespace postern::session
