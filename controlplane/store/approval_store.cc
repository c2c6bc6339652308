#include "controlplane/store/approval_store.h"

#include <optional>

#include "common/base/status_macros.h"
#include "common/base/timestamps.h"
#include "controlplane/store/grant_store.h"
#include "controlplane/store/rows.h"
#include "fmt/format.h"

namespace postern::store {
namespace {

using approval::Approval;

constexpr std::string_view kColumns = "body, owner, version, preview";

absl::StatusOr<Approval> ReadRow(const Statement& row) {
  v1::Approval body;
  POSTERN_RETURN_IF_ERROR(ParseBody(row.Bytes(0), body));
  if (!row.IsNull(3)) POSTERN_RETURN_IF_ERROR(ParseBody(row.Bytes(3), *body.mutable_preview()));
  return Approval(std::move(body), row.Text(1), row.Int(2));
}

// The body as it is kept: the preview has a column of its own, and the rest of these are made for each answer.
std::string Kept(const Approval& approval) {
  v1::Approval body = approval.body();
  body.clear_preview();
  body.clear_earlier();
  body.clear_freeze();
  body.clear_freeze_until();
  return body.SerializeAsString();
}

absl::Time StoredReview(const Approval& approval) {
  const absl::Time due = approval.ReviewDeadline();
  return due == absl::InfiniteFuture() ? kNoTime : due;
}

int64_t OwesReview(const Approval& approval) {
  return approval.body().has_broken_glass() && !approval.body().broken_glass().has_review_time() ? 1 : 0;
}

absl::Time StoredDeadline(const Approval& approval) {
  const absl::Time deadline = approval.Deadline();
  return deadline == absl::InfiniteFuture() ? kNoTime : deadline;
}

absl::StatusOr<Approval> ReadById(Connection& db, std::string_view id) {
  Statement row = db.Prepare(fmt::format("SELECT {} FROM approvals WHERE id = ?", kColumns));
  return ReadOne<Approval>(row.BindAll(id), ReadRow, [&] { return approval::error::NotFound(id); });
}

// What became of the same statement when it was sent before.
absl::StatusOr<std::optional<std::string>> FindForResent(Connection& db, const Approval& fresh) {
  Statement rows = db.Prepare(fmt::format(
      "SELECT {} FROM approvals WHERE grant_id = ? AND digest = ? AND kind = 2 ORDER BY id DESC LIMIT 1", kColumns));
  if (!rows.BindAll(fresh.body().grant_id(), Blob{fresh.body().binding_digest()}).Step()) {
    POSTERN_RETURN_IF_ERROR(rows.status());
    return std::nullopt;
  }
  POSTERN_ASSIGN_OR_RETURN(const Approval last, ReadRow(rows));
  const absl::Time now = FromTimestamp(fresh.body().create_time());
  const bool approved = last.body().state() == v1::APPROVAL_APPROVED && now < last.Deadline();
  // A denial stands as long as the question would have stood: asking again at once is no way around it.
  const bool denied =
      last.body().state() == v1::APPROVAL_DENIED && now < FromTimestamp(last.body().request_expire_time());
  if (!approved && !denied) return std::nullopt;
  return last.id();
}

// The id of the approval that `waiter`'s request made, or else of the pending one for the same thing.
absl::StatusOr<std::optional<std::string>> FindJoinable(Connection& db, const Approval& fresh,
                                                        const approval::Waiter& waiter) {
  Statement made = db.Prepare("SELECT approval_id FROM approval_waiters WHERE sidecar_id = ? AND request_id = ?");
  if (made.BindAll(waiter.sidecar_id, waiter.request_id).Step()) return made.Text(0);
  POSTERN_RETURN_IF_ERROR(made.status());
  Statement pending =
      db.Prepare("SELECT id FROM approvals WHERE grant_id = ? AND digest = ? AND state = 1 AND kind = 2");
  if (pending.BindAll(fresh.body().grant_id(), Blob{fresh.body().binding_digest()}).Step()) return pending.Text(0);
  POSTERN_RETURN_IF_ERROR(pending.status());
  if (fresh.body().hold().mode() == "return") return FindForResent(db, fresh);
  return std::nullopt;
}

// ABORTED/STALE_ETAG.
absl::Status ReplaceApproval(Connection& db, const Approval& next) {
  POSTERN_RETURN_IF_ERROR(db.Run(
      "UPDATE approvals SET state = ?, deadline = ?, review_due = ?, review_owed = ?, version = version + 1, body = ? "
      "WHERE id = ? AND version = ?",
      next.body().state(), StoredDeadline(next), StoredReview(next), OwesReview(next), Blob{Kept(next)}, next.id(),
      next.version()));
  return db.changes() == 1 ? absl::OkStatus() : approval::error::StaleEtag(next.id());
}

}  // namespace

static_assert(v1::APPROVAL_PENDING == 1 && v1::APPROVAL_KIND_STATEMENT == 2, "the SQL texts name these by number");

absl::Status InsertApproval(Connection& db, const Approval& fresh) {
  const v1::Approval& body = fresh.body();
  return db.Run(
      "INSERT INTO approvals(id, kind, state, agent, owner, grant_id, digest, deadline, likeness, version, body) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?)",
      body.id(), body.kind(), body.state(), body.agent(), fresh.owner(), body.grant_id(), Blob{body.binding_digest()},
      StoredDeadline(fresh), Blob{approval::LikenessOf(body)}, Blob{Kept(fresh)});
}

absl::StatusOr<Approval> SqlApprovalStore::OpenOrJoin(const Approval& fresh, const approval::Waiter& waiter,
                                                      bool* joined) {
  std::optional<Approval> result;
  POSTERN_RETURN_IF_ERROR(database_.Write([&](Connection& db) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(const std::optional<std::string> existing, FindJoinable(db, fresh, waiter));
    *joined = existing.has_value();
    if (!existing.has_value()) POSTERN_RETURN_IF_ERROR(InsertApproval(db, fresh));
    const std::string& id = existing.has_value() ? *existing : fresh.id();
    POSTERN_RETURN_IF_ERROR(db.Run(
        "INSERT INTO approval_waiters(approval_id, session_id, sidecar_id, request_id) "
        "VALUES (?, ?, ?, ?) ON CONFLICT (approval_id, session_id) DO UPDATE SET request_id = excluded.request_id",
        id, waiter.session_id, waiter.sidecar_id, waiter.request_id));
    POSTERN_ASSIGN_OR_RETURN(result, ReadById(db, id));
    return absl::OkStatus();
  }));
  return *std::move(result);
}

