#include "controlplane/store/audit_store.h"

#include <utility>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "controlplane/store/rows.h"
#include "fmt/format.h"
#include "google/protobuf/util/time_util.h"

namespace postern::store {
namespace {

using audit::ChainHead;
using audit::Digest;
using audit::Frontier;
using audit::Leaf;
using google::protobuf::util::TimeUtil;

absl::Status Corrupt(std::string_view what) {
  return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT", fmt::format("the store is damaged: {}", what),
               "restore the data folder from a backup, and compare it with a checkpoint that was kept");
}

absl::StatusOr<Frontier> ReadTree(Connection& db) {
  Statement row = db.Prepare("SELECT size, frontier FROM audit_tree WHERE id = 1");
  if (row.Step()) return Frontier::Parse(row.Int(0), row.Bytes(1));
  POSTERN_RETURN_IF_ERROR(row.status());
  return Corrupt("the audit log has no tree");
}

absl::StatusOr<std::optional<ChainHead>> ReadHead(Statement row) {
  if (row.Step()) return ChainHead{.epoch = row.Text(0), .sequence = row.Int(1), .chain_hash = row.Bytes(2)};
  POSTERN_RETURN_IF_ERROR(row.status());
  return std::nullopt;
}

class SqlChange : public audit::AuditStore::Change {
 public:
  explicit SqlChange(Connection& db) : db_(db) {}

  absl::StatusOr<Frontier> Tree() override { return ReadTree(db_); }

  absl::StatusOr<std::optional<ChainHead>> Head(std::string_view writer, std::string_view epoch) override {
    Statement row = db_.Prepare("SELECT epoch, sequence, chain_hash FROM audit_chains WHERE writer = ? AND epoch = ?");
    row.BindAll(writer, epoch);
    return ReadHead(std::move(row));
  }

  absl::StatusOr<std::optional<ChainHead>> NewestHead(std::string_view writer) override {
    Statement row = db_.Prepare(
        "SELECT epoch, sequence, chain_hash FROM audit_chains WHERE writer = ? ORDER BY first_leaf DESC LIMIT 1");
    row.BindAll(writer);
    return ReadHead(std::move(row));
  }

  absl::StatusOr<std::string> ChainHashAt(std::string_view writer, std::string_view epoch, int64_t sequence) override {
    Statement row = db_.Prepare("SELECT chain_hash FROM audit_leaves WHERE writer = ? AND epoch = ? AND sequence = ?");
    row.BindAll(writer, epoch, sequence);
    if (row.Step()) return row.Bytes(0);
    POSTERN_RETURN_IF_ERROR(row.status());
    return Corrupt(fmt::format("record {} of writer {} (epoch {}) is not in the audit log", sequence, writer, epoch));
  }

  absl::Status Append(const Leaf& leaf) override {
    const v1::ChainedRecord& chained = leaf.logged.chained();
    const v1::AuditRecord& record = leaf.parsed;
    const int64_t index = leaf.logged.leaf_index();
    POSTERN_RETURN_IF_ERROR(
        db_.Run("INSERT INTO audit_leaves(leaf, writer, epoch, sequence, ingest_time, chain_hash, record_hash, "
                "leaf_hash, record,"
                " kind, time, agent, on_behalf_of, grant_id, session_id, approval_id, target, decision)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                index, chained.writer(), chained.epoch(), chained.sequence(),
                TimeUtil::TimestampToMicroseconds(leaf.logged.ingest_time()), Blob{chained.chain_hash()},
                Blob{audit::View(leaf.record_hash)}, Blob{audit::View(leaf.leaf_hash)}, Blob{chained.record()},
                record.kind(), TimeUtil::TimestampToMicroseconds(record.time()), record.agent(), record.on_behalf_of(),
                record.grant_id(), record.session_id(), record.approval_id(), record.target(), record.decision()));
    for (const std::string& relation : audit::RelationsOf(record)) {
      POSTERN_RETURN_IF_ERROR(db_.Run("INSERT INTO audit_relations(relation, leaf) VALUES (?, ?)", relation, index));
    }
    return absl::OkStatus();
  }

