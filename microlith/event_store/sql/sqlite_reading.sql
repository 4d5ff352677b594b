-- What the reading connections of a SQLite event store run. Rows are checked before anything is served.

-- name: select_types
SELECT kind, component, type, version FROM types

-- name: select_all
SELECT kind, CAST(head AS BLOB), data, crc FROM events WHERE position > ? ORDER BY position LIMIT ?

-- name: select_all_of_types
SELECT position, kind, CAST(head AS BLOB), data, crc FROM events
WHERE position > ? AND kind IN (SELECT value FROM json_each(?)) ORDER BY position LIMIT ?

-- name: select_stream
SELECT position, kind, CAST(head AS BLOB), data, crc FROM events
WHERE stream = ? AND stream_position > ? ORDER BY stream_position LIMIT ?

-- name: select_newest
SELECT position, kind, CAST(head AS BLOB), data, crc FROM events
WHERE stream = ? ORDER BY stream_position DESC LIMIT 1

-- name: select_event_id
SELECT 1 FROM events WHERE message_id = ?

-- name: select_correlation
SELECT position, kind, CAST(head AS BLOB), data, crc FROM events WHERE correlation_id = ? ORDER BY position

-- name: select_chain
SELECT position, kind, CAST(head AS BLOB), data, crc, checksum FROM events WHERE position > ? ORDER BY position LIMIT ?

-- name: select_link_before
-- The commit before the one that ends at a position.
SELECT position, checksum FROM events WHERE position < ? AND checksum <> x'' ORDER BY position DESC LIMIT 1

-- name: select_positions
SELECT position FROM events WHERE position > ? ORDER BY position LIMIT ?

-- name: select_last_position
SELECT coalesce(max(position), -1) FROM events

-- name: select_furthest
-- The furthest position that anything claims to have seen.
SELECT max(coalesce((SELECT max(position) FROM checkpoints), -1), coalesce((SELECT max(position) FROM finished), -1),
           coalesce((SELECT max(checkpoint) FROM projections), -1))

-- name: select_pending
SELECT sequence, kind, CAST(head AS BLOB), data, crc, attempts FROM commands
WHERE status = 'pending' AND sequence > ? ORDER BY sequence LIMIT ?

-- name: select_buried
-- By the marks it may have: recorded here, or come over a transport.
SELECT sequence, kind, CAST(head AS BLOB), data, crc FROM commands
WHERE message_id IN (?, ?) AND status = 'failed' AND head <> ''

-- name: select_arrived
SELECT CASE head WHEN '' THEN crc ELSE 0 END FROM commands WHERE message_id = ? AND status <> 'pending'

-- name: select_failure
SELECT handler, type, error FROM dead_letters WHERE correlation_id = ? ORDER BY sequence LIMIT 1

-- name: select_dead_letters
SELECT sequence, handler, position, message_id, correlation_id, component, type, data, error, attempts,
       time / 1000000.0, key, behind
FROM dead_letters WHERE sequence > ? ORDER BY sequence LIMIT ?

-- name: select_first_letter
SELECT min(sequence) FROM dead_letters WHERE handler = ? AND key = ?

-- name: select_keyed_letters
-- The other columns are those of the row with the lowest sequence.
SELECT handler, key, count(*), min(sequence), behind IS NOT NULL
FROM dead_letters WHERE key IS NOT NULL GROUP BY handler, key

-- name: select_type_and_time
SELECT type, time / 1000000.0 FROM events JOIN types USING (kind) WHERE position > ? ORDER BY position LIMIT 1

-- name: select_standings
SELECT name, checkpoint, error FROM projections ORDER BY name

-- name: count_dead_letters
SELECT count(*) FROM dead_letters

-- name: select_schedules
SELECT sequence, kind, CAST(head AS BLOB), data, crc, steady, scope, error FROM scheduled
WHERE (due, sequence) > (?, ?) ORDER BY due, sequence LIMIT ?

-- name: select_failed_schedules
SELECT sequence, kind, CAST(head AS BLOB), data, crc, steady, scope, error FROM scheduled
WHERE (due, sequence) > (?, ?) AND error IS NOT NULL ORDER BY due, sequence LIMIT ?

-- name: select_schedule
SELECT sequence, kind, CAST(head AS BLOB), data, crc, steady, scope, error FROM scheduled WHERE message_id = ?

-- name: select_due_schedules
SELECT sequence, kind, CAST(head AS BLOB), data, crc, steady, scope, error FROM scheduled
WHERE error IS NULL AND steady = ? AND due <= ? ORDER BY due, sequence LIMIT ?

-- name: select_next_due
SELECT due FROM scheduled WHERE error IS NULL AND steady = ? ORDER BY due, sequence LIMIT 1

-- name: select_snapshot
SELECT stream, owner, position, fingerprint, data, checksum FROM snapshots WHERE stream = ? AND owner = ?

-- name: select_snapshots
-- Each with the last position of its stream.
SELECT stream, owner, position, fingerprint, data, checksum,
       (SELECT coalesce(max(stream_position), -1) FROM events WHERE events.stream = snapshots.stream)
FROM snapshots WHERE (stream, owner) > (?, ?) ORDER BY stream, owner LIMIT ?

-- name: select_sealed
-- The first event with sealed fields, of each type that has such events: "$personal" in bytes.
SELECT min(position) FROM events WHERE instr(data, x'2224706572736f6e616c22') > 0 GROUP BY kind

-- name: check_structure
-- Pages, and that every index says what its table says.
PRAGMA integrity_check(1)
