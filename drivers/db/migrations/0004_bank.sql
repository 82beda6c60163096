-- Orders to pay out over rails, of which those that wait are the outbox; and what operators have to
-- agree on.

CREATE TABLE payouts (
    id       BIGINT NOT NULL PRIMARY KEY,
    account  BIGINT NOT NULL,
    amount   BIGINT NOT NULL CHECK (amount > 0),
    hold     BYTEA  NOT NULL,
    rail     TEXT   NOT NULL,
    currency TEXT   NOT NULL,
    money    BIGINT NOT NULL CHECK (money > 0),
    pay_to   TEXT   NOT NULL,
    state    TEXT   NOT NULL CHECK (state IN ('waiting', 'paid', 'refused')),
    asked    BIGINT NOT NULL,
    ended    BIGINT,
    answer   TEXT
);
CREATE INDEX payouts_by_account ON payouts (account, id);
CREATE INDEX payouts_waiting ON payouts (id) WHERE state = 'waiting';
CREATE INDEX payouts_by_time ON payouts (asked);

CREATE TABLE proposals (
    id         BIGINT NOT NULL PRIMARY KEY,
    what       TEXT   NOT NULL CHECK (what IN ('mint', 'approvals')),
    account    BIGINT,
    amount     BIGINT,
    why        TEXT,
    approvals  BIGINT,
    agreed     BYTEA  NOT NULL, -- packed
    needed     BIGINT NOT NULL,
    proposed   BIGINT NOT NULL,
    expires    BIGINT NOT NULL,
    state      TEXT   NOT NULL CHECK (state IN ('open', 'done', 'refused', 'expired')),
    refused_by BIGINT,
    ended      BIGINT
);
CREATE INDEX proposals_open ON proposals (id) WHERE state = 'open';
CREATE INDEX proposals_of_rules ON proposals (id) WHERE what = 'approvals' AND state = 'done';
