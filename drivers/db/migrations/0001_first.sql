-- Everything that a complex keeps. Shapes: base/src/record.rs.
--
-- Written in the words of PostgreSQL. For SQLite, BIGINT becomes INTEGER, BYTEA becomes BLOB,
-- BOOLEAN becomes INTEGER, and each table is STRICT (src/schema.rs).
--
-- Times are microseconds since 1970, money is micro-credits. A BYTEA marked "packed" is a version
-- byte and postcard behind it. There are no foreign keys: the kernel decides, in its order, and one
-- transaction holds all changes of a step.

CREATE TABLE accounts (
    id              BIGINT NOT NULL PRIMARY KEY,
    name            TEXT   NOT NULL UNIQUE,
    key             BYTEA,
    debits_pending  BIGINT NOT NULL CHECK (debits_pending >= 0),
    debits_posted   BIGINT NOT NULL CHECK (debits_posted >= 0),
    credits_pending BIGINT NOT NULL CHECK (credits_pending >= 0),
    credits_posted  BIGINT NOT NULL CHECK (credits_posted >= 0)
);
CREATE INDEX accounts_by_key ON accounts (key);

CREATE TABLE hosts (
    id      BYTEA  NOT NULL PRIMARY KEY,
    account BIGINT NOT NULL,
    name    TEXT   NOT NULL,
    good    BIGINT NOT NULL,
    bad     BIGINT NOT NULL,
    lost    BIGINT NOT NULL,
    barred  TEXT,
    joined  BIGINT NOT NULL,
    seen    BIGINT NOT NULL,
    spec    BYTEA  NOT NULL -- packed
);
CREATE INDEX hosts_by_account ON hosts (account, id);

CREATE TABLE jobs (
    id        BIGINT NOT NULL PRIMARY KEY,
    account   BIGINT NOT NULL,
    name      TEXT   NOT NULL,
    tasks     BIGINT NOT NULL,
    state     TEXT   NOT NULL CHECK (state IN ('active', 'done', 'failed', 'cancelled')),
    price     BIGINT NOT NULL,
    hold      BYTEA  NOT NULL,
    submitted BIGINT NOT NULL,
    ended     BIGINT,
    spent     BIGINT NOT NULL,
    done      BIGINT NOT NULL,
    failed    BIGINT NOT NULL,
    given_up  BIGINT NOT NULL,
    why       TEXT, -- why the tasks without a result were given up, all at once
    spec      BYTEA  NOT NULL -- packed
);
CREATE INDEX jobs_by_account ON jobs (account, id);
CREATE INDEX jobs_active ON jobs (id) WHERE state = 'active';

-- Two bits a task, 4,096 tasks a row.
CREATE TABLE states (
    job   BIGINT NOT NULL,
    chunk BIGINT NOT NULL,
    bits  BYTEA  NOT NULL,
    PRIMARY KEY (job, chunk)
);

CREATE TABLE leases (
    id         BIGINT NOT NULL PRIMARY KEY,
    job        BIGINT NOT NULL,
    host       BYTEA  NOT NULL,
    account    BIGINT NOT NULL,
    state      TEXT   NOT NULL CHECK (state IN ('open', 'returned', 'settled')),
    deadline   BIGINT NOT NULL,
    accepted   BIGINT NOT NULL,
    rejected   BIGINT NOT NULL,
    fuel       BIGINT NOT NULL,
    bill       BIGINT,
    next_votes BIGINT NOT NULL,
    ranges     BYTEA  NOT NULL -- packed
);
CREATE INDEX leases_by_job ON leases (job, id);
CREATE INDEX leases_open ON leases (id) WHERE state <> 'settled';
CREATE INDEX leases_by_host ON leases (host, id);

-- What a job owes an account for some leases; "posted" once the money has moved.
CREATE TABLE bills (
    id      BIGINT NOT NULL PRIMARY KEY,
    job     BIGINT NOT NULL,
    account BIGINT NOT NULL,
    leases  BIGINT NOT NULL,
    tasks   BIGINT NOT NULL,
    fuel    BIGINT NOT NULL,
    price   BIGINT NOT NULL,
    opened  BIGINT NOT NULL,
    posted  BIGINT,
    charged BIGINT NOT NULL,
    paid    BIGINT NOT NULL,
    fee     BIGINT NOT NULL
);
CREATE INDEX bills_open ON bills (id) WHERE posted IS NULL;

-- Accepted results, appended in batches; first_task and last_task bound the tasks of a batch.
CREATE TABLE results (
    job        BIGINT NOT NULL,
    batch      BIGINT NOT NULL,
    first_task BIGINT NOT NULL,
    last_task  BIGINT NOT NULL,
    packed     BYTEA  NOT NULL, -- packed
    PRIMARY KEY (job, batch)
);
CREATE INDEX results_by_task ON results (job, first_task, last_task);

CREATE TABLE votes (
    lease  BIGINT NOT NULL,
    batch  BIGINT NOT NULL,
    job    BIGINT NOT NULL,
    packed BYTEA  NOT NULL, -- packed
    PRIMARY KEY (lease, batch)
);
CREATE INDEX votes_by_job ON votes (job);

-- Append-only. `about` is the job or bill that the reason names, `note` its text.
CREATE TABLE transfers (
    seq    BIGINT NOT NULL PRIMARY KEY,
    id     BYTEA  NOT NULL UNIQUE,
    kind   TEXT   NOT NULL CHECK (kind IN ('direct', 'hold', 'post', 'void', 'expire')),
    debit  BIGINT NOT NULL,
    credit BIGINT NOT NULL,
    amount BIGINT NOT NULL CHECK (amount >= 0),
    hold   BYTEA,
    reason TEXT   NOT NULL,
    about  BIGINT,
    note   TEXT,
    at     BIGINT NOT NULL,
    hash   BYTEA  NOT NULL
);
CREATE INDEX transfers_by_debit ON transfers (debit, seq);
CREATE INDEX transfers_by_credit ON transfers (credit, seq);

CREATE TABLE holds (
    id        BYTEA   NOT NULL PRIMARY KEY,
    debit     BIGINT  NOT NULL,
    credit    BIGINT  NOT NULL,
    remaining BIGINT  NOT NULL CHECK (remaining >= 0),
    expires   BIGINT,
    closed    BOOLEAN NOT NULL
);
CREATE INDEX holds_open ON holds (id) WHERE NOT closed;

CREATE TABLE idempotency (
    account BIGINT NOT NULL,
    key     TEXT   NOT NULL,
    request BYTEA  NOT NULL,
    job     BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    PRIMARY KEY (account, key)
);
CREATE INDEX idempotency_by_expiry ON idempotency (expires);

CREATE TABLE revocations (
    id      BYTEA  NOT NULL PRIMARY KEY,
    expires BIGINT NOT NULL
);
CREATE INDEX revocations_by_expiry ON revocations (expires);
