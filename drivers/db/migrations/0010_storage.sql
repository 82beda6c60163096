-- Leases of parts of hosts' disks, and the hosts that keep fragments for others.

CREATE TABLE storage (
    id          BIGINT  NOT NULL PRIMARY KEY, -- numbered together with `leases`
    first       BIGINT  NOT NULL,
    account     BIGINT  NOT NULL,
    host        BYTEA   NOT NULL,
    holder      BYTEA   NOT NULL,
    class       TEXT    NOT NULL
        CHECK (class IN ('archive', 'standard', 'bulk', 'hot', 'cache')),
    bytes       BIGINT  NOT NULL,
    price       BIGINT  NOT NULL, -- micro-credits for a GiB and 30 days
    state       TEXT    NOT NULL CHECK (state IN ('open', 'released', 'ended')),
    begun       BIGINT  NOT NULL,
    issued      BIGINT  NOT NULL,
    ends        BIGINT  NOT NULL,
    settled     BIGINT  NOT NULL,
    shown       BIGINT  NOT NULL,
    settlements BIGINT  NOT NULL,
    charged     BIGINT  NOT NULL,
    paid        BIGINT  NOT NULL,
    told        BOOLEAN NOT NULL
);

-- What a server starts from is a small part of what there ever was.
CREATE INDEX storage_of_use ON storage (id) WHERE state = 'open' OR NOT told;
CREATE INDEX storage_by_account ON storage (account, id);

CREATE TABLE keepers (
    host    BYTEA  NOT NULL PRIMARY KEY,
    offer   BYTEA  NOT NULL, -- packed
    since   BIGINT NOT NULL,
    present BIGINT NOT NULL,
    counted BIGINT NOT NULL,
    heard   BIGINT NOT NULL,
    failed  BIGINT
);
