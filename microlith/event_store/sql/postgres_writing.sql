-- What the one writing connection of a PostgreSQL event store runs. {rows} becomes one or more groups of values.

-- name: insert_type
INSERT INTO types (kind, component, type, version)
SELECT coalesce((SELECT max(kind) FROM types), 0) + 1, $1::text, $2::text, $3::integer
WHERE NOT EXISTS (SELECT FROM types WHERE component = $1 AND type = $2 AND version = $3)

-- name: select_type
SELECT kind FROM types WHERE component = $1 AND type = $2 AND version = $3

-- name: insert_events
INSERT INTO events (position, kind, head, data, checksum, crc) VALUES {rows}

-- name: insert_commands
INSERT INTO commands (sequence, message_id, kind, time, head, data, crc, status) VALUES {rows}

-- name: settle_commands
-- A failed one stays whole for as long as its dead letter is there to be tried again.
UPDATE commands
SET status = $1, head = CASE $1::text WHEN 'failed' THEN head ELSE '' END,
    data = CASE $1::text WHEN 'failed' THEN data ELSE '\x' END
FROM json_array_elements_text($2::json) AS settled (number) WHERE sequence = settled.number::bigint

-- name: upsert_checkpoints
INSERT INTO checkpoints (handler, position) VALUES {rows}
ON CONFLICT (handler) DO UPDATE SET position = excluded.position

-- name: insert_checkpoint
INSERT INTO checkpoints (handler, position) VALUES ($1, $2) ON CONFLICT DO NOTHING

-- name: delete_checkpoint
DELETE FROM checkpoints WHERE handler = $1

-- name: move_checkpoints
UPDATE checkpoints SET position = $1

-- name: insert_finished
INSERT INTO finished (handler, position) VALUES {rows} ON CONFLICT DO NOTHING

-- name: delete_finished
DELETE FROM finished WHERE handler = $1 AND position <= $2

-- name: insert_dead_letters
INSERT INTO dead_letters
    (handler, position, message_id, correlation_id, component, type, data, error, attempts, time, key)
VALUES {rows}

-- name: insert_parked
INSERT INTO dead_letters
    (handler, position, message_id, correlation_id, component, type, data, error, attempts, time, key, behind)
SELECT $1::text, $2::bigint, $3::text, $4::text, $5::text, $6::text, $7::bytea, 'parked behind ' || first, 0,
       $8::bigint, $9::text, first
FROM (SELECT coalesce(min(sequence), 0) AS first FROM dead_letters WHERE handler = $1 AND key = $9) AS letters

-- name: park_behind
-- A letter that was parked has failed: those behind it are parked behind it now.
UPDATE dead_letters SET behind = $1::bigint, error = 'parked behind ' || $1::bigint
WHERE behind IS NOT NULL AND sequence > $1::bigint
  AND (handler, key) = (SELECT handler, key FROM dead_letters WHERE sequence = $1::bigint)

-- name: select_dead_letter
SELECT sequence FROM dead_letters WHERE sequence = $1

-- name: update_dead_letter
UPDATE dead_letters SET error = $1, attempts = $2, time = $3, behind = NULL WHERE sequence = $4

-- name: delete_dead_letter
DELETE FROM dead_letters WHERE sequence = $1 RETURNING 1

-- name: forget_buried
-- The command of a dead letter that is about to go: its id stays, as that of any settled command.
UPDATE commands SET status = $1, head = '', data = '\x', crc = 0
WHERE status = 'failed' AND findable(message_id) IN (
    SELECT findable(message_id) FROM dead_letters WHERE sequence = $2::bigint AND position IS NULL
    UNION ALL
    SELECT findable('arrived ' || message_id) FROM dead_letters WHERE sequence = $2::bigint AND position IS NULL
)

-- name: attempt_command
UPDATE commands SET attempts = attempts + 1 WHERE findable(message_id) = findable($1) RETURNING attempts

-- name: attempt_event
INSERT INTO attempts (handler, message_id, attempts) VALUES ($1, $2, 1)
ON CONFLICT (handler, findable(message_id)) DO UPDATE SET attempts = attempts.attempts + 1
RETURNING attempts

-- name: uncount_command
UPDATE commands SET attempts = attempts - 1 WHERE findable(message_id) = findable($1) AND attempts > 0

