-- Who may call: accounts with their keys, identity providers, roles of groups. `body` is the serialized message of
-- postern.v1; the columns beside it are those that queries need.

CREATE TABLE accounts (
  id      TEXT NOT NULL PRIMARY KEY,
  -- Counts writes, from 1; the etag is made of it.
  version INTEGER NOT NULL,
  body    BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE identity_providers (
  name   TEXT NOT NULL PRIMARY KEY,
  -- Several providers may share an issuer and differ in the claims that they require.
  issuer TEXT NOT NULL,
  body   BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX identity_providers_issuer ON identity_providers (issuer);

CREATE TABLE role_bindings (
  member_group TEXT NOT NULL,
  role         TEXT NOT NULL,
  PRIMARY KEY (member_group, role)
) STRICT, WITHOUT ROWID;
