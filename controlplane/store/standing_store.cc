#include "controlplane/store/standing_store.h"

#include <optional>

#include "common/base/status_macros.h"
#include "common/base/timestamps.h"
#include "controlplane/store/rows.h"
#include "fmt/format.h"

namespace postern::store {
namespace {

constexpr std::string_view kTemplateColumns = "body, uses";

absl::StatusOr<v1::ApprovalTemplate> ReadTemplate(const Statement& row) {
  v1::ApprovalTemplate body;
  POSTERN_RETURN_IF_ERROR(ParseBody(row.Bytes(0), body));
  body.set_uses(row.Int(1));
  return body;
}

absl::StatusOr<v1::Delegation> ReadDelegation(const Statement& row) {
  v1::Delegation body;
  POSTERN_RETURN_IF_ERROR(ParseBody(row.Bytes(0), body));
  return body;
}

absl::StatusOr<v1::ApprovalTemplate> TemplateById(Connection& db, std::string_view id) {
  Statement row = db.Prepare(fmt::format("SELECT {} FROM approval_templates WHERE id = ?", kTemplateColumns));
  return ReadOne<v1::ApprovalTemplate>(row.BindAll(id), ReadTemplate,
                                       [&] { return approval::error::TemplateNotFound(id); });
}

}  // namespace

absl::Status SqlStandingStore::InsertTemplate(const v1::ApprovalTemplate& made, std::string_view match_key) {
  return database_.Write([&](Connection& db) {
    return db.Run(
        "INSERT INTO approval_templates(id, match_key, expire_time, revoked, uses, body) VALUES (?, ?, ?, 0, 0, ?)",
        made.id(), Blob{match_key}, FromTimestamp(made.expire_time()), Blob{made.SerializeAsString()});
  });
}

absl::StatusOr<v1::ApprovalTemplate> SqlStandingStore::GetTemplate(std::string_view id) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  return TemplateById(*reader, id);
}

absl::StatusOr<v1::ApprovalTemplate> SqlStandingStore::UseTemplate(std::string_view match_key, absl::Time now) {
  std::optional<v1::ApprovalTemplate> used;
  POSTERN_RETURN_IF_ERROR(database_.Write([&](Connection& db) -> absl::Status {
    used.reset();
    Statement row = db.Prepare(
        "SELECT body, uses FROM approval_templates WHERE match_key = ? AND revoked = 0 AND expire_time > ? "
        "ORDER BY expire_time DESC LIMIT 1");
    POSTERN_ASSIGN_OR_RETURN(used, ReadOne<v1::ApprovalTemplate>(row.BindAll(Blob{match_key}, now), ReadTemplate, [] {
                               return approval::error::TemplateNotFound("for this statement");
                             }));
    return db.Run("UPDATE approval_templates SET uses = uses + 1 WHERE id = ?", used->id());
  }));
  return *std::move(used);
}

absl::StatusOr<std::vector<v1::ApprovalTemplate>> SqlStandingStore::ListTemplates(absl::Time now, bool all) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement rows = reader->Prepare(fmt::format(
      "SELECT {} FROM approval_templates WHERE (revoked = 0 AND expire_time > ?) OR 1 = ? ORDER BY id DESC LIMIT 1000",
      kTemplateColumns));
  rows.BindAll(now, static_cast<int64_t>(all ? 1 : 0));
  return ReadAll<v1::ApprovalTemplate>(rows, ReadTemplate);
}

absl::StatusOr<v1::ApprovalTemplate> SqlStandingStore::RevokeTemplate(std::string_view id, std::string_view by,
                                                                      absl::Time now) {
  std::optional<v1::ApprovalTemplate> result;
  POSTERN_RETURN_IF_ERROR(database_.Write([&](Connection& db) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(result, TemplateById(db, id));
    if (result->has_revoke_time()) return absl::OkStatus();
    result->set_revoked_by(std::string(by));
    *result->mutable_revoke_time() = ToTimestamp(now);
    return db.Run("UPDATE approval_templates SET revoked = 1, body = ? WHERE id = ?", Blob{result->SerializeAsString()},
                  id);
  }));
  return *std::move(result);
}

absl::Status SqlStandingStore::InsertDelegation(const v1::Delegation& made) {
  return database_.Write([&](Connection& db) {
    return db.Run("INSERT INTO delegations(id, end_time, body) VALUES (?, ?, ?)", made.id(),
                  FromTimestamp(made.end_time()), Blob{made.SerializeAsString()});
  });
}

absl::StatusOr<std::vector<v1::Delegation>> SqlStandingStore::ListDelegations(absl::Time now) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement rows = reader->Prepare("SELECT body FROM delegations WHERE end_time > ? ORDER BY id");
  rows.BindAll(now);
  return ReadAll<v1::Delegation>(rows, ReadDelegation);
}

absl::StatusOr<v1::Delegation> SqlStandingStore::GetDelegation(std::string_view id) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement row = reader->Prepare("SELECT body FROM delegations WHERE id = ?");
  return ReadOne<v1::Delegation>(row.BindAll(id), ReadDelegation,
                                 [&] { return approval::error::DelegationNotFound(id); });
}

absl::Status SqlStandingStore::DeleteDelegation(std::string_view id) {
  return database_.Write([&](Connection& db) -> absl::Status {
    POSTERN_RETURN_IF_ERROR(db.Run("DELETE FROM delegations WHERE id = ?", id));
    return db.changes() == 1 ? absl::OkStatus() : approval::error::DelegationNotFound(id);
  });
}

}  // namespace postern::store
