// How a sidecar becomes one and ceases to be one: invitations, certificates, revocation. Free functions in the order
// parse, fetch, decide, save, convert; the service calls them, they need no server to test.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/crypto/certificate.h"
#include "controlplane/audit/audit_sink.h"
#include "controlplane/fleet/fleet_store.h"
#include "controlplane/fleet/hub.h"
#include "controlplane/identity/caller.h"
#include "postern/v1/sidecar.pb.h"

namespace postern::fleet {

inline constexpr absl::Duration kInviteLifetime = absl::Minutes(15);
inline constexpr absl::Duration kSidecarCertificateLifetime = absl::Hours(12);

struct EnrolmentDeps {
  FleetStore& store;
  Hub& hub;
  audit::AuditSink& audit;
  const crypto::CertificateAuthority& ca;
  const Clock& clock;
  Random& random;
  // The control plane's name, part of each certificate's URI.
  std::string origin;
  // host:port at which sidecars reach it; goes into join lines.
  std::string address;
};

// A sidecar that has proved who it is.
struct SidecarCaller {
  std::string id;
  std::vector<std::string> targets;
  CertificateRow certificate;
};

// SHA-256 of the DER of the first certificate in `pem`, 32 bytes. INVALID_ARGUMENT/CERTIFICATE_MALFORMED.
absl::StatusOr<std::string> CertificateFingerprint(std::string_view pem);

// Turns a client certificate, which TLS has verified against the CA, into a sidecar.
//   UNAUTHENTICATED/CERTIFICATE_UNKNOWN: not on record, expired, or of another sidecar than `sidecar_id`.
//   PERMISSION_DENIED/SIDECAR_REVOKED.
absl::StatusOr<SidecarCaller> AdmitSidecar(const FleetStore& store, std::string_view sidecar_id,
                                           std::string_view certificate_pem, absl::Time now);

absl::Status InviteSidecar(const EnrolmentDeps& deps, const identity::Caller& caller,
                           const v1::InviteSidecarRequest& request, v1::InviteSidecarResponse* response);

// `peer` goes into the audit log. UNAUTHENTICATED/JOIN_REFUSED for every fault of the caller's.
absl::Status JoinSidecar(const EnrolmentDeps& deps, std::string_view peer, const v1::JoinSidecarRequest& request,
                         v1::JoinSidecarResponse* response);

// PERMISSION_DENIED/SIDECAR_CLONED if a newer certificate than the caller's is in use already: somebody else holds the
// sidecar's key. The sidecar is revoked by that. An older certificate whose successor never reached the sidecar (the
// answer was lost) renews normally.
absl::Status RenewCertificate(const EnrolmentDeps& deps, const SidecarCaller& caller,
                              const v1::RenewCertificateRequest& request, v1::JoinSidecarResponse* response);

absl::Status ListSidecars(const EnrolmentDeps& deps, const v1::ListSidecarsRequest& request,
                          v1::ListSidecarsResponse* response);

absl::Status RevokeSidecar(const EnrolmentDeps& deps, const identity::Caller& caller,
                           const v1::RevokeSidecarRequest& request, v1::Sidecar* response);

}  // namespace postern::fleet
