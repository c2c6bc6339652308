// Sidecars, their invitations and certificates, and the catalogs that they publish.
//
// Times that are not set are absl::InfinitePast(). Any function may also answer UNAVAILABLE/STORE_UNAVAILABLE, which
// leaves a change unknown: read again before retrying.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "postern/v1/sidecar.pb.h"

namespace postern::fleet {

// Permission to join once.
struct Invite {
  // SHA-256 of the secret, 32 bytes.
  std::string secret_hash;
  std::string name;
  std::vector<std::string> targets;
  // Who invited, and the id of the request that did; a repeat of it voids the secret that the first one gave.
  std::string caller;
  std::string request_id;
  absl::Time create_time;
  absl::Time expire_time;
};

struct CertificateRow {
  // SHA-256 of the certificate's DER, 32 bytes.
  std::string fingerprint;
  std::string sidecar_id;
  int64_t generation = 0;
  absl::Time expire_time;
  absl::Time first_use_time = absl::InfinitePast();
};

// What is noted of a connected sidecar now and then.
struct Sighting {
  std::string sidecar_id;
  absl::Time time;
  int64_t applied_revision = 0;
};

// Thread-safe. What an OK answer says is durable.
class FleetStore {
 public:
  virtual ~FleetStore() = default;

  // Replaces the unused invitation of the same caller and (non-empty) request id, and forgets expired ones.
  //   FAILED_PRECONDITION/INVITE_USED: that request's invitation was used already.
  virtual absl::Status AddInvite(const Invite& invite) = 0;

  // The invitation with this hash if it is unused and unexpired. NOT_FOUND otherwise, without saying which.
  virtual absl::StatusOr<Invite> FindInvite(std::string_view secret_hash, absl::Time now) const = 0;

  // Uses up the invitation, adds the sidecar and its first certificate: all or nothing.
  //   NOT_FOUND: the invitation is used, expired or unknown.
  virtual absl::Status Join(std::string_view secret_hash, absl::Time now, const v1::Sidecar& sidecar,
                            const CertificateRow& certificate) = 0;

  // NOT_FOUND/SIDECAR_NOT_FOUND. `connected` is never set here.
  virtual absl::StatusOr<v1::Sidecar> Get(std::string_view id) const = 0;

  // At most `limit` sidecars with ids below `before` (empty: all), newest first.
  virtual absl::StatusOr<std::vector<v1::Sidecar>> List(std::string_view before, int limit) const = 0;

  // NOT_FOUND if it was never issued, or was removed with its expiry.
  virtual absl::StatusOr<CertificateRow> FindCertificate(std::string_view fingerprint) const = 0;

  // The sidecar's newest certificate. NOT_FOUND if it has none.
  virtual absl::StatusOr<CertificateRow> NewestCertificate(std::string_view sidecar_id) const = 0;

  // Adds a certificate and moves the sidecar's generation to its generation.
  //   ABORTED/SIDECAR_GENERATION: the sidecar's newest generation is not `after` any more.
  //   PERMISSION_DENIED/SIDECAR_REVOKED, NOT_FOUND/SIDECAR_NOT_FOUND.
  virtual absl::Status AddCertificate(const CertificateRow& certificate, int64_t after, absl::Time now) = 0;

  // A stream was opened with it. The first time counts.
  virtual absl::Status MarkCertificateUsed(std::string_view fingerprint, absl::Time now) = 0;

  // Idempotent: the first time and reason stay. NOT_FOUND/SIDECAR_NOT_FOUND.
  virtual absl::StatusOr<v1::Sidecar> Revoke(std::string_view id, std::string_view reason, absl::Time now) = 0;

  // What a sidecar says of itself when it connects. NOT_FOUND/SIDECAR_NOT_FOUND.
  virtual absl::Status RecordHello(std::string_view id, const v1::SyncRequest::Hello& hello, absl::Time now) = 0;
  virtual absl::Status RecordSightings(const std::vector<Sighting>& sightings) = 0;

  // Keeps it unless the one that is kept was read later.
  virtual absl::Status SaveCatalog(const v1::CatalogSnapshot& snapshot) = 0;
  // nullopt if no sidecar has published one.
  virtual absl::StatusOr<std::optional<v1::CatalogSnapshot>> LoadCatalog(std::string_view target,
                                                                         std::string_view database) const = 0;
};

}  // namespace postern::fleet
