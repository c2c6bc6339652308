#include "controlplane/store/fleet_store.h"

#include <string>
#include <utility>

#include <fmt/format.h>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/base/timestamps.h"
#include "controlplane/fleet/fleet_errors.h"

namespace postern::store {
namespace {

using fleet::CertificateRow;
using fleet::Invite;
using fleet::Sighting;

constexpr std::string_view kSidecarColumns =
    "SELECT id, body, last_seen_time, revoke_time, (SELECT MAX(c.expire_time) FROM sidecar_certificates c"
    " WHERE c.sidecar_id = sidecars.id) FROM sidecars";

absl::Status SidecarNotFound(std::string_view id) {
  return Error(absl::StatusCode::kNotFound, "SIDECAR_NOT_FOUND", fmt::format("there is no sidecar {}", id),
               "list them with `postern sidecar list`");
}

absl::Status InviteNotFound() {
  return Error(absl::StatusCode::kNotFound, "INVITE_NOT_FOUND", "no open invitation has this secret");
}

absl::StatusOr<v1::Sidecar> ReadSidecar(const Statement& row) {
  v1::Sidecar sidecar;
  if (!sidecar.ParseFromString(row.Bytes(1))) {
    return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT", fmt::format("sidecar {} does not parse", row.Text(0)));
  }
  if (!row.IsNull(2)) *sidecar.mutable_last_seen_time() = ToTimestamp(row.Time(2));
  sidecar.set_revoked(!row.IsNull(3));
  if (!row.IsNull(4)) *sidecar.mutable_certificate_expire_time() = ToTimestamp(row.Time(4));
  return sidecar;
}

absl::StatusOr<v1::Sidecar> GetSidecar(Connection& db, std::string_view id) {
  Statement row = db.Prepare(fmt::format("{} WHERE id = ?", kSidecarColumns));
  row.Bind(1, id);
  if (row.Step()) return ReadSidecar(row);
  POSTERN_RETURN_IF_ERROR(row.status());
  return SidecarNotFound(id);
}

// Columns that say the same are not kept twice.
std::string BodyOf(v1::Sidecar sidecar) {
  sidecar.clear_connected();
  sidecar.clear_revoked();
  sidecar.clear_last_seen_time();
  sidecar.clear_certificate_expire_time();
  return sidecar.SerializeAsString();
}

CertificateRow ReadCertificate(const Statement& row) {
  return {.fingerprint = row.Bytes(0),
          .sidecar_id = row.Text(1),
          .generation = row.Int(2),
          .expire_time = row.Time(3),
          .first_use_time = row.Time(4)};
}

absl::Status InsertCertificate(Connection& db, const CertificateRow& certificate) {
  return db.Run(
      "INSERT INTO sidecar_certificates (fingerprint, sidecar_id, generation, expire_time) VALUES (?, ?, ?, ?)",
      Blob{certificate.fingerprint}, certificate.sidecar_id, certificate.generation, certificate.expire_time);
}

class SqlFleetStore final : public fleet::FleetStore {
 public:
  explicit SqlFleetStore(Database* database) : database_(*database) {}

  absl::Status AddInvite(const Invite& invite) override {
    return database_.Write([&](Connection& db) {
      // An expired one that was never used says nothing any more; a used one tells where a sidecar came from.
      POSTERN_RETURN_IF_ERROR(
          db.Run("DELETE FROM sidecar_invites WHERE expire_time <= ? AND sidecar_id IS NULL", invite.create_time));
      if (!invite.request_id.empty()) {
        Statement used =
            db.Prepare("SELECT 1 FROM sidecar_invites WHERE caller = ? AND request_id = ? AND sidecar_id IS NOT NULL");
        used.BindAll(invite.caller, invite.request_id);
        if (used.Step()) {
          return Error(absl::StatusCode::kFailedPrecondition, "INVITE_USED",
                       "the invitation of this request was used already", "invite again with a new request id");
        }
        POSTERN_RETURN_IF_ERROR(used.status());
        POSTERN_RETURN_IF_ERROR(db.Run("DELETE FROM sidecar_invites WHERE caller = ? AND request_id = ?", invite.caller,
                                       invite.request_id));
      }
      return db.Run(
          "INSERT INTO sidecar_invites (secret_hash, name, targets, caller, request_id, create_time, expire_time)"
          " VALUES (?, ?, ?, ?, ?, ?, ?)",
          Blob{invite.secret_hash}, invite.name, absl::StrJoin(invite.targets, "\n"), invite.caller, invite.request_id,
          invite.create_time, invite.expire_time);
    });
  }

