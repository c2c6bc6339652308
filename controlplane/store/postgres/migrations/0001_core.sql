-- Grants, approvals, policy, targets, sessions, keys. Times are microseconds since 1970. `body` is the serialized
-- message of postern.v1 that the row is about; the columns beside it are those that queries need.

CREATE TABLE grants (
  id             TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  agent          TEXT COLLATE "C" NOT NULL,
  -- Person or group that answers for the agent, as it was when the grant was made.
  owner          TEXT COLLATE "C" NOT NULL,
  target         TEXT COLLATE "C" NOT NULL,
  state          BIGINT NOT NULL,
  -- NULL until it is active for the first time.
  expire_time    BIGINT,
  -- Lifetime that was granted; the clock starts when it becomes active.
  ttl_seconds    BIGINT NOT NULL,
  request_id     TEXT COLLATE "C" NOT NULL,
  request_digest BYTEA NOT NULL,
  version        BIGINT NOT NULL,
  body           BYTEA NOT NULL
);
CREATE UNIQUE INDEX grants_request ON grants (agent, request_id);
CREATE INDEX grants_target ON grants (target, id);
CREATE INDEX grants_state ON grants (state, expire_time);

CREATE TABLE approvals (
  id       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  kind     BIGINT NOT NULL,
  state    BIGINT NOT NULL,
  agent    TEXT COLLATE "C" NOT NULL,
  -- Person or group that answers for the agent, as it was when the approval was opened.
  owner    TEXT COLLATE "C" NOT NULL,
  grant_id TEXT COLLATE "C" NOT NULL,
  digest   BYTEA NOT NULL,
  -- When it expires if nothing happens; NULL once nothing can.
  deadline BIGINT,
  version  BIGINT NOT NULL,
  body     BYTEA NOT NULL
);
-- One approval at a time for one thing (state 1 is PENDING, kind 2 STATEMENT): a repeat joins it.
CREATE UNIQUE INDEX approvals_pending ON approvals (grant_id, digest) WHERE state = 1 AND kind = 2;
CREATE INDEX approvals_state ON approvals (state, id);
CREATE INDEX approvals_grant ON approvals (grant_id);
CREATE INDEX approvals_deadline ON approvals (deadline) WHERE deadline IS NOT NULL;

-- Sessions that hold a statement for the same approval.
CREATE TABLE approval_waiters (
  approval_id TEXT COLLATE "C" NOT NULL REFERENCES approvals (id),
  session_id  TEXT COLLATE "C" NOT NULL,
  sidecar_id  TEXT COLLATE "C" NOT NULL,
  -- The sidecar's id for its request: a retry finds what it made, also when it is decided by then.
  request_id  TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (approval_id, session_id)
);
CREATE INDEX approval_waiters_request ON approval_waiters (sidecar_id, request_id);

CREATE TABLE policy_revisions (
  revision    BIGINT NOT NULL PRIMARY KEY,
  digest      TEXT COLLATE "C" NOT NULL,
  create_time BIGINT NOT NULL,
  body        BYTEA NOT NULL
);

CREATE TABLE targets (
  name            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  version         BIGINT NOT NULL,
  body            BYTEA NOT NULL,
  -- Sealed under the key-encryption key. Never returned.
  sealed_password BYTEA NOT NULL,
  sealed_mask_key BYTEA NOT NULL
);

CREATE TABLE sessions (
  id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  state      BIGINT NOT NULL,
  agent      TEXT COLLATE "C" NOT NULL,
  target     TEXT COLLATE "C" NOT NULL,
  grant_id   TEXT COLLATE "C" NOT NULL,
  sidecar_id TEXT COLLATE "C" NOT NULL,
  body       BYTEA NOT NULL
);
CREATE INDEX sessions_agent ON sessions (agent, id);
CREATE INDEX sessions_target ON sessions (target, id);
CREATE INDEX sessions_grant ON sessions (grant_id);
CREATE INDEX sessions_live ON sessions (sidecar_id, id) WHERE state <> 2;

-- Answers to mutations, so that a repeated request_id is answered and not done again.
CREATE TABLE request_ids (
  caller      TEXT COLLATE "C" NOT NULL,
  method      TEXT COLLATE "C" NOT NULL,
  request_id  TEXT COLLATE "C" NOT NULL,
  digest      BYTEA NOT NULL,
  response    BYTEA NOT NULL,
  expire_time BIGINT NOT NULL,
  PRIMARY KEY (caller, method, request_id)
);
CREATE INDEX request_ids_expire ON request_ids (expire_time);

-- Private keys of the control plane itself: token signing, audit checkpoints, the internal CA.
CREATE TABLE service_keys (
  id             TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  -- 'token', 'audit' or 'ca'.
  purpose        TEXT COLLATE "C" NOT NULL,
  -- Public key PEM; for 'ca' the certificate.
  public_pem     TEXT COLLATE "C" NOT NULL,
  sealed_private BYTEA NOT NULL,
  create_time    BIGINT NOT NULL,
  retire_time    BIGINT
);
CREATE INDEX service_keys_purpose ON service_keys (purpose, create_time);