  absl::Status SetHead(std::string_view writer, const ChainHead& head, int64_t first_leaf) override {
    return db_.Run(
        "INSERT INTO audit_chains(writer, epoch, first_leaf, sequence, chain_hash) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (writer, epoch) DO UPDATE SET sequence = excluded.sequence, chain_hash = excluded.chain_hash",
        writer, head.epoch, first_leaf, head.sequence, Blob{head.chain_hash});
  }

  absl::Status SetTree(const Frontier& tree) override {
    return db_.Run("UPDATE audit_tree SET size = ?, frontier = ? WHERE id = 1", tree.size(), Blob{tree.Serialize()});
  }

 private:
  Connection& db_;
};

// What SQL can decide of a filter; Find() looks at the record itself for the rest.
Conditions ToConditions(EngineKind engine, const v1::AuditFilter& filter, const audit::AuditStore::Range& range) {
  Conditions where;
  where.Add("leaf >= ?", range.from);
  where.Add("leaf < ?", range.end);
  if (!filter.agent().empty()) where.Add("agent <> '' AND agent = ?", filter.agent());
  if (!filter.on_behalf_of().empty()) where.Add("on_behalf_of = ?", filter.on_behalf_of());
  if (!filter.grant_id().empty()) where.Add("grant_id <> '' AND grant_id = ?", filter.grant_id());
  if (!filter.session_id().empty()) where.Add("session_id <> '' AND session_id = ?", filter.session_id());
  if (!filter.approval_id().empty()) where.Add("approval_id <> '' AND approval_id = ?", filter.approval_id());
  if (!filter.target().empty()) where.Add("target = ?", filter.target());
  if (!filter.decision().empty()) where.Add("decision = ?", filter.decision());
  if (filter.kind() != v1::AUDIT_KIND_UNSPECIFIED) where.Add("kind = ?", static_cast<int64_t>(filter.kind()));
  if (filter.has_since()) where.Add("time >= ?", TimeUtil::TimestampToMicroseconds(filter.since()));
  if (filter.has_until()) where.Add("time < ?", TimeUtil::TimestampToMicroseconds(filter.until()));
  if (!filter.relation().empty()) {
    where.Add("leaf IN (SELECT leaf FROM audit_relations WHERE relation = ?)", filter.relation());
  }
  // The statement stands in the record as it is: whoever does not contain the text there does not contain it at all.
  if (!filter.text().empty()) {
    where.Add(engine == EngineKind::kSqlite ? "instr(record, CAST(? AS BLOB)) > 0" : "position(?::bytea IN record) > 0",
              filter.text());
  }
  return where;
}

// Columns as Find() selects them.
v1::LoggedRecord ReadRecord(const Statement& row) {
  v1::LoggedRecord logged;
  logged.set_leaf_index(row.Int(0));
  v1::ChainedRecord& chained = *logged.mutable_chained();
  chained.set_writer(row.Text(1));
  chained.set_epoch(row.Text(2));
  chained.set_sequence(row.Int(3));
  *logged.mutable_ingest_time() = TimeUtil::MicrosecondsToTimestamp(row.Int(4));
  chained.set_chain_hash(row.Bytes(5));
  if (row.IsNull(7)) {
    logged.set_record_hash(row.Bytes(6));
  } else {
    chained.set_record(row.Bytes(7));
  }
  return logged;
}

bool HasText(const v1::LoggedRecord& logged, const std::string& text) {
  v1::AuditRecord record;
  return record.ParseFromString(logged.chained().record()) && record.sql().find(text) != std::string::npos;
}

}  // namespace

absl::Status SqlAuditStore::Write(const std::function<absl::Status(Change&)>& change) {
  return database_.Write([&change](Connection& db) {
    SqlChange rows(db);
    return change(rows);
  });
}

absl::StatusOr<Frontier> SqlAuditStore::Tree() const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  return ReadTree(*reader);
}

