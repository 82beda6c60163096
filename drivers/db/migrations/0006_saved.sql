-- How far the run of a task under a lease has come, if it saves its state. One that is of no use any
-- more has no roots; all of a job go with its votes.
CREATE TABLE saved (
    lease BIGINT NOT NULL,
    task  BIGINT NOT NULL,
    job   BIGINT NOT NULL,
    host  BYTEA  NOT NULL,
    fuel  BIGINT NOT NULL,
    roots BYTEA  NOT NULL, -- packed
    kept  BYTEA  NOT NULL, -- packed
    PRIMARY KEY (lease, task)
);
CREATE INDEX saved_by_job ON saved (job);