  absl::StatusOr<Invite> FindInvite(std::string_view secret_hash, absl::Time now) const override {
    POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
    Statement row = reader->Prepare(
        "SELECT secret_hash, name, targets, caller, request_id, create_time, expire_time FROM sidecar_invites"
        " WHERE secret_hash = ? AND sidecar_id IS NULL AND expire_time > ?");
    row.BindAll(Blob{secret_hash}, now);
    if (!row.Step()) {
      POSTERN_RETURN_IF_ERROR(row.status());
      return InviteNotFound();
    }
    return Invite{.secret_hash = row.Bytes(0),
                  .name = row.Text(1),
                  .targets = absl::StrSplit(row.Text(2), '\n', absl::SkipEmpty()),
                  .caller = row.Text(3),
                  .request_id = row.Text(4),
                  .create_time = row.Time(5),
                  .expire_time = row.Time(6)};
  }

  absl::Status Join(std::string_view secret_hash, absl::Time now, const v1::Sidecar& sidecar,
                    const CertificateRow& certificate) override {
    return database_.Write([&](Connection& db) {
      Statement use = db.Prepare(
          "UPDATE sidecar_invites SET sidecar_id = ? WHERE secret_hash = ? AND sidecar_id IS NULL AND expire_time > ?");
      use.BindAll(sidecar.id(), Blob{secret_hash}, now);
      POSTERN_RETURN_IF_ERROR(use.Run());
      if (db.changes() != 1) return InviteNotFound();
      POSTERN_RETURN_IF_ERROR(
          db.Run("INSERT INTO sidecars (id, body, applied_revision, revoke_reason) VALUES (?, ?, 0, '')", sidecar.id(),
                 Blob{BodyOf(sidecar)}));
      return InsertCertificate(db, certificate);
    });
  }

  absl::StatusOr<v1::Sidecar> Get(std::string_view id) const override {
    POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
    return GetSidecar(*reader, id);
  }

  absl::StatusOr<std::vector<v1::Sidecar>> List(std::string_view before, int limit) const override {
    POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
    Statement rows =
        reader->Prepare(fmt::format("{} WHERE (?1 = '' OR id < ?1) ORDER BY id DESC LIMIT ?2", kSidecarColumns));
    rows.BindAll(before, limit);
    std::vector<v1::Sidecar> sidecars;
    while (rows.Step()) {
      POSTERN_ASSIGN_OR_RETURN(v1::Sidecar sidecar, ReadSidecar(rows));
      sidecars.push_back(std::move(sidecar));
    }
    POSTERN_RETURN_IF_ERROR(rows.status());
    return sidecars;
  }

  absl::StatusOr<CertificateRow> FindCertificate(std::string_view fingerprint) const override {
    POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
    Statement row = reader->Prepare(
        "SELECT fingerprint, sidecar_id, generation, expire_time, first_use_time FROM sidecar_certificates"
        " WHERE fingerprint = ?");
    row.Bind(1, Blob{fingerprint});
    if (row.Step()) return ReadCertificate(row);
    POSTERN_RETURN_IF_ERROR(row.status());
    return Error(absl::StatusCode::kNotFound, "CERTIFICATE_NOT_FOUND", "this certificate is not on record");
  }

  absl::StatusOr<CertificateRow> NewestCertificate(std::string_view sidecar_id) const override {
    POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
    Statement row = reader->Prepare(
        "SELECT fingerprint, sidecar_id, generation, expire_time, first_use_time FROM sidecar_certificates"
        " WHERE sidecar_id = ? ORDER BY generation DESC LIMIT 1");
    row.Bind(1, sidecar_id);
    if (row.Step()) return ReadCertificate(row);
    POSTERN_RETURN_IF_ERROR(row.status());
    return Error(absl::StatusCode::kNotFound, "CERTIFICATE_NOT_FOUND", "the sidecar has no certificate");
  }

