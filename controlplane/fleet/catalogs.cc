#include "controlplane/fleet/catalogs.h"

#include <optional>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/timestamps.h"
#include "fmt/format.h"

namespace postern::fleet {
namespace {

// A sidecar whose clock is ahead would otherwise pin its catalog for as long as it is.
constexpr absl::Duration kClockSkew = absl::Minutes(5);

}  // namespace

absl::Status Catalogs::Publish(const v1::CatalogSnapshot& snapshot, absl::Time now) {
  if (snapshot.target().empty() || snapshot.database().empty() ||
      FromTimestamp(snapshot.read_time()) > now + kClockSkew) {
    return Error(absl::StatusCode::kInvalidArgument, "CATALOG_MALFORMED",
                 "a catalog needs a target, a database and a time of reading that is not in the future");
  }
  return store_.SaveCatalog(snapshot);
}

absl::StatusOr<v1::CatalogSnapshot> Catalogs::Get(std::string_view target, std::string_view database) const {
  POSTERN_ASSIGN_OR_RETURN(std::optional<v1::CatalogSnapshot> snapshot, store_.LoadCatalog(target, database));
  if (snapshot.has_value()) return *std::move(snapshot);
  return Error(absl::StatusCode::kNotFound, "CATALOG_UNKNOWN",
               fmt::format("no sidecar has published the catalog of database {} on target {}", database, target),
               "a sidecar publishes it once it serves the target; `postern sidecar list` says which do");
}

std::shared_ptr<const sql::Catalog> Catalogs::Find(std::string_view target, std::string_view database) const {
  absl::StatusOr<std::optional<v1::CatalogSnapshot>> snapshot = store_.LoadCatalog(target, database);
  if (!snapshot.ok() || !snapshot->has_value()) return nullptr;
  const std::string version = (*snapshot)->read_time().SerializeAsString();
  absl::MutexLock lock(&mu_);
  Built& built = built_[{std::string(target), std::string(database)}];
  if (built.catalog == nullptr || built.version != version) {
    built = {.version = version, .catalog = sql::Catalog::Build((*snapshot)->contents())};
  }
  return built.catalog;
}

}  // namespace postern::fleet
