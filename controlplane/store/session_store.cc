#include "controlplane/store/session_store.h"

#include <set>

#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/status_macros.h"
#include "common/base/timestamps.h"
#include "controlplane/store/rows.h"
#include "fmt/format.h"

namespace postern::store {
namespace {

static_assert(v1::SESSION_ENDED == 2, "the SQL texts name it by number");

absl::StatusOr<v1::Session> ReadRow(const Statement& row) {
  v1::Session session;
  POSTERN_RETURN_IF_ERROR(ParseBody(row.Bytes(0), session));
  return session;
}

absl::Status SaveOne(Connection& db, const v1::Session& session) {
  if (!IsId(session.id(), kSessionPrefix)) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_SESSION_ID", "session id is not one of a session");
  }
  POSTERN_RETURN_IF_ERROR(
      db.Run("INSERT INTO sessions(id, state, agent, target, grant_id, sidecar_id, body) VALUES (?, ?, ?, ?, ?, ?, ?) "
             "ON CONFLICT (id) DO UPDATE SET state = excluded.state, body = excluded.body "
             "WHERE sessions.state <> 2 AND sessions.sidecar_id = excluded.sidecar_id",
             session.id(), session.state(), session.agent(), session.target(), session.grant_id(), session.sidecar_id(),
             Blob{session.SerializeAsString()}));
  if (db.changes() == 1) return absl::OkStatus();
  Statement owner = db.Prepare("SELECT sidecar_id FROM sessions WHERE id = ?");
  if (!owner.BindAll(session.id()).Step()) return owner.status();
  if (owner.Text(0) == session.sidecar_id()) return absl::OkStatus();  // ended before: it stays so
  return Error(absl::StatusCode::kPermissionDenied, "SESSION_NOT_YOURS",
               fmt::format("session {} is another sidecar's", session.id()));
}

absl::StatusOr<std::vector<v1::Session>> LiveOn(Connection& db, std::string_view sidecar_id) {
  Statement rows = db.Prepare("SELECT body FROM sessions WHERE sidecar_id = ? AND state <> 2");
  return ReadAll<v1::Session>(rows.BindAll(sidecar_id), ReadRow);
}

}  // namespace

absl::Status SqlSessionStore::Save(const v1::Session& session) {
  return database_.Write([&](Connection& db) { return SaveOne(db, session); });
}

absl::Status SqlSessionStore::ReplaceLive(std::string_view sidecar_id, const std::vector<v1::Session>& live,
                                          absl::Time now) {
  return database_.Write([&](Connection& db) -> absl::Status {
    std::set<std::string> still;
    for (const v1::Session& session : live) {
      v1::Session own = session;
      own.set_sidecar_id(std::string(sidecar_id));
      own.set_state(v1::SESSION_LIVE);
      POSTERN_RETURN_IF_ERROR(SaveOne(db, own));
      still.insert(own.id());
    }
    POSTERN_ASSIGN_OR_RETURN(const std::vector<v1::Session> before, LiveOn(db, sidecar_id));
    for (v1::Session session : before) {
      if (still.contains(session.id())) continue;
      session.set_state(v1::SESSION_ENDED);
      session.set_end_reason("lost");
      *session.mutable_end_time() = ToTimestamp(now);
      POSTERN_RETURN_IF_ERROR(SaveOne(db, session));
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<v1::Session> SqlSessionStore::Get(std::string_view id) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement row = reader->Prepare("SELECT body FROM sessions WHERE id = ?");
  return ReadOne<v1::Session>(row.BindAll(id), ReadRow, [&] {
    return Error(absl::StatusCode::kNotFound, "SESSION_NOT_FOUND", fmt::format("there is no session {}", id),
                 "`postern session list` shows those that you may see");
  });
}

absl::StatusOr<std::vector<v1::Session>> SqlSessionStore::List(const session::SessionFilter& filter) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Conditions where;
  if (!filter.agent.empty()) where.Add("agent = ?", filter.agent);
  if (!filter.target.empty()) where.Add("target = ?", filter.target);
  if (!filter.grant_id.empty()) where.Add("grant_id = ?", filter.grant_id);
  if (filter.live_only) where.Add("state <> 2");
  if (!filter.before_id.empty()) where.Add("id < ?", filter.before_id);
  Statement rows = reader->Prepare(fmt::format("SELECT body FROM sessions{} ORDER BY id DESC LIMIT ?", where.Clause()));
  rows.Bind(where.BindTo(rows), filter.limit);
  return ReadAll<v1::Session>(rows, ReadRow);
}

}  // namespace postern::store