-- name: uncount_event
UPDATE attempts SET attempts = attempts - 1
WHERE handler = $1 AND findable(message_id) = findable($2) AND attempts > 0

-- name: delete_attempts
DELETE FROM attempts WHERE handler = $1 AND findable(message_id) = findable($2)

-- name: select_attempts
SELECT handler, message_id FROM attempts

-- name: select_command_status
SELECT status FROM commands WHERE findable(message_id) = findable($1)

-- name: select_recorded
SELECT sought.id FROM json_array_elements_text($1::json) AS sought (id)
JOIN events ON findable(head::json ->> 2) = findable(sought.id)
UNION ALL
SELECT sought.id FROM json_array_elements_text($1::json) AS sought (id)
JOIN commands ON findable(message_id) = findable(sought.id)

-- name: select_ids_before
SELECT sought.id FROM json_array_elements_text($2::json) AS sought (id)
JOIN events ON findable(head::json ->> 2) = findable(sought.id) WHERE position < $1

-- name: select_pending_ids
SELECT message_id, sequence FROM commands WHERE status = 'pending'

-- name: select_last_sequence
SELECT coalesce(max(sequence), 0) FROM commands

-- name: select_stream_head
SELECT coalesce(max((head::json ->> 1)::bigint), -1) FROM events WHERE findable(head::json ->> 0) = findable($1)

-- name: select_stream_heads
SELECT sought.stream, newest.stream_position FROM json_array_elements_text($1::json) AS sought (stream)
CROSS JOIN LATERAL (
    SELECT coalesce(max((head::json ->> 1)::bigint), -1) AS stream_position
    FROM events WHERE findable(head::json ->> 0) = findable(sought.stream)
) AS newest

-- name: select_checkpoints
SELECT handler, position FROM checkpoints

-- name: select_finished
SELECT handler, position FROM finished

-- name: forget_commands
-- Ids of settled commands are kept for a week, and the newest million of them whatever their age.
DELETE FROM commands
WHERE status <> 'pending' AND time < $1 AND sequence <= (SELECT max(sequence) FROM commands) - 1000000

-- name: upsert_projection
INSERT INTO projections (name, fingerprint, checkpoint, error) VALUES ($1, $2, $3, $4)
ON CONFLICT (name) DO UPDATE
SET fingerprint = excluded.fingerprint, checkpoint = excluded.checkpoint, error = excluded.error

-- name: stop_projection
UPDATE projections SET error = $1 WHERE name = $2

-- name: advance_projections
UPDATE projections SET checkpoint = $1 WHERE name IN (SELECT json_array_elements_text($2::json))

-- name: select_projections
SELECT name, fingerprint, checkpoint, error FROM projections

-- name: insert_schedule
INSERT INTO scheduled (sequence, kind, head, data, crc, steady, scope) VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: select_schedule_sequence
SELECT sequence FROM scheduled WHERE findable(message_id) = findable($1)

-- name: select_last_schedule
SELECT coalesce(max(sequence), 0) FROM scheduled

-- name: delete_schedule
DELETE FROM scheduled WHERE findable(message_id) = findable($1) RETURNING 1

-- name: delete_named_schedule
DELETE FROM scheduled WHERE findable(scope) = findable($1) AND findable(name) = findable($2) AND name <> ''

-- name: delete_named_schedules
-- Two statements, each with an index of its own.
DELETE FROM scheduled WHERE findable(scope) = findable($1) AND name <> ''

-- name: delete_unnamed_schedules
DELETE FROM scheduled WHERE findable(scope) = findable($1) AND name = ''

-- name: fail_schedule
UPDATE scheduled SET error = $1 WHERE findable(message_id) = findable($2)

-- name: upsert_snapshot
INSERT INTO snapshots (stream, owner, position, fingerprint, data, checksum) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (findable(stream), findable(owner)) DO UPDATE
SET position = excluded.position, fingerprint = excluded.fingerprint, data = excluded.data, checksum = excluded.checksum

-- name: delete_snapshot
DELETE FROM snapshots WHERE findable(stream) = findable($1) AND findable(owner) = findable($2)

-- name: delete_snapshots
DELETE FROM snapshots RETURNING 1

-- name: truncate_snapshots
TRUNCATE snapshots

-- name: select_meta
SELECT value FROM meta WHERE name = $1

-- name: select_any_schedule
SELECT 1 FROM scheduled LIMIT 1

-- name: insert_meta
INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value