  absl::Status AddCertificate(const CertificateRow& certificate, int64_t after, absl::Time now) override {
    return database_.Write([&](Connection& db) {
      POSTERN_ASSIGN_OR_RETURN(v1::Sidecar sidecar, GetSidecar(db, certificate.sidecar_id));
      if (sidecar.revoked()) {
        return fleet::error::SidecarRevoked();
      }
      if (sidecar.generation() != after) {
        return Error(absl::StatusCode::kAborted, "SIDECAR_GENERATION",
                     fmt::format("the newest certificate is generation {}, not {}", sidecar.generation(), after));
      }
      POSTERN_RETURN_IF_ERROR(db.Run("DELETE FROM sidecar_certificates WHERE expire_time <= ?", now));
      POSTERN_RETURN_IF_ERROR(InsertCertificate(db, certificate));
      sidecar.set_generation(certificate.generation);
      return db.Run("UPDATE sidecars SET body = ? WHERE id = ?", Blob{BodyOf(sidecar)}, sidecar.id());
    });
  }

  absl::Status MarkCertificateUsed(std::string_view fingerprint, absl::Time now) override {
    return database_.Write([&](Connection& db) {
      return db.Run(
          "UPDATE sidecar_certificates SET first_use_time = ? WHERE fingerprint = ? AND first_use_time IS NULL", now,
          Blob{fingerprint});
    });
  }

  absl::StatusOr<v1::Sidecar> Revoke(std::string_view id, std::string_view reason, absl::Time now) override {
    v1::Sidecar revoked;
    POSTERN_RETURN_IF_ERROR(database_.Write([&](Connection& db) -> absl::Status {
      POSTERN_RETURN_IF_ERROR(
          db.Run("UPDATE sidecars SET revoke_time = ?, revoke_reason = ? WHERE id = ? AND revoke_time IS NULL", now,
                 reason, id));
      POSTERN_ASSIGN_OR_RETURN(revoked, GetSidecar(db, id));
      return absl::OkStatus();
    }));
    return revoked;
  }

  absl::Status RecordHello(std::string_view id, const v1::SyncRequest::Hello& hello, absl::Time now) override {
    return database_.Write([&](Connection& db) -> absl::Status {
      POSTERN_ASSIGN_OR_RETURN(v1::Sidecar sidecar, GetSidecar(db, id));
      sidecar.set_version(hello.version());
      sidecar.set_advertise_host(hello.advertise_host());
      sidecar.set_advertise_port(hello.advertise_port());
      sidecar.set_client_ca_pem(hello.client_ca_pem());
      return db.Run("UPDATE sidecars SET body = ?, last_seen_time = ? WHERE id = ?", Blob{BodyOf(sidecar)}, now, id);
    });
  }

  absl::Status RecordSightings(const std::vector<Sighting>& sightings) override {
    return database_.Write([&](Connection& db) -> absl::Status {
      for (const Sighting& sighting : sightings) {
        POSTERN_RETURN_IF_ERROR(db.Run("UPDATE sidecars SET last_seen_time = ?, applied_revision = ? WHERE id = ?",
                                       sighting.time, sighting.applied_revision, sighting.sidecar_id));
      }
      return absl::OkStatus();
    });
  }

  absl::Status SaveCatalog(const v1::CatalogSnapshot& snapshot) override {
    return database_.Write([&](Connection& db) {
      return db.Run(
          "INSERT INTO catalogs (target, database, read_time, body) VALUES (?, ?, ?, ?) ON CONFLICT (target, database) "
          "DO UPDATE SET"
          " read_time = excluded.read_time, body = excluded.body WHERE excluded.read_time >= catalogs.read_time",
          snapshot.target(), snapshot.database(), FromTimestamp(snapshot.read_time()),
          Blob{snapshot.SerializeAsString()});
    });
  }

  absl::StatusOr<std::optional<v1::CatalogSnapshot>> LoadCatalog(std::string_view target,
                                                                 std::string_view database) const override {
    POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
    Statement row = reader->Prepare("SELECT body FROM catalogs WHERE target = ? AND database = ?");
    row.BindAll(target, database);
    if (!row.Step()) {
      POSTERN_RETURN_IF_ERROR(row.status());
      return std::nullopt;
    }
    v1::CatalogSnapshot snapshot;
    if (!snapshot.ParseFromString(row.Bytes(0))) {
      return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                   fmt::format("the catalog of {}/{} does not parse", target, database));
    }
    return snapshot;
  }

 private:
  Database& database_;
};

}  // namespace

std::unique_ptr<fleet::FleetStore> NewSqlFleetStore(Database* database) {
  return std::make_unique<SqlFleetStore>(database);
}

}  // namespace postern::store
