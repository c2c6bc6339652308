#include "controlplane/store/policy_store.h"

#include <limits>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/timestamps.h"
#include "controlplane/store/rows.h"
#include "fmt/format.h"

namespace postern::store {
namespace {

absl::StatusOr<v1::PolicyRevision> ReadRow(const Statement& row) {
  v1::PolicyRevision revision;
  POSTERN_RETURN_IF_ERROR(ParseBody(row.Bytes(0), revision));
  return revision;
}

}  // namespace

absl::StatusOr<v1::PolicyRevision> SqlPolicyStore::Latest() const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement row = reader->Prepare("SELECT body FROM policy_revisions ORDER BY revision DESC LIMIT 1");
  return ReadOne<v1::PolicyRevision>(row, ReadRow, [] { return v1::PolicyRevision(); });
}

absl::StatusOr<v1::PolicyRevision> SqlPolicyStore::Get(int64_t revision) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement row = reader->Prepare("SELECT body FROM policy_revisions WHERE revision = ?");
  return ReadOne<v1::PolicyRevision>(row.BindAll(revision), ReadRow, [&] {
    return Error(absl::StatusCode::kNotFound, "POLICY_REVISION_NOT_FOUND",
                 fmt::format("there is no policy revision {}", revision), "`postern policy history` lists them");
  });
}

absl::StatusOr<v1::PolicyRevision> SqlPolicyStore::Append(v1::PolicyRevision next, int64_t seen) {
  next.set_revision(seen + 1);
  next.mutable_set()->set_revision(seen + 1);
  POSTERN_RETURN_IF_ERROR(database_.Write([&](Connection& db) -> absl::Status {
    Statement latest = db.Prepare("SELECT coalesce(max(revision), 0) FROM policy_revisions");
    if (!latest.Step()) return latest.status();
    if (latest.Int(0) != seen) {
      return Error(absl::StatusCode::kAborted, "STALE_REVISION",
                   fmt::format("policy revision {} is in force, not {}", latest.Int(0), seen),
                   "look at the change that came between, then apply again");
    }
    return db.Run("INSERT INTO policy_revisions(revision, digest, create_time, body) VALUES (?, ?, ?, ?)",
                  next.revision(), next.digest(), FromTimestamp(next.create_time()), Blob{next.SerializeAsString()});
  }));
  return next;
}

absl::StatusOr<std::vector<v1::PolicyRevision>> SqlPolicyStore::List(int64_t before, int limit) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement rows =
      reader->Prepare("SELECT body FROM policy_revisions WHERE revision < ? ORDER BY revision DESC LIMIT ?");
  rows.BindAll(before == 0 ? std::numeric_limits<int64_t>::max() : before, limit);
  POSTERN_ASSIGN_OR_RETURN(std::vector<v1::PolicyRevision> all, ReadAll<v1::PolicyRevision>(rows, ReadRow));
  for (v1::PolicyRevision& revision : all) {
    revision.clear_documents();
    revision.clear_set();
  }
  return all;
}

}  // namespace postern::store
