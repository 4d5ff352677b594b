-- The keys of a PostgreSQL event store's subjects, in a schema of their own. It names no subject.
-- {schema} is checked before it is filled in.

-- name: create_schema
CREATE SCHEMA IF NOT EXISTS "{schema}"

-- name: create_meta
-- `id` is also in the events' schema; `pepper` makes subjects into tags; `unfinished` is there during an erasure.
CREATE TABLE meta (
    name  text  PRIMARY KEY,
    value bytea NOT NULL
)

-- name: create_keys
CREATE TABLE keys (
    tag    bytea PRIMARY KEY,
    id     bytea NOT NULL UNIQUE,
    secret bytea NOT NULL
)

-- name: create_destroyed
-- Ids of keys that were destroyed: what lacks its key was erased, or the keys are older than the events.
CREATE TABLE destroyed (
    id bytea PRIMARY KEY
)

-- name: insert_meta
INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value

-- name: select_meta
SELECT value FROM meta WHERE name = $1

-- name: delete_meta
DELETE FROM meta WHERE name = $1

-- name: select_by_tag
SELECT tag, id, secret FROM keys WHERE tag = $1

-- name: select_by_id
SELECT tag, id, secret FROM keys WHERE id = $1

-- name: select_destroyed
SELECT 1 FROM destroyed WHERE id = $1

-- name: insert_key
-- Again after a commit that failed in an unknown way.
INSERT INTO keys (tag, id, secret) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING

-- name: insert_destroyed
INSERT INTO destroyed (id) SELECT id FROM keys WHERE tag = $1 ON CONFLICT DO NOTHING

-- name: delete_key
DELETE FROM keys WHERE tag = $1

-- name: write_anew
-- Into a new file, so that no deleted row stays in the old one.
VACUUM (FULL) keys
