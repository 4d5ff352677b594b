-- What the reading connections of a PostgreSQL event store run. Rows are checked before anything is served.

-- name: select_types
SELECT kind, component, type, version FROM types

-- name: select_all
SELECT kind, convert_to(head, 'UTF8'), data, crc FROM events WHERE position > $1 ORDER BY position LIMIT $2

-- name: select_all_of_types
SELECT position, kind, convert_to(head, 'UTF8'), data, crc FROM events
WHERE position > $1 AND kind IN (SELECT value::integer FROM json_array_elements_text($2::json))
ORDER BY position LIMIT $3

-- name: select_stream
SELECT position, kind, convert_to(head, 'UTF8'), data, crc FROM events
WHERE findable(head::json ->> 0) = findable($1) AND (head::json ->> 1)::bigint > $2
ORDER BY (head::json ->> 1)::bigint LIMIT $3

-- name: select_newest
SELECT position, kind, convert_to(head, 'UTF8'), data, crc FROM events
WHERE findable(head::json ->> 0) = findable($1) ORDER BY (head::json ->> 1)::bigint DESC LIMIT 1

-- name: select_event_id
SELECT 1 FROM events WHERE findable(head::json ->> 2) = findable($1)

-- name: select_correlation
SELECT position, kind, convert_to(head, 'UTF8'), data, crc FROM events
WHERE findable(head::json ->> 3) = findable($1) ORDER BY position

-- name: select_chain
SELECT position, kind, convert_to(head, 'UTF8'), data, crc, checksum FROM events
WHERE position > $1 ORDER BY position LIMIT $2

-- name: select_link_before
-- The commit before the one that ends at a position.
SELECT position, checksum FROM events WHERE position < $1 AND checksum <> '\x' ORDER BY position DESC LIMIT 1

-- name: select_positions
SELECT position FROM events WHERE position > $1 ORDER BY position LIMIT $2

-- name: select_last_position
SELECT coalesce(max(position), -1) FROM events

-- name: select_furthest
-- The furthest position that anything claims to have seen.
SELECT greatest((SELECT max(position) FROM checkpoints), (SELECT max(position) FROM finished),
                (SELECT max(checkpoint) FROM projections), -1)

-- name: select_pending
SELECT sequence, kind, convert_to(head, 'UTF8'), data, crc, attempts FROM commands
WHERE status = 'pending' AND sequence > $1 ORDER BY sequence LIMIT $2

-- name: select_buried
-- By the marks it may have: recorded here, or come over a transport.
SELECT sequence, kind, convert_to(head, 'UTF8'), data, crc FROM commands
WHERE findable(message_id) IN (findable($1), findable($2)) AND status = 'failed' AND head <> ''

-- name: select_arrived
SELECT CASE head WHEN '' THEN crc ELSE 0 END FROM commands
WHERE findable(message_id) = findable($1) AND status <> 'pending'

-- name: select_failure
SELECT handler, type, error FROM dead_letters WHERE findable(correlation_id) = findable($1) ORDER BY sequence LIMIT 1

-- name: select_dead_letters
SELECT sequence, handler, position, message_id, correlation_id, component, type, data, error, attempts,
       time::double precision / 1000000, key, behind
FROM dead_letters WHERE sequence > $1 ORDER BY sequence LIMIT $2

-- name: select_first_letter
SELECT min(sequence) FROM dead_letters WHERE handler = $1 AND key = $2

-- name: select_keyed_letters
SELECT handler, key, count(*), min(sequence), (array_agg(behind ORDER BY sequence))[1] IS NOT NULL
FROM dead_letters WHERE key IS NOT NULL GROUP BY handler, key ORDER BY handler, key

-- name: select_type_and_time
SELECT type, (head::json ->> 5)::double precision / 1000000 FROM events JOIN types USING (kind)
WHERE position > $1 ORDER BY position LIMIT 1

-- name: select_standings
SELECT name, checkpoint, error FROM projections ORDER BY name

-- name: count_dead_letters
SELECT count(*) FROM dead_letters

-- name: select_schedules
SELECT sequence, kind, convert_to(head, 'UTF8'), data, crc, steady, scope, error FROM scheduled
WHERE (due, sequence) > ($1, $2) ORDER BY due, sequence LIMIT $3

-- name: select_failed_schedules
SELECT sequence, kind, convert_to(head, 'UTF8'), data, crc, steady, scope, error FROM scheduled
WHERE (due, sequence) > ($1, $2) AND error IS NOT NULL ORDER BY due, sequence LIMIT $3

-- name: select_schedule
SELECT sequence, kind, convert_to(head, 'UTF8'), data, crc, steady, scope, error FROM scheduled
WHERE findable(message_id) = findable($1)

-- name: select_due_schedules
SELECT sequence, kind, convert_to(head, 'UTF8'), data, crc, steady, scope, error FROM scheduled
WHERE error IS NULL AND steady = $1 AND due <= $2 ORDER BY due, sequence LIMIT $3

-- name: select_next_due
SELECT due FROM scheduled WHERE error IS NULL AND steady = $1 ORDER BY due, sequence LIMIT 1

-- name: select_snapshot
SELECT stream, owner, position, fingerprint, data, checksum FROM snapshots
WHERE findable(stream) = findable($1) AND findable(owner) = findable($2)

-- name: select_snapshots
-- Each with the last position of its stream.
SELECT stream, owner, position, fingerprint, data, checksum,
       (SELECT coalesce(max((head::json ->> 1)::bigint), -1) FROM events
        WHERE findable(head::json ->> 0) = findable(snapshots.stream))
FROM snapshots WHERE (findable(stream), findable(owner)) > (findable($1), findable($2))
ORDER BY findable(stream), findable(owner) LIMIT $3

-- name: select_sealed
-- The first event with sealed fields, of each type that has such events: "$personal" in bytes.
SELECT min(position) FROM events WHERE position('\x2224706572736f6e616c22'::bytea IN data) > 0 GROUP BY kind

-- name: check_structure
-- What the end of the log says of it. Whether an index says what its table says is for amcheck to tell.
SELECT CASE WHEN head = (SELECT coalesce(max(position), -1) FROM events)
            AND checksum = coalesce((SELECT checksum FROM events ORDER BY position DESC LIMIT 1), checksum)
       THEN 'ok' ELSE 'its end is not where log_end says' END
FROM log_end
