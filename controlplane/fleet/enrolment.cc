#include "controlplane/fleet/enrolment.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <openssl/pem.h>

#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/status_macros.h"
#include "common/base/timestamps.h"
#include "common/crypto/base64.h"
#include "common/crypto/hash.h"
#include "common/crypto/openssl_util.h"
#include "common/net/join_line.h"
#include "controlplane/fleet/fleet_errors.h"

namespace postern::fleet {
namespace {

constexpr size_t kSecretBytes = 32;
constexpr size_t kMaxNameBytes = 63;
constexpr int kDefaultPage = 50;
constexpr int kMaxPage = 1000;

absl::Status InvalidArgument(std::string_view message, std::string_view hint) {
  return Error(absl::StatusCode::kInvalidArgument, "INVALID_ARGUMENT", message, hint);
}

bool IsName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

v1::AuditRecord ControlRecord(std::string_view action, std::string_view object, std::string_view caller) {
  v1::AuditRecord record;
  record.set_kind(v1::CONTROL);
  record.set_action(fmt::format("SidecarService/{}", action));
  record.set_object(std::string(object));
  (*record.mutable_detail())["caller"] = std::string(caller);
  return record;
}

struct Issued {
  crypto::IssuedCertificate certificate;
  CertificateRow row;
};

absl::StatusOr<Issued> Issue(const EnrolmentDeps& deps, const crypto::EcPublicKey& key, std::string_view sidecar_id,
                             int64_t generation) {
  POSTERN_ASSIGN_OR_RETURN(crypto::IssuedCertificate certificate,
                           deps.ca.IssueClient(key, sidecar_id, crypto::SidecarUri(deps.origin, sidecar_id),
                                               kSidecarCertificateLifetime, deps.clock, deps.random));
  POSTERN_ASSIGN_OR_RETURN(std::string fingerprint, CertificateFingerprint(certificate.pem));
  CertificateRow row{.fingerprint = std::move(fingerprint),
                     .sidecar_id = std::string(sidecar_id),
                     .generation = generation,
                     .expire_time = certificate.not_after};
  return Issued{std::move(certificate), std::move(row)};
}

void ToResponse(const EnrolmentDeps& deps, const Issued& issued, v1::JoinSidecarResponse* response) {
  response->set_sidecar_id(issued.row.sidecar_id);
  response->set_certificate_chain_pem(issued.certificate.pem);
  response->set_ca_pem(deps.ca.certificate_pem());
  *response->mutable_expire_time() = ToTimestamp(issued.row.expire_time);
  response->set_generation(issued.row.generation);
}

// Two hold the sidecar's key. Nobody can tell which is the honest one, so neither goes on.
absl::Status RevokeClone(const EnrolmentDeps& deps, const SidecarCaller& caller, const CertificateRow& newest) {
  const absl::Status clone = error::CloneSuspected();
  v1::AuditRecord alarm = ControlRecord("RenewCertificate", caller.id, caller.id);
  alarm.set_kind(v1::ALARM);
  alarm.set_reason_code("SIDECAR_CLONED");
  alarm.set_reason(std::string(clone.message()));
  (*alarm.mutable_detail())["generation"] = std::to_string(caller.certificate.generation);
  (*alarm.mutable_detail())["newest_generation"] = std::to_string(newest.generation);
  // The revocation stands whether or not it could be recorded: the gate closes first.
  POSTERN_RETURN_IF_ERROR(deps.store.Revoke(caller.id, "clone suspected", deps.clock.Now()).status());
  deps.hub.Cut(caller.id, clone);
  POSTERN_RETURN_IF_ERROR(deps.audit.Record(std::move(alarm)));
  return clone;
}

}  // namespace

absl::StatusOr<std::string> CertificateFingerprint(std::string_view pem) {
  crypto::BioPtr bio = crypto::ReadBio(pem);
  crypto::X509Ptr certificate(bio == nullptr ? nullptr
                                             : PEM_read_bio_X509(bio.get(), nullptr, crypto::NoPassword, nullptr));
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  if (certificate == nullptr || X509_digest(certificate.get(), EVP_sha256(), digest, &length) != 1) {
    return Error(absl::StatusCode::kInvalidArgument, "CERTIFICATE_MALFORMED", "this is not a certificate");
  }
  return std::string(reinterpret_cast<const char*>(digest), length);
}

absl::StatusOr<SidecarCaller> AdmitSidecar(const FleetStore& store, std::string_view sidecar_id,
                                           std::string_view certificate_pem, absl::Time now) {
  absl::StatusOr<std::string> fingerprint = CertificateFingerprint(certificate_pem);
  if (!fingerprint.ok()) return error::CertificateUnknown();
  absl::StatusOr<CertificateRow> certificate = store.FindCertificate(*fingerprint);
  if (absl::IsNotFound(certificate.status())) return error::CertificateUnknown();
  POSTERN_RETURN_IF_ERROR(certificate.status());
  if (certificate->sidecar_id != sidecar_id || certificate->expire_time <= now) return error::CertificateUnknown();
  POSTERN_ASSIGN_OR_RETURN(v1::Sidecar sidecar, store.Get(sidecar_id));
  if (sidecar.revoked()) return error::SidecarRevoked();
  return SidecarCaller{.id = sidecar.id(),
                       .targets = {sidecar.targets().begin(), sidecar.targets().end()},
                       .certificate = *std::move(certificate)};
}

absl::Status InviteSidecar(const EnrolmentDeps& deps, const identity::Caller& caller,
                           const v1::InviteSidecarRequest& request, v1::InviteSidecarResponse* response) {
  if (!IsName(request.name())) {
    return InvalidArgument("a sidecar's name has 1 to 63 of a-z, 0-9 and -", "choose another name");
  }
  if (request.targets().empty()) return InvalidArgument("no targets are named", "name those that it will serve");
  for (const std::string& target : request.targets()) {
    if (!IsName(target)) return InvalidArgument("a target's name has 1 to 63 of a-z, 0-9 and -", "check the names");
  }
  if (!request.request_id().empty() && !IsUuid(request.request_id())) {
    return InvalidArgument("request_id is not a UUID", "leave it out or send a UUID");
  }
  const std::string secret = crypto::Base64UrlEncode(deps.random.Bytes(kSecretBytes));
  const absl::Time now = deps.clock.Now();
  POSTERN_ASSIGN_OR_RETURN(std::string pin, crypto::CertificatePin(deps.ca.certificate_pem()));
  v1::AuditRecord record = ControlRecord("InviteSidecar", request.name(), caller.id());
  (*record.mutable_detail())["targets"] = fmt::format("{}", fmt::join(request.targets(), ","));
  POSTERN_RETURN_IF_ERROR(deps.audit.Record(std::move(record)));
  POSTERN_RETURN_IF_ERROR(deps.store.AddInvite({.secret_hash = crypto::Sha256(secret),
                                                .name = request.name(),
                                                .targets = {request.targets().begin(), request.targets().end()},
                                                .caller = caller.id(),
                                                .request_id = request.request_id(),
                                                .create_time = now,
                                                .expire_time = now + kInviteLifetime}));
  response->set_join_line(net::FormatJoinLine({.address = deps.address, .ca_pin = pin, .secret = secret}));
  *response->mutable_expire_time() = ToTimestamp(now + kInviteLifetime);
  return absl::OkStatus();
}

absl::Status JoinSidecar(const EnrolmentDeps& deps, std::string_view peer, const v1::JoinSidecarRequest& request,
                         v1::JoinSidecarResponse* response) {
  const absl::Time now = deps.clock.Now();
  const std::string secret_hash = crypto::Sha256(request.secret());
  absl::StatusOr<Invite> invite = deps.store.FindInvite(secret_hash, now);
  absl::StatusOr<crypto::EcPublicKey> key = crypto::VerifyCsr(request.csr_der());
  if (absl::IsNotFound(invite.status()) || (invite.ok() && !key.ok())) return error::JoinRefused();
  POSTERN_RETURN_IF_ERROR(invite.status());

  v1::Sidecar sidecar;
  sidecar.set_id(NewId(kSidecarPrefix, now, deps.random));
  sidecar.set_name(invite->name);
  for (const std::string& target : invite->targets) sidecar.add_targets(target);
  *sidecar.mutable_join_time() = ToTimestamp(now);
  sidecar.set_generation(1);

  v1::AuditRecord record = ControlRecord("JoinSidecar", sidecar.id(), invite->name);
  record.set_client_address(std::string(peer));
  (*record.mutable_detail())["invited_by"] = invite->caller;
  POSTERN_RETURN_IF_ERROR(deps.audit.Record(std::move(record)));
  POSTERN_ASSIGN_OR_RETURN(Issued issued, Issue(deps, *key, sidecar.id(), 1));
  absl::Status joined = deps.store.Join(secret_hash, now, sidecar, issued.row);
  if (absl::IsNotFound(joined)) return error::JoinRefused();  // used meanwhile by another
  POSTERN_RETURN_IF_ERROR(joined);
  ToResponse(deps, issued, response);
  return absl::OkStatus();
}

absl::Status RenewCertificate(const EnrolmentDeps& deps, const SidecarCaller& caller,
                              const v1::RenewCertificateRequest& request, v1::JoinSidecarResponse* response) {
  POSTERN_ASSIGN_OR_RETURN(crypto::EcPublicKey key, crypto::VerifyCsr(request.csr_der()));
  POSTERN_ASSIGN_OR_RETURN(CertificateRow newest, deps.store.NewestCertificate(caller.id));
  const bool behind = caller.certificate.generation < newest.generation;
  if (request.generation() != caller.certificate.generation ||
      (behind && newest.first_use_time != absl::InfinitePast())) {
    return RevokeClone(deps, caller, newest);
  }
  v1::AuditRecord record = ControlRecord("RenewCertificate", caller.id, caller.id);
  (*record.mutable_detail())["generation"] = std::to_string(newest.generation + 1);
  POSTERN_RETURN_IF_ERROR(deps.audit.Record(std::move(record)));
  POSTERN_ASSIGN_OR_RETURN(Issued issued, Issue(deps, key, caller.id, newest.generation + 1));
  POSTERN_RETURN_IF_ERROR(deps.store.AddCertificate(issued.row, newest.generation, deps.clock.Now()));
  ToResponse(deps, issued, response);
  return absl::OkStatus();
}

absl::Status ListSidecars(const EnrolmentDeps& deps, const v1::ListSidecarsRequest& request,
                          v1::ListSidecarsResponse* response) {
  if (request.page_size() < 0) return InvalidArgument("page_size is negative", "leave it out for the default");
  // The token is the last id of the page before.
  if (!request.page_token().empty() && !IsId(request.page_token(), kSidecarPrefix)) {
    return InvalidArgument("page_token is not one that this method gave", "start from the first page");
  }
  const int limit = request.page_size() == 0 ? kDefaultPage : std::min(request.page_size(), kMaxPage);
  POSTERN_ASSIGN_OR_RETURN(std::vector<v1::Sidecar> sidecars, deps.store.List(request.page_token(), limit + 1));
  if (sidecars.size() > static_cast<size_t>(limit)) {
    sidecars.pop_back();
    response->set_next_page_token(sidecars.back().id());
  }
  for (v1::Sidecar& sidecar : sidecars) {
    sidecar.set_connected(deps.hub.IsConnected(sidecar.id()));
    *response->add_sidecars() = std::move(sidecar);
  }
  return absl::OkStatus();
}

absl::Status RevokeSidecar(const EnrolmentDeps& deps, const identity::Caller& caller,
                           const v1::RevokeSidecarRequest& request, v1::Sidecar* response) {
  POSTERN_RETURN_IF_ERROR(deps.store.Get(request.id()).status());
  v1::AuditRecord record = ControlRecord("RevokeSidecar", request.id(), caller.id());
  record.set_reason(request.reason());
  POSTERN_RETURN_IF_ERROR(deps.audit.Record(std::move(record)));
  POSTERN_ASSIGN_OR_RETURN(*response, deps.store.Revoke(request.id(), request.reason(), deps.clock.Now()));
  deps.hub.Cut(request.id(), error::SidecarRevoked());
  return absl::OkStatus();
}

}  // namespace postern::fleet
