-- The keys of a SQLite event store's subjects, in a file of their own. It names no subject.

-- name: create_meta
-- `id` is also in the events' file; `pepper` makes subjects into tags; `unfinished` is there during an erasure.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID

-- name: create_keys
CREATE TABLE keys (
    tag    BLOB PRIMARY KEY,
    id     BLOB NOT NULL UNIQUE,
    secret BLOB NOT NULL
) STRICT, WITHOUT ROWID

-- name: create_destroyed
-- Ids of keys that were destroyed: what lacks its key was erased, or the file is older than the events.
CREATE TABLE destroyed (
    id BLOB PRIMARY KEY
) STRICT, WITHOUT ROWID

-- name: insert_meta
INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)

-- name: select_meta
SELECT value FROM meta WHERE name = ?

-- name: delete_meta
DELETE FROM meta WHERE name = ?

-- name: select_by_tag
SELECT tag, id, secret FROM keys WHERE tag = ?

-- name: select_by_id
SELECT tag, id, secret FROM keys WHERE id = ?

-- name: select_destroyed
SELECT 1 FROM destroyed WHERE id = ?

-- name: insert_key
-- Again after a commit that failed in an unknown way.
INSERT OR IGNORE INTO keys (tag, id, secret) VALUES (?, ?, ?)

-- name: insert_destroyed
INSERT OR IGNORE INTO destroyed (id) SELECT id FROM keys WHERE tag = ?

-- name: delete_key
DELETE FROM keys WHERE tag = ?

-- name: truncate
PRAGMA wal_checkpoint(TRUNCATE)

-- name: overwrite
PRAGMA secure_delete = ON
