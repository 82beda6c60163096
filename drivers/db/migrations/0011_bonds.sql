-- What stands behind reservations: hosts that owners let, and a bond of each. Which run a part of a
-- task is of, and which run another went on with.

ALTER TABLE reservations ADD COLUMN standby BIGINT NOT NULL DEFAULT 0;
ALTER TABLE reservations ADD COLUMN bond BIGINT NOT NULL DEFAULT 0;
ALTER TABLE reservations ADD COLUMN forfeited BIGINT NOT NULL DEFAULT 0;

CREATE TABLE firm (
    host    BYTEA  NOT NULL PRIMARY KEY,
    account BIGINT NOT NULL,
    cores   BIGINT NOT NULL,
    since   BIGINT NOT NULL,
    leaves  BIGINT
);

CREATE TABLE bonds (
    reservation BIGINT NOT NULL,
    nth         BIGINT NOT NULL,
    host        BYTEA  NOT NULL,
    account     BIGINT NOT NULL,
    cores       BIGINT NOT NULL,
    starts      BIGINT NOT NULL,
    ends        BIGINT NOT NULL,
    amount      BIGINT NOT NULL,
    hold        BYTEA  NOT NULL,
    state       TEXT   NOT NULL CHECK (state IN ('standing', 'returned', 'forfeited')),
    stood       BIGINT NOT NULL,
    missed      BIGINT NOT NULL,
    lost        BIGINT NOT NULL,
    paid        BIGINT NOT NULL,
    PRIMARY KEY (reservation, nth)
);

ALTER TABLE saved ADD COLUMN part_of BIGINT;
ALTER TABLE saved ADD COLUMN resumed BYTEA; -- packed

-- What accounts earned, by month, where credits that lie idle lose a part.
CREATE TABLE earned (
    account BIGINT NOT NULL,
    month   BIGINT NOT NULL,
    amount  BIGINT NOT NULL,
    PRIMARY KEY (account, month)
);
