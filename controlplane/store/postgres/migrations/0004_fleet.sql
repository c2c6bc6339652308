-- Sidecars: who was invited, who joined, with which certificates, and what they told us of their databases.

-- Join secrets as SHA-256 only; the secret itself is 256 random bits, so a plain hash tells nothing.
CREATE TABLE sidecar_invites (
  secret_hash BYTEA NOT NULL PRIMARY KEY,
  name        TEXT COLLATE "C" NOT NULL,
  -- Newline-separated names of targets.
  targets     TEXT COLLATE "C" NOT NULL,
  caller      TEXT COLLATE "C" NOT NULL,
  request_id  TEXT COLLATE "C" NOT NULL,
  create_time BIGINT NOT NULL,
  expire_time BIGINT NOT NULL,
  -- The sidecar that it became; NULL while it may still be used.
  sidecar_id  TEXT COLLATE "C"
);
CREATE UNIQUE INDEX sidecar_invites_request ON sidecar_invites (caller, request_id) WHERE request_id <> '';
CREATE INDEX sidecar_invites_expire ON sidecar_invites (expire_time);

CREATE TABLE sidecars (
  id               TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  -- postern.v1.Sidecar without what other columns say.
  body             BYTEA NOT NULL,
  last_seen_time   BIGINT,
  applied_revision BIGINT NOT NULL,
  revoke_time      BIGINT,
  revoke_reason    TEXT COLLATE "C" NOT NULL
);

-- Every certificate that was issued and has not expired. One that is not in here is refused, whoever signed it.
CREATE TABLE sidecar_certificates (
  -- SHA-256 of the DER.
  fingerprint    BYTEA NOT NULL PRIMARY KEY,
  sidecar_id     TEXT COLLATE "C" NOT NULL REFERENCES sidecars (id),
  generation     BIGINT NOT NULL,
  expire_time    BIGINT NOT NULL,
  -- When a stream was first opened with it. A renewal by an older one after this exposes a clone.
  first_use_time BIGINT
);
CREATE UNIQUE INDEX sidecar_certificates_generation ON sidecar_certificates (sidecar_id, generation);
CREATE INDEX sidecar_certificates_expire ON sidecar_certificates (expire_time);

-- The latest catalog of each database, as sidecars published it.
CREATE TABLE catalogs (
  target    TEXT COLLATE "C" NOT NULL,
  database  TEXT COLLATE "C" NOT NULL,
  read_time BIGINT NOT NULL,
  -- postern.v1.CatalogSnapshot.
  body      BYTEA NOT NULL,
  PRIMARY KEY (target, database)
);
