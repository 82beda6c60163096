-- What checks have shown of hosts, pay that waits for more of them, and results that were taken back.

ALTER TABLE hosts ADD COLUMN passed BIGINT NOT NULL DEFAULT 0;
ALTER TABLE hosts ADD COLUMN results BIGINT NOT NULL DEFAULT 0;
ALTER TABLE leases ADD COLUMN held_passed BIGINT;
ALTER TABLE leases ADD COLUMN held_until BIGINT;
ALTER TABLE jobs ADD COLUMN redone BYTEA; -- packed; none of them if it is missing
