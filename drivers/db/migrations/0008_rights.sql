-- Who may do what, and what was done about it: the audit log, the keys of accounts, and by which
-- ticket a host came.

-- Append-only. Only `account` is looked for; the rest is in the record.
CREATE TABLE audit (
    seq     BIGINT NOT NULL PRIMARY KEY,
    account BIGINT,
    at      BIGINT NOT NULL,
    own     BYTEA,
    hash    BYTEA  NOT NULL,
    packed  BYTEA  NOT NULL -- packed: who, what, and the ledger's last transfer
);
CREATE INDEX audit_by_account ON audit (account, seq);

CREATE TABLE keys (
    key     BYTEA  NOT NULL PRIMARY KEY,
    account BIGINT NOT NULL,
    label   TEXT   NOT NULL,
    added   BIGINT NOT NULL,
    removed BIGINT,
    packed  BYTEA  NOT NULL -- packed: what for, and what it allows
);
CREATE INDEX keys_by_account ON keys (account);

CREATE TABLE keyrings (
    account     BIGINT NOT NULL PRIMARY KEY,
    void_before BIGINT NOT NULL,
    asked       BYTEA -- packed
);

ALTER TABLE hosts ADD COLUMN ticket BYTEA; -- packed; none of its ids if it is missing
ALTER TABLE hosts ADD COLUMN no_work BOOLEAN NOT NULL DEFAULT FALSE; -- its ticket was revoked
ALTER TABLE hosts ADD COLUMN successor BYTEA; -- the key that took its place
