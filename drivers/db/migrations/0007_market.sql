-- What leases cost when each has its own price, the prices of classes of hosts, and reservations.

ALTER TABLE leases ADD COLUMN price BIGINT NOT NULL DEFAULT 0;
UPDATE leases SET price = COALESCE((SELECT price FROM jobs WHERE jobs.id = leases.job), 0);

CREATE TABLE markets (
    class  TEXT   NOT NULL PRIMARY KEY,
    posted BIGINT NOT NULL, -- thousandths of a micro-credit
    price  BIGINT NOT NULL,
    fair   BIGINT NOT NULL,
    at     BIGINT NOT NULL,
    ticks  BYTEA  NOT NULL, -- packed
    hours  BYTEA  NOT NULL  -- packed
);

CREATE TABLE reservations (
    id          BIGINT NOT NULL PRIMARY KEY,
    account     BIGINT NOT NULL,
    class       TEXT   NOT NULL,
    cores       BIGINT NOT NULL,
    behind      BIGINT NOT NULL,
    service     BIGINT NOT NULL,
    starts      BIGINT NOT NULL,
    ends        BIGINT NOT NULL,
    price       BIGINT NOT NULL,
    premium     BIGINT NOT NULL,
    penalty     BIGINT NOT NULL,
    hold        BYTEA  NOT NULL,
    state       TEXT   NOT NULL CHECK (state IN ('booked', 'active', 'over', 'cancelled')),
    wanted      BIGINT NOT NULL,
    given       BIGINT NOT NULL,
    ticks       BIGINT NOT NULL,
    paid        BIGINT NOT NULL,
    compensated BIGINT NOT NULL
);

-- What an account's machines gave lately.
CREATE INDEX bills_by_account ON bills (account, posted);
