-- Results that were taken as they were: nobody independent was there to check them.

ALTER TABLE jobs ADD COLUMN unchecked BIGINT NOT NULL DEFAULT 0;
