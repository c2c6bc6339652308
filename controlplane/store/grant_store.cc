#include "controlplane/store/grant_store.h"

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "controlplane/store/approval_store.h"
#include "controlplane/store/rows.h"
#include "fmt/format.h"

namespace postern::store {
namespace {

constexpr std::string_view kColumns = "body, ttl_seconds, request_id, request_digest, version, owner";

absl::Status NotFound(std::string_view id) {
  return Error(absl::StatusCode::kNotFound, "GRANT_NOT_FOUND", fmt::format("there is no grant {}", id),
               "`postern token list` shows those that you may see");
}

absl::StatusOr<grant::Grant> ReadRow(const Statement& row) {
  grant::Grant grant;
  POSTERN_RETURN_IF_ERROR(ParseBody(row.Bytes(0), grant.body));
  grant.ttl_seconds = row.Int(1);
  grant.request_id = row.Text(2);
  grant.request_digest = row.Bytes(3);
  grant.version = row.Int(4);
  grant.owner = row.Text(5);
  return grant;
}

absl::Time StoredExpiry(const grant::Grant& grant) {
  const absl::Time expire = grant::ExpireTime(grant);
  return expire == absl::InfiniteFuture() ? kNoTime : expire;
}

}  // namespace

static_assert(v1::GRANT_PENDING_APPROVAL == 1 && v1::GRANT_ACTIVE == 2, "the SQL texts name these by number");

absl::Status SqlGrantStore::Insert(const grant::Grant& grant, const approval::Approval* opened) {
  return database_.Write([&](Connection& db) {
    POSTERN_RETURN_IF_ERROR(
        db.Run("INSERT INTO grants(id, agent, owner, target, state, expire_time, ttl_seconds, request_id, "
               "request_digest, version, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?)",
               grant.id(), grant.body.agent(), grant.owner, grant.body.intent().target(), grant.body.state(),
               StoredExpiry(grant), grant.ttl_seconds, grant.request_id, Blob{grant.request_digest},
               Blob{grant.body.SerializeAsString()}));
    return opened == nullptr ? absl::OkStatus() : InsertApproval(db, *opened);
  });
}

absl::StatusOr<grant::Grant> SqlGrantStore::Get(std::string_view id) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement row = reader->Prepare(fmt::format("SELECT {} FROM grants WHERE id = ?", kColumns));
  return ReadOne<grant::Grant>(row.BindAll(id), ReadRow, [&] { return NotFound(id); });
}

absl::StatusOr<grant::Grant> SqlGrantStore::FindByRequest(std::string_view agent, std::string_view request_id) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement row = reader->Prepare(fmt::format("SELECT {} FROM grants WHERE agent = ? AND request_id = ?", kColumns));
  return ReadOne<grant::Grant>(row.BindAll(agent, request_id), ReadRow, [&] { return NotFound(request_id); });
}

absl::Status ReplaceGrant(Connection& db, const grant::Grant& next) {
  POSTERN_RETURN_IF_ERROR(db.Run(
      "UPDATE grants SET state = ?, expire_time = ?, version = version + 1, body = ? WHERE id = ? AND version = ?",
      next.body.state(), StoredExpiry(next), Blob{next.body.SerializeAsString()}, next.id(), next.version));
  if (db.changes() == 1) return absl::OkStatus();
  return Error(absl::StatusCode::kAborted, "STALE_ETAG", fmt::format("grant {} has changed meanwhile", next.id()),
               "try again");
}

absl::Status SqlGrantStore::Replace(const grant::Grant& next) {
  return database_.Write([&](Connection& db) { return ReplaceGrant(db, next); });
}

absl::StatusOr<std::vector<grant::Grant>> SqlGrantStore::List(const grant::GrantFilter& filter, absl::Time now) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Conditions where;
  if (!filter.agent.empty()) where.Add("agent = ?", filter.agent);
  if (!filter.target.empty()) where.Add("target = ?", filter.target);
  if (!filter.before_id.empty()) where.Add("id < ?", filter.before_id);
  if (filter.open_only) {
    where.Add("state IN (1, 2)");
    where.Add("(expire_time IS NULL OR expire_time > ?)", absl::ToUnixMicros(now));
  }
  if (filter.active_only) {
    where.Add("state = ?", static_cast<int64_t>(v1::GRANT_ACTIVE));
    where.Add("expire_time > ?", absl::ToUnixMicros(now));
  }
  Statement rows =
      reader->Prepare(fmt::format("SELECT {} FROM grants{} ORDER BY id DESC LIMIT ?", kColumns, where.Clause()));
  rows.Bind(where.BindTo(rows), filter.limit);
  return ReadAll<grant::Grant>(rows, ReadRow);
}

absl::StatusOr<std::vector<grant::Grant>> SqlGrantStore::Revoked(absl::Time now) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement rows =
      reader->Prepare(fmt::format("SELECT {} FROM grants WHERE state = ? AND expire_time > ? ORDER BY id", kColumns));
  rows.BindAll(v1::GRANT_REVOKED, now);
  return ReadAll<grant::Grant>(rows, ReadRow);
}

}  // namespace postern::store
