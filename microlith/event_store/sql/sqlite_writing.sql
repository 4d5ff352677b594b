-- What the one writing connection of a SQLite event store runs. {rows} becomes one or more groups of values.

-- name: insert_type
INSERT OR IGNORE INTO types (component, type, version) VALUES (?, ?, ?)

-- name: select_type
SELECT kind FROM types WHERE component = ? AND type = ? AND version = ?

-- name: insert_events
INSERT INTO events (position, kind, head, data, checksum, crc) VALUES {rows}

-- name: insert_commands
INSERT INTO commands (sequence, message_id, kind, time, head, data, crc, status) VALUES {rows}

-- name: settle_commands
-- A failed one stays whole for as long as its dead letter is there to be tried again.
UPDATE commands
SET status = ?1, head = CASE ?1 WHEN 'failed' THEN head ELSE '' END, data = CASE ?1 WHEN 'failed' THEN data ELSE x'' END
WHERE sequence IN (SELECT value FROM json_each(?2))

-- name: upsert_checkpoints
INSERT INTO checkpoints (handler, position) VALUES {rows}
ON CONFLICT (handler) DO UPDATE SET position = excluded.position

-- name: insert_checkpoint
INSERT OR IGNORE INTO checkpoints (handler, position) VALUES (?, ?)

-- name: delete_checkpoint
DELETE FROM checkpoints WHERE handler = ?

-- name: move_checkpoints
UPDATE checkpoints SET position = ?

-- name: insert_finished
INSERT OR IGNORE INTO finished (handler, position) VALUES {rows}

-- name: delete_finished
DELETE FROM finished WHERE handler = ? AND position <= ?

-- name: insert_dead_letters
INSERT INTO dead_letters
    (handler, position, message_id, correlation_id, component, type, data, error, attempts, time, key)
VALUES {rows}

-- name: insert_parked
INSERT INTO dead_letters
    (handler, position, message_id, correlation_id, component, type, data, error, attempts, time, key, behind)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, 'parked behind ' || head, 0, ?8, ?9, head
FROM (SELECT coalesce(min(sequence), 0) AS head FROM dead_letters WHERE handler = ?1 AND key = ?9)

-- name: park_behind
-- A letter that was parked has failed: those behind it are parked behind it now.
UPDATE dead_letters SET behind = ?1, error = 'parked behind ' || ?1
WHERE behind IS NOT NULL AND sequence > ?1
  AND (handler, key) = (SELECT handler, key FROM dead_letters WHERE sequence = ?1)

-- name: select_dead_letter
SELECT sequence FROM dead_letters WHERE sequence = ?

-- name: update_dead_letter
UPDATE dead_letters SET error = ?, attempts = ?, time = ?, behind = NULL WHERE sequence = ?

-- name: delete_dead_letter
DELETE FROM dead_letters WHERE sequence = ? RETURNING 1

-- name: forget_buried
-- The command of a dead letter that is about to go: its id stays, as that of any settled command.
UPDATE commands SET status = ?1, head = '', data = x'', crc = 0
WHERE status = 'failed' AND message_id IN (
    SELECT message_id FROM dead_letters WHERE sequence = ?2 AND position IS NULL
    UNION ALL SELECT 'arrived ' || message_id FROM dead_letters WHERE sequence = ?2 AND position IS NULL
)

-- name: attempt_command
UPDATE commands SET attempts = attempts + 1 WHERE message_id = ? RETURNING attempts

-- name: attempt_event
INSERT INTO attempts (handler, message_id, attempts) VALUES (?, ?, 1)
ON CONFLICT (handler, message_id) DO UPDATE SET attempts = attempts + 1
RETURNING attempts

-- name: uncount_command
UPDATE commands SET attempts = attempts - 1 WHERE message_id = ? AND attempts > 0

-- name: uncount_event
UPDATE attempts SET attempts = attempts - 1 WHERE handler = ? AND message_id = ? AND attempts > 0

-- name: delete_attempts
DELETE FROM attempts WHERE handler = ? AND message_id = ?

-- name: select_attempts
SELECT handler, message_id FROM attempts

-- name: select_command_status
SELECT status FROM commands WHERE message_id = ?

-- name: select_recorded
SELECT message_id FROM events WHERE message_id IN (SELECT value FROM json_each(?1))
UNION ALL
SELECT message_id FROM commands WHERE message_id IN (SELECT value FROM json_each(?1))

-- name: select_ids_before
SELECT message_id FROM events WHERE position < ? AND message_id IN (SELECT value FROM json_each(?))

-- name: select_pending_ids
SELECT message_id, sequence FROM commands WHERE status = 'pending'

-- name: select_last_sequence
SELECT coalesce(max(sequence), 0) FROM commands

-- name: select_stream_head
SELECT coalesce(max(stream_position), -1) FROM events WHERE stream = ?

-- name: select_checkpoints
SELECT handler, position FROM checkpoints

-- name: select_finished
SELECT handler, position FROM finished

-- name: forget_commands
-- Ids of settled commands are kept for a week, and the newest million of them whatever their age.
DELETE FROM commands
WHERE status <> 'pending' AND time < ? AND sequence <= (SELECT max(sequence) FROM commands) - 1000000

-- name: upsert_projection
INSERT INTO projections (name, fingerprint, checkpoint, error) VALUES (?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE
SET fingerprint = excluded.fingerprint, checkpoint = excluded.checkpoint, error = excluded.error

-- name: stop_projection
UPDATE projections SET error = ? WHERE name = ?

-- name: advance_projections
UPDATE projections SET checkpoint = ? WHERE name IN (SELECT value FROM json_each(?))

-- name: select_projections
SELECT name, fingerprint, checkpoint, error FROM projections

-- name: insert_schedule
INSERT INTO scheduled (sequence, kind, head, data, crc, steady, scope) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: select_schedule_sequence
SELECT sequence FROM scheduled WHERE message_id = ?

-- name: select_last_schedule
SELECT coalesce(max(sequence), 0) FROM scheduled

-- name: delete_schedule
DELETE FROM scheduled WHERE message_id = ? RETURNING 1

-- name: delete_named_schedule
DELETE FROM scheduled WHERE scope = ? AND name = ? AND name <> ''

-- name: delete_named_schedules
-- Two statements, each with an index of its own.
DELETE FROM scheduled WHERE scope = ? AND name <> ''

-- name: delete_unnamed_schedules
DELETE FROM scheduled WHERE scope = ? AND name = ''

-- name: fail_schedule
UPDATE scheduled SET error = ? WHERE message_id = ?

-- name: upsert_snapshot
INSERT OR REPLACE INTO snapshots (stream, owner, position, fingerprint, data, checksum) VALUES (?, ?, ?, ?, ?, ?)

-- name: delete_snapshot
DELETE FROM snapshots WHERE stream = ? AND owner = ?

-- name: delete_snapshots
DELETE FROM snapshots RETURNING 1

-- name: select_meta
SELECT value FROM meta WHERE name = ?

-- name: select_any_schedule
SELECT 1 FROM scheduled LIMIT 1

-- name: insert_meta
INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)

-- name: write_anew
VACUUM
