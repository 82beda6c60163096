-- Whose database a file is: another complex does not start over it. At a server, the leader's row
-- says so.

CREATE TABLE complex (
    one BOOLEAN NOT NULL PRIMARY KEY CHECK (one),
    key TEXT    NOT NULL -- public key of the complex
);
