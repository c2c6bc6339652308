// The catalogs that sidecars publish, as policy tests, lint and explain look them up.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/policy/policy.h"
#include "common/sql/catalog.h"
#include "controlplane/fleet/fleet_store.h"
#include "postern/v1/sidecar.pb.h"

namespace postern::fleet {

// Each lookup asks the store, so that every replica sees the same; building is done once per published catalog.
// Thread-safe.
class Catalogs final : public policy::CatalogSource {
 public:
  // Not owned; outlives this.
  explicit Catalogs(FleetStore& store) : store_(store) {}

  // Keeps the newest of each database. Durable once OK.
  //   INVALID_ARGUMENT/CATALOG_MALFORMED if it names no target or database, or was read in the future.
  absl::Status Publish(const v1::CatalogSnapshot& snapshot, absl::Time now);

  // As published. NOT_FOUND/CATALOG_UNKNOWN.
  absl::StatusOr<v1::CatalogSnapshot> Get(std::string_view target, std::string_view database) const;

  // nullptr if there is none, or the store cannot be read: the caller then takes names as they are written.
  std::shared_ptr<const sql::Catalog> Find(std::string_view target, std::string_view database) const override;

 private:
  struct Built {
    // Serialized read_time of what `catalog` was built from.
    std::string version;
    std::shared_ptr<const sql::Catalog> catalog;
  };

  FleetStore& store_;
  mutable absl::Mutex mu_;
  mutable std::map<std::pair<std::string, std::string>, Built> built_ ABSL_GUARDED_BY(mu_);
};

}  // namespace postern::fleet
