-- What approvers see beside the request, what stands for a while (templates, delegations), and what webhooks are owed.

ALTER TABLE approvals ADD COLUMN preview BLOB;
-- SHA-256 over where and what, values apart: earlier approvals of the like.
ALTER TABLE approvals ADD COLUMN likeness BLOB NOT NULL DEFAULT x'';
-- When the review that a broken glass owes must have come; NULL once nothing is owed or its lack was told.
ALTER TABLE approvals ADD COLUMN review_due INTEGER;
-- 1 while a review is owed, also when it is overdue.
ALTER TABLE approvals ADD COLUMN review_owed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX approvals_likeness ON approvals (likeness, id);
CREATE INDEX approvals_review ON approvals (review_due) WHERE review_due IS NOT NULL;
CREATE INDEX approvals_owed ON approvals (review_owed, id) WHERE review_owed = 1;

CREATE TABLE approval_templates (
  id          TEXT NOT NULL PRIMARY KEY,
  -- What a request must have for it to be approved by the template.
  match_key   BLOB NOT NULL,
  expire_time INTEGER NOT NULL,
  -- 1 once it was revoked.
  revoked     INTEGER NOT NULL,
  uses        INTEGER NOT NULL,
  body        BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX approval_templates_key ON approval_templates (match_key);

CREATE TABLE delegations (
  id       TEXT NOT NULL PRIMARY KEY,
  end_time INTEGER NOT NULL,
  body     BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE webhook_deliveries (
  id          TEXT NOT NULL PRIMARY KEY,
  webhook     TEXT NOT NULL,
  event       TEXT NOT NULL,
  approval_id TEXT NOT NULL,
  -- 'waiting', 'delivered' or 'dead'.
  state       TEXT NOT NULL,
  attempts    INTEGER NOT NULL,
  create_time INTEGER NOT NULL,
  next_time   INTEGER NOT NULL,
  last_error  TEXT NOT NULL,
  payload     BLOB NOT NULL
) STRICT, WITHOUT ROWID;
-- An event is owed to a receiver once, however often it is noticed.
CREATE UNIQUE INDEX webhook_deliveries_once ON webhook_deliveries (webhook, approval_id, event);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (state, next_time);
