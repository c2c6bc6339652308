// Keeps the catalogs of the databases that sessions are on: read once, polled for changes, read again on demand.
//
// It connects with the credential that the control plane released for the first session that needs the catalog: the
// login role of the target, turned into the session's role. The credential lives in memory only, until shortly after
// the last session on the database has ended; a later session's credential replaces it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/sql/catalog.h"
#include "postern/v1/sidecar.pb.h"
#include "sidecar/catalog/catalog_loader.h"

namespace postern::sidecar {

using CatalogPtr = std::shared_ptr<const sql::Catalog>;

struct CatalogServiceOptions {
  absl::Duration poll_interval = absl::Seconds(5);
  // How long a database is followed on after its last session, so that agents which connect for every query do not read
  // the catalog each time.
  absl::Duration linger = absl::Seconds(60);
  // Called on a service thread for every catalog that differs from the one before, and before anybody who waits for it
  // is answered: hand it to the Enforcer and to Uplink::PublishCatalog here. Must not call back into the service.
  std::function<void(const v1::CatalogSnapshot& snapshot, CatalogPtr catalog)> publish;
};

// Thread-safe. One thread per followed database.
class CatalogService {
 public:
  // `clock` must outlive the service.
  CatalogService(CatalogServiceOptions options, const Clock& clock);
  // Ends all threads; those who still wait are answered CANCELLED.
  ~CatalogService();
  CatalogService(const CatalogService&) = delete;
  CatalogService& operator=(const CatalogService&) = delete;

  // Keeps a database followed while it lives. Must not outlive the service.
  class Following {
   public:
    virtual ~Following() = default;
  };

  // A session on `database` of `target` begins. Reading starts at once when nobody else follows it, or when the
  // connection of whoever follows it is broken.
  std::unique_ptr<Following> Follow(const std::string& target, const std::string& database,
                                    const ConnectionParameters& parameters);

  // The latest snapshot; nullptr when the database is not followed or not yet read.
  CatalogPtr Get(const std::string& target, const std::string& database) const;

  using Callback = std::function<void(absl::StatusOr<CatalogPtr>)>;
  // Reads the database again and answers, on a service thread, with a catalog whose reading began after this call.
  // Calls that arrive while another waits to begin share one reading.
  //   FAILED_PRECONDITION/CATALOG_NOT_FOLLOWED (answered before the call returns), UNAVAILABLE/CATALOG_UNREACHABLE.
  void Refresh(const std::string& target, const std::string& database, Callback done);

  // The same, but answers at once when there is a snapshot.
  void GetOrRead(const std::string& target, const std::string& database, Callback done);

  // Where and as whom the database is read; nullopt when it is not followed. Holds the credential: use it and drop it.
  std::optional<ConnectionParameters> Parameters(const std::string& target, const std::string& database) const;

  // When the snapshot was last known to be current (Clock::Monotonic); InfiniteDuration when there is none. Beyond a
  // few poll intervals the database does not answer.
  absl::Duration Age(const std::string& target, const std::string& database) const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace postern::sidecar
