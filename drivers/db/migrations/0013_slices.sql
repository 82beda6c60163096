-- Hosts that an account holds together by a name, and where the tasks of a job on them run.

CREATE TABLE slices (
    id       BIGINT NOT NULL PRIMARY KEY,
    account  BIGINT NOT NULL,
    name     TEXT   NOT NULL,
    limited  TEXT, -- CEL over `host`
    made     BIGINT NOT NULL,
    ends     BIGINT NOT NULL,
    state    TEXT   NOT NULL CHECK (state IN ('open', 'dropped', 'over')),
    ended    BIGINT,
    slivers  BYTEA  NOT NULL, -- packed, by rank
    replaced BYTEA -- packed
);

-- What a server starts from is a small part of what there ever was.
CREATE INDEX slices_open ON slices (id) WHERE state = 'open';

ALTER TABLE jobs ADD COLUMN pinned BYTEA; -- packed
