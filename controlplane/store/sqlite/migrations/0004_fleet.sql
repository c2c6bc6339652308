-- Sidecars: who was invited, who joined, with which certificates, and what they told us of their databases.

-- Join secrets as SHA-256 only; the secret itself is 256 random bits, so a plain hash tells nothing.
CREATE TABLE sidecar_invites (
  secret_hash BLOB NOT NULL PRIMARY KEY,
  name        TEXT NOT NULL,
  -- Newline-separated names of targets.
  targets     TEXT NOT NULL,
  caller      TEXT NOT NULL,
  request_id  TEXT NOT NULL,
  create_time INTEGER NOT NULL,
  expire_time INTEGER NOT NULL,
  -- The sidecar that it became; NULL while it may still be used.
  sidecar_id  TEXT
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX sidecar_invites_request ON sidecar_invites (caller, request_id) WHERE request_id <> '';
CREATE INDEX sidecar_invites_expire ON sidecar_invites (expire_time);

CREATE TABLE sidecars (
  id               TEXT NOT NULL PRIMARY KEY,
  -- postern.v1.Sidecar without what other columns say.
  body             BLOB NOT NULL,
  last_seen_time   INTEGER,
  applied_revision INTEGER NOT NULL,
  revoke_time      INTEGER,
  revoke_reason    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Every certificate that was issued and has not expired. One that is not in here is refused, whoever signed it.
CREATE TABLE sidecar_certificates (
  -- SHA-256 of the DER.
  fingerprint    BLOB NOT NULL PRIMARY KEY,
  sidecar_id     TEXT NOT NULL REFERENCES sidecars (id),
  generation     INTEGER NOT NULL,
  expire_time    INTEGER NOT NULL,
  -- When a stream was first opened with it. A renewal by an older one after this exposes a clone.
  first_use_time INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX sidecar_certificates_generation ON sidecar_certificates (sidecar_id, generation);
CREATE INDEX sidecar_certificates_expire ON sidecar_certificates (expire_time);

-- The latest catalog of each database, as sidecars published it.
CREATE TABLE catalogs (
  target    TEXT NOT NULL,
  database  TEXT NOT NULL,
  read_time INTEGER NOT NULL,
  -- postern.v1.CatalogSnapshot.
  body      BLOB NOT NULL,
  PRIMARY KEY (target, database)
) STRICT, WITHOUT ROWID;
