-- Who leads, of several servers over one database: PostgreSQL only, a file has a lock.
--
-- One row. Whoever takes the lease raises the epoch; every transaction of a leader finds its own
-- epoch here or is refused. Times are of the database's clock.

CREATE TABLE leader (
    one     BOOLEAN     NOT NULL PRIMARY KEY CHECK (one),
    epoch   BIGINT      NOT NULL,
    complex TEXT        NOT NULL, -- public key of the complex whose database it is
    server  TEXT        NOT NULL, -- its public key
    told    TEXT        NOT NULL, -- what the others tell their clients of it
    until   TIMESTAMPTZ NOT NULL
);
INSERT INTO leader VALUES (TRUE, 0, '', '', '', to_timestamp(0));

-- All servers, for hosts and clients that look for another one.
CREATE TABLE servers (
    server TEXT        NOT NULL PRIMARY KEY, -- its public key
    told   TEXT        NOT NULL,
    seen   TIMESTAMPTZ NOT NULL
);
