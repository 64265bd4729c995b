-- Accounts whom agents answer, how long they keep out, and links to WhatsApp.

ALTER TABLE accounts ADD COLUMN linked TEXT NOT NULL DEFAULT '';
ALTER TABLE accounts ADD COLUMN allow_from TEXT NOT NULL DEFAULT '';
ALTER TABLE accounts ADD COLUMN takeover_ms BIGINT NOT NULL DEFAULT 1800000;

CREATE TABLE links (
    account     TEXT PRIMARY KEY REFERENCES accounts (id),
    holder      TEXT NOT NULL,
    lease_until BIGINT NOT NULL,
    state       TEXT NOT NULL
);
