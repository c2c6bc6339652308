-- Who may call: accounts with their keys, identity providers, roles of groups. `body` is the serialized message of
-- postern.v1; the columns beside it are those that queries need.

CREATE TABLE accounts (
  id      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  -- Counts writes, from 1; the etag is made of it.
  version BIGINT NOT NULL,
  body    BYTEA NOT NULL
);

CREATE TABLE identity_providers (
  name   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  -- Several providers may share an issuer and differ in the claims that they require.
  issuer TEXT COLLATE "C" NOT NULL,
  body   BYTEA NOT NULL
);
CREATE INDEX identity_providers_issuer ON identity_providers (issuer);

CREATE TABLE role_bindings (
  member_group TEXT COLLATE "C" NOT NULL,
  role         TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (member_group, role)
);
