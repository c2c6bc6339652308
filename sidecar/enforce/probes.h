// How often policy's `lookup` and `count_min` may be used: each grant has a budget of tests of masked columns, so that
// nobody tries every value there is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "sidecar/enforce/enforcer.h"

namespace postern::sidecar {

// What one execution takes from its grant's budget.
struct Probes {
  int64_t count = 0;
  // The most that the grant may make in all: the least of the masks that are tested.
  int64_t most = 0;
};

// nullopt: it tests no masked column. Bind values as sent, with Bind's formats (none: text; one: for all; else one
// each). Where an array cannot be read, it counts as larger than any budget.
std::optional<Probes> ProbesOf(const Plan& plan, const std::vector<std::optional<std::string>>& values = {},
                               const std::vector<int16_t>& formats = {});

// `plan`, refused because its grant has spent its budget: SQLSTATE 53400.
std::shared_ptr<const Plan> RefusedForProbes(const Plan& plan, const Probes& probes);

// What grants have spent, for as long as they live: a new session of the same grant goes on where the last one stopped.
// In this process's memory. Thread-safe.
class ProbeBudget {
 public:
  // True if the grant has that many left.
  bool Has(std::string_view grant_id, const Probes& probes) const;
  // Takes them, all or none; false if there are too few. What is asked for after `expires` is of nobody.
  bool Spend(std::string_view grant_id, absl::Time expires, absl::Time now, const Probes& probes);

 private:
  struct Spent {
    int64_t count = 0;
    absl::Time expires;
  };
  void Forget(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable absl::Mutex mu_;
  std::map<std::string, Spent, std::less<>> spent_ ABSL_GUARDED_BY(mu_);
  // How many there may be before those that have expired are looked for.
  size_t sweep_at_ ABSL_GUARDED_BY(mu_) = 1024;
};

}  // namespace postern::sidecar
