-- Whose a revoked token is, if it was narrowed from another: an account has a limit of them.

ALTER TABLE revocations ADD COLUMN account BIGINT;
