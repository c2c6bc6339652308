-- The audit log: docs/formats/audit-log.md. Times are microseconds since 1970.

-- One row per record, in the order of the Merkle tree's leaves. Rows are only ever added; retention may set `record` to
-- NULL, the hashes stay.
CREATE TABLE audit_leaves (
  leaf         BIGINT NOT NULL PRIMARY KEY,
  writer       TEXT COLLATE "C" NOT NULL,
  epoch        TEXT COLLATE "C" NOT NULL,
  sequence     BIGINT NOT NULL,
  ingest_time  BIGINT NOT NULL,
  chain_hash   BYTEA NOT NULL,
  record_hash  BYTEA NOT NULL,
  leaf_hash    BYTEA NOT NULL,
  -- Serialized postern.v1.AuditRecord.
  record       BYTEA,
  -- Copies of the record's fields that queries filter by.
  kind         BIGINT NOT NULL,
  time         BIGINT NOT NULL,
  agent        TEXT COLLATE "C" NOT NULL,
  on_behalf_of TEXT COLLATE "C" NOT NULL,
  grant_id     TEXT COLLATE "C" NOT NULL,
  session_id   TEXT COLLATE "C" NOT NULL,
  approval_id  TEXT COLLATE "C" NOT NULL,
  target       TEXT COLLATE "C" NOT NULL,
  decision     TEXT COLLATE "C" NOT NULL
);
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
  relation TEXT COLLATE "C" NOT NULL,
  leaf     BIGINT NOT NULL REFERENCES audit_leaves (leaf),
  PRIMARY KEY (relation, leaf)
);

-- Where each writer's chain stands.
CREATE TABLE audit_chains (
  writer     TEXT COLLATE "C" NOT NULL,
  epoch      TEXT COLLATE "C" NOT NULL,
  first_leaf BIGINT NOT NULL,
  sequence   BIGINT NOT NULL,
  chain_hash BYTEA NOT NULL,
  PRIMARY KEY (writer, epoch)
);

-- The Merkle tree's right edge: hashes of its perfect subtrees, the largest first.
CREATE TABLE audit_tree (
  id       BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
  size     BIGINT NOT NULL,
  frontier BYTEA NOT NULL
);
INSERT INTO audit_tree (id, size, frontier) VALUES (1, 0, '');

-- Signed tree heads: serialized postern.v1.Checkpoint.
CREATE TABLE audit_checkpoints (
  tree_size BIGINT NOT NULL PRIMARY KEY,
  body      BYTEA NOT NULL
);

-- Every public key that checkpoints were signed with.
CREATE TABLE audit_keys (
  key_id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  public_key_pem TEXT COLLATE "C" NOT NULL,
  create_time    BIGINT NOT NULL
);