absl::StatusOr<std::vector<v1::LoggedRecord>> SqlAuditStore::Find(const v1::AuditFilter& filter,
                                                                  const Range& range) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  std::vector<v1::LoggedRecord> found;
  Range rest = range;
  size_t bytes = 0;
  // In pieces: a record may have the text in another field than its statement, so that SQL finds too many.
  for (bool more = true; more && static_cast<int>(found.size()) < range.limit;) {
    const int wanted = range.limit - static_cast<int>(found.size());
    const Conditions where = ToConditions(reader->kind(), filter, rest);
    Statement rows = reader->Prepare(fmt::format(
        "SELECT leaf, writer, epoch, sequence, ingest_time, chain_hash, record_hash, record FROM audit_leaves{}"
        " ORDER BY leaf {} LIMIT ?",
        where.Clause(), range.ascending ? "ASC" : "DESC"));
    rows.Bind(where.BindTo(rows), wanted);
    int read = 0;
    for (; rows.Step(); ++read) {
      v1::LoggedRecord logged = ReadRecord(rows);
      (range.ascending ? rest.from : rest.end) = range.ascending ? logged.leaf_index() + 1 : logged.leaf_index();
      if (!filter.text().empty() && !HasText(logged, filter.text())) continue;
      bytes += logged.ByteSizeLong();
      found.push_back(std::move(logged));
      if (bytes > range.most_bytes) return found;
    }
    POSTERN_RETURN_IF_ERROR(rows.status());
    more = read == wanted;
  }
  return found;
}

absl::StatusOr<std::vector<Digest>> SqlAuditStore::LeafHashes(int64_t from, int64_t end) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement rows = reader->Prepare("SELECT leaf_hash FROM audit_leaves WHERE leaf >= ? AND leaf < ? ORDER BY leaf");
  rows.BindAll(from, end);
  std::vector<Digest> hashes;
  while (rows.Step()) {
    const auto hash = audit::ToDigest(rows.Bytes(0));
    if (!hash) return Corrupt("a leaf hash of the audit log does not have 32 bytes");
    hashes.push_back(*hash);
  }
  POSTERN_RETURN_IF_ERROR(rows.status());
  return hashes;
}

absl::Status SqlAuditStore::AddCheckpoint(const v1::Checkpoint& checkpoint) {
  return database_.Write([&checkpoint](Connection& db) {
    return db.Run("INSERT INTO audit_checkpoints(tree_size, body) VALUES (?, ?) ON CONFLICT (tree_size) DO NOTHING",
                  checkpoint.tree_size(), Blob{checkpoint.SerializeAsString()});
  });
}

absl::StatusOr<std::optional<v1::Checkpoint>> SqlAuditStore::LatestCheckpoint() const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement row = reader->Prepare("SELECT body FROM audit_checkpoints ORDER BY tree_size DESC LIMIT 1");
  if (row.Step()) {
    v1::Checkpoint checkpoint;
    POSTERN_RETURN_IF_ERROR(ParseBody(row.Bytes(0), checkpoint));
    return checkpoint;
  }
  POSTERN_RETURN_IF_ERROR(row.status());
  return std::nullopt;
}

absl::StatusOr<std::vector<v1::Checkpoint>> SqlAuditStore::Checkpoints(int64_t after, int64_t upto) const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement rows =
      reader->Prepare("SELECT body FROM audit_checkpoints WHERE tree_size > ? AND tree_size <= ? ORDER BY tree_size");
  rows.BindAll(after, upto);
  return ReadAll<v1::Checkpoint>(rows, [](Statement& row) -> absl::StatusOr<v1::Checkpoint> {
    v1::Checkpoint checkpoint;
    POSTERN_RETURN_IF_ERROR(ParseBody(row.Bytes(0), checkpoint));
    return checkpoint;
  });
}

absl::Status SqlAuditStore::AddKey(const v1::AuditKey& key, absl::Time now) {
  return database_.Write([&](Connection& db) {
    return db.Run(
        "INSERT INTO audit_keys(key_id, public_key_pem, create_time) VALUES (?, ?, ?)"
        " ON CONFLICT (key_id) DO NOTHING",
        key.key_id(), key.public_key_pem(), now);
  });
}

absl::StatusOr<std::vector<v1::AuditKey>> SqlAuditStore::Keys() const {
  POSTERN_ASSIGN_OR_RETURN(Database::Reader reader, database_.Read());
  Statement rows = reader->Prepare("SELECT key_id, public_key_pem FROM audit_keys ORDER BY create_time, key_id");
  return ReadAll<v1::AuditKey>(rows, [](Statement& row) -> absl::StatusOr<v1::AuditKey> {
    v1::AuditKey key;
    key.set_key_id(row.Text(0));
    key.set_public_key_pem(row.Text(1));
    return key;
  });
}

}  // namespace postern::store