absl::StatusOr<Approval> SqlApprovalStore::Get(std::string_view id) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  return ReadById(*reader, id);
}

absl::StatusOr<Approval> SqlApprovalStore::Replace(const Approval& next, const grant::Grant* also) {
  POSTERN_RETURN_IF_ERROR(database_.Write([&](Connection& db) -> absl::Status {
    POSTERN_RETURN_IF_ERROR(ReplaceApproval(db, next));
    return also == nullptr ? absl::OkStatus() : ReplaceGrant(db, *also);
  }));
  return Approval(next.body(), next.owner(), next.version() + 1);
}

absl::StatusOr<std::vector<Approval>> SqlApprovalStore::List(const approval::ApprovalFilter& filter) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Conditions where;
  if (filter.state != v1::APPROVAL_STATE_UNSPECIFIED) where.Add("state = ?", static_cast<int64_t>(filter.state));
  if (!filter.agent.empty()) where.Add("agent = ?", filter.agent);
  if (!filter.grant_id.empty()) where.Add("grant_id = ?", filter.grant_id);
  if (filter.review_owed) where.Add("review_owed = 1");
  if (!filter.likeness.empty()) where.AddBytes("likeness = ?", filter.likeness);
  if (!filter.before_id.empty()) where.Add("id < ?", filter.before_id);
  Statement rows =
      reader->Prepare(fmt::format("SELECT {} FROM approvals{} ORDER BY id DESC LIMIT ?", kColumns, where.Clause()));
  rows.Bind(where.BindTo(rows), filter.limit);
  return ReadAll<Approval>(rows, ReadRow);
}

absl::Status SqlApprovalStore::AttachPreview(std::string_view id, const v1::Preview& preview) {
  return database_.Write([&](Connection& db) -> absl::Status {
    POSTERN_RETURN_IF_ERROR(ReadById(db, id).status());
    return db.Run("UPDATE approvals SET preview = ? WHERE id = ? AND preview IS NULL",
                  Blob{preview.SerializeAsString()}, id);
  });
}

absl::StatusOr<std::vector<Approval>> SqlApprovalStore::Due(absl::Time now, int limit) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement rows = reader->Prepare(fmt::format(
      "SELECT {} FROM approvals WHERE deadline <= ? OR review_due <= ? ORDER BY coalesce(deadline, review_due) LIMIT ?",
      kColumns));
  rows.BindAll(now, now, limit);
  return ReadAll<Approval>(rows, ReadRow);
}

absl::StatusOr<absl::Time> SqlApprovalStore::NextDeadline() const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement row = reader->Prepare(
      "SELECT min(next) FROM (SELECT min(deadline) AS next FROM approvals WHERE deadline IS NOT NULL "
      "UNION ALL SELECT min(review_due) FROM approvals WHERE review_due IS NOT NULL) AS both_clocks");
  if (!row.Step()) return row.status();
  return row.IsNull(0) ? absl::InfiniteFuture() : row.Time(0);
}

absl::StatusOr<std::vector<approval::Waiter>> SqlApprovalStore::Waiters(std::string_view id) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement rows =
      reader->Prepare("SELECT session_id, sidecar_id, request_id FROM approval_waiters WHERE approval_id = ?");
  rows.BindAll(id);
  return ReadAll<approval::Waiter>(rows, [](const Statement& row) -> absl::StatusOr<approval::Waiter> {
    return approval::Waiter{row.Text(0), row.Text(1), row.Text(2)};
  });
}

absl::StatusOr<Approval> SqlApprovalStore::RemoveWaiter(const approval::Waiter& waiter, const Approval& if_last) {
  std::optional<Approval> result;
  POSTERN_RETURN_IF_ERROR(database_.Write([&](Connection& db) -> absl::Status {
    POSTERN_RETURN_IF_ERROR(
        db.Run("DELETE FROM approval_waiters WHERE approval_id = ? AND session_id = ? AND sidecar_id = ?", if_last.id(),
               waiter.session_id, waiter.sidecar_id));
    // Somebody who never waited takes nothing away from those who do.
    const bool removed = db.changes() == 1;
    Statement others = db.Prepare("SELECT 1 FROM approval_waiters WHERE approval_id = ? LIMIT 1");
    const bool others_wait = others.BindAll(if_last.id()).Step();
    POSTERN_RETURN_IF_ERROR(others.status());
    if (removed && !others_wait) POSTERN_RETURN_IF_ERROR(ReplaceApproval(db, if_last));
    POSTERN_ASSIGN_OR_RETURN(result, ReadById(db, if_last.id()));
    return absl::OkStatus();
  }));
  return *std::move(result);
}

}  // namespace postern::store
