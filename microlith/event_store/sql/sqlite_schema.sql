-- The tables of a SQLite event store. Read-model tables are made from sqlite_rows.sql.

-- name: create_meta
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID

-- name: create_types
-- Each message type is written out once; rows carry its number.
CREATE TABLE types (
    kind      INTEGER PRIMARY KEY,
    component TEXT NOT NULL,
    type      TEXT NOT NULL,
    version   INTEGER NOT NULL,
    UNIQUE (component, type, version)
) STRICT

-- name: create_events
-- `head` is a JSON array of everything but position, type and payload; the columns after `crc` only show it, so
-- that no fact is kept twice. `crc` covers position, type, head and data. `checksum` covers all rows up to this one; only
-- the last row of a commit has it.
CREATE TABLE events (
    position        INTEGER PRIMARY KEY,
    kind            INTEGER NOT NULL,
    head            TEXT NOT NULL,
    data            BLOB NOT NULL,
    checksum        BLOB NOT NULL,
    crc             INTEGER NOT NULL,
    stream          TEXT    AS (json_extract(head, '$[0]')),
    stream_position INTEGER AS (json_extract(head, '$[1]')),
    message_id      TEXT    AS (json_extract(head, '$[2]')),
    correlation_id  TEXT    AS (json_extract(head, '$[3]')),
    causation_id    TEXT    AS (json_extract(head, '$[4]')),
    time            INTEGER AS (json_extract(head, '$[5]')),
    depth           INTEGER AS (json_extract(head, '$[6]')),
    headers         TEXT    AS (json_extract(head, '$[7]'))
) STRICT

-- name: create_events_by_message
CREATE UNIQUE INDEX events_by_message ON events (message_id)

-- name: create_events_by_stream
CREATE UNIQUE INDEX events_by_stream ON events (stream, stream_position)

-- name: create_events_by_correlation
CREATE INDEX events_by_correlation ON events (correlation_id)

-- name: create_commands
-- A settled command leaves its id behind and nothing of its content: passwords do not stay. A failed one stays for as
-- long as its dead letter.
CREATE TABLE commands (
    sequence   INTEGER PRIMARY KEY,
    message_id TEXT NOT NULL UNIQUE,
    kind       INTEGER NOT NULL,
    time       INTEGER NOT NULL,
    head       TEXT NOT NULL,
    data       BLOB NOT NULL,
    crc        INTEGER NOT NULL,
    status     TEXT NOT NULL CHECK (status IN ('pending', 'handled', 'failed')),
    attempts   INTEGER NOT NULL DEFAULT 0
) STRICT

-- name: create_commands_pending
CREATE INDEX commands_pending ON commands (sequence) WHERE status = 'pending'

-- name: create_checkpoints
CREATE TABLE checkpoints (
    handler  TEXT PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID

-- name: create_finished
-- Positions above a handler's checkpoint that it is finished with.
CREATE TABLE finished (
    handler  TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (handler, position)
) STRICT, WITHOUT ROWID

-- name: create_attempts
-- Events that were tried again after a restart; for commands the count stands in their row.
CREATE TABLE attempts (
    handler    TEXT NOT NULL,
    message_id TEXT NOT NULL,
    attempts   INTEGER NOT NULL,
    PRIMARY KEY (handler, message_id)
) STRICT, WITHOUT ROWID

-- name: create_dead_letters
CREATE TABLE dead_letters (
    sequence       INTEGER PRIMARY KEY AUTOINCREMENT,
    handler        TEXT NOT NULL,
    position       INTEGER,
    message_id     TEXT NOT NULL,
    correlation_id TEXT NOT NULL,
    component      TEXT NOT NULL,
    type           TEXT NOT NULL,
    data           BLOB NOT NULL,
    error          TEXT NOT NULL,
    attempts       INTEGER NOT NULL,
    time           INTEGER NOT NULL,
    key            TEXT,
    behind         INTEGER
) STRICT

-- name: columns_of_dead_letters
SELECT name FROM pragma_table_info('dead_letters')

-- name: add_key_to_dead_letters
-- Databases made before there were keys.
ALTER TABLE dead_letters ADD COLUMN key TEXT

-- name: add_behind_to_dead_letters
ALTER TABLE dead_letters ADD COLUMN behind INTEGER

-- name: create_dead_letters_by_key
CREATE INDEX IF NOT EXISTS dead_letters_by_key ON dead_letters (handler, key, sequence) WHERE key IS NOT NULL

-- name: create_dead_letters_by_correlation
CREATE INDEX dead_letters_by_correlation ON dead_letters (correlation_id)

-- name: create_projections
CREATE TABLE projections (
    name        TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    checkpoint  INTEGER NOT NULL,
    error       TEXT
) STRICT, WITHOUT ROWID

-- name: create_snapshots
-- States of streams, to save time; all of them may be deleted at any time. Databases made before there were any get it
-- when they are opened.
CREATE TABLE IF NOT EXISTS snapshots (
    stream      TEXT NOT NULL,
    owner       TEXT NOT NULL,
    position    INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    data        BLOB NOT NULL,
    checksum    BLOB NOT NULL,
    PRIMARY KEY (stream, owner)
) STRICT

-- name: create_log
-- For people with a SQLite shell; microlith does not read it.
CREATE VIEW log AS
SELECT position, stream, stream_position, component, type, version, message_id, correlation_id, causation_id,
       strftime('%Y-%m-%dT%H:%M:%S', time / 1000000, 'unixepoch') || printf('.%06dZ', time % 1000000) AS time,
       CAST(data AS TEXT) AS data
FROM events JOIN types USING (kind)

-- name: create_schedules
-- Messages that are to be sent later. As for commands, but the head begins with the name ('' for none) and the moment
-- it is due, in microseconds. A name is unique in its scope: a correlation, or the stream of a process. `steady` ones were asked for as so much time from then on. Statements with IF NOT EXISTS are run
-- at every open: they bring databases of earlier versions up to date.
CREATE TABLE IF NOT EXISTS scheduled (
    sequence       INTEGER PRIMARY KEY,
    kind           INTEGER NOT NULL,
    head           TEXT NOT NULL,
    data           BLOB NOT NULL,
    crc            INTEGER NOT NULL,
    steady         INTEGER NOT NULL,
    scope          TEXT NOT NULL,
    error          TEXT,
    name           TEXT    AS (json_extract(head, '$[0]')),
    due            INTEGER AS (json_extract(head, '$[1]')),
    message_id     TEXT    AS (json_extract(head, '$[2]')),
    correlation_id TEXT    AS (json_extract(head, '$[3]'))
) STRICT

-- name: create_schedules_by_message
CREATE UNIQUE INDEX IF NOT EXISTS scheduled_by_message ON scheduled (message_id)

-- name: create_schedules_by_name
CREATE UNIQUE INDEX IF NOT EXISTS scheduled_by_name ON scheduled (scope, name) WHERE name <> ''

-- name: create_schedules_by_scope
CREATE INDEX IF NOT EXISTS scheduled_by_scope ON scheduled (scope) WHERE name = ''

-- name: create_schedules_by_due
CREATE INDEX IF NOT EXISTS scheduled_by_due ON scheduled (due, sequence)

-- name: create_schedules_waiting
CREATE INDEX IF NOT EXISTS scheduled_waiting ON scheduled (steady, due, sequence) WHERE error IS NULL

-- name: insert_version
INSERT INTO meta (name, value) VALUES ('schema', ?)

-- name: select_version
SELECT value FROM meta WHERE name = 'schema'

-- name: select_tables
SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'
