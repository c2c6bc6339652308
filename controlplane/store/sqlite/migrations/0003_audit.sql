-- The audit log: docs/formats/audit-log.md. Times are microseconds since 1970.

-- One row per record, in the order of the Merkle tree's leaves. Rows are only ever added; retention may set `record` to
-- NULL, the hashes stay.
CREATE TABLE audit_leaves (
  leaf         INTEGER NOT NULL PRIMARY KEY,
  writer       TEXT NOT NULL,
  epoch        TEXT NOT NULL,
  sequence     INTEGER NOT NULL,
  ingest_time  INTEGER NOT NULL,
  chain_hash   BLOB NOT NULL,
  record_hash  BLOB NOT NULL,
  leaf_hash    BLOB NOT NULL,
  -- Serialized postern.v1.AuditRecord.
  record       BLOB,
  -- Copies of the record's fields that queries filter by.
  kind         INTEGER NOT NULL,
  time         INTEGER NOT NULL,
  agent        TEXT NOT NULL,
  on_behalf_of TEXT NOT NULL,
  grant_id     TEXT NOT NULL,
  session_id   TEXT NOT NULL,
  approval_id  TEXT NOT NULL,
  target       TEXT NOT NULL,
  decision     TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX audit_leaves_chain ON audit_leaves (writer, epoch, sequence);
CREATE INDEX audit_leaves_session ON audit_leaves (session_id) WHERE session_id <> '';
CREATE INDEX audit_leaves_grant ON audit_leaves (grant_id) WHERE grant_id <> '';
CREATE INDEX audit_leaves_approval ON audit_leaves (approval_id) WHERE approval_id <> '';
CREATE INDEX audit_leaves_agent ON audit_leaves (agent) WHERE agent <> '';
-- Refusals, holds and alarms are few and often asked for (kind 7 is ALARM).
CREATE INDEX audit_leaves_decision ON audit_leaves (decision) WHERE decision <> '' AND decision <> 'allow';
CREATE INDEX audit_leaves_alarm ON audit_leaves (kind) WHERE kind = 7;

-- Relations in a record's effects, as schema.name.
CREATE TABLE audit_relations (
  relation TEXT NOT NULL,
  leaf     INTEGER NOT NULL REFERENCES audit_leaves (leaf),
  PRIMARY KEY (relation, leaf)
) STRICT, WITHOUT ROWID;

-- Where each writer's chain stands.
CREATE TABLE audit_chains (
  writer     TEXT NOT NULL,
  epoch      TEXT NOT NULL,
  first_leaf INTEGER NOT NULL,
  sequence   INTEGER NOT NULL,
  chain_hash BLOB NOT NULL,
  PRIMARY KEY (writer, epoch)
) STRICT, WITHOUT ROWID;

-- The Merkle tree's right edge: hashes of its perfect subtrees, the largest first.
CREATE TABLE audit_tree (
  id       INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  size     INTEGER NOT NULL,
  frontier BLOB NOT NULL
) STRICT;
INSERT INTO audit_tree (id, size, frontier) VALUES (1, 0, x'');

-- Signed tree heads: serialized postern.v1.Checkpoint.
CREATE TABLE audit_checkpoints (
  tree_size INTEGER NOT NULL PRIMARY KEY,
  body      BLOB NOT NULL
) STRICT;

-- Every public key that checkpoints were signed with.
CREATE TABLE audit_keys (
  key_id         TEXT NOT NULL PRIMARY KEY,
  public_key_pem TEXT NOT NULL,
  create_time    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
