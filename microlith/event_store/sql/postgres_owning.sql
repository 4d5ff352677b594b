-- Who owns a PostgreSQL event store. The lock is held by a session; the number is made from the name of the schema.

-- name: try_lock
SELECT pg_try_advisory_lock(hashtextextended('microlith event store ' || $1::text, 0))

-- name: unlock
SELECT pg_advisory_unlock(hashtextextended('microlith event store ' || $1::text, 0))

-- name: select_holder
-- Who holds the lock, as the server sees it.
SELECT coalesce(host(client_addr), 'this machine'), application_name,
       to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pg_locks.database = (
    SELECT oid FROM pg_database WHERE datname = current_database()
) AND (classid::bigint << 32 | objid::bigint) = hashtextextended('microlith event store ' || $1::text, 0)

-- name: select_owner
SELECT epoch, owner FROM log_end

-- name: take_over
-- From now on, whoever was the owner before writes nothing any more.
UPDATE log_end SET epoch = epoch + 1, owner = $1 RETURNING epoch

-- name: select_leader
-- Who owns it; and what those agree on who share it with this very owner. Empty where it does not share.
SELECT owner, CASE WHEN split_part(shared, ' ', 1) = epoch::text THEN substr(shared, strpos(shared, ' ') + 1) ELSE '' END
FROM log_end, (SELECT coalesce((SELECT value FROM meta WHERE name = 'shared'), '') AS shared) AS said

-- name: share
INSERT INTO meta (name, value) VALUES ('shared', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value

-- name: begin_alone
-- An owner that shares goes on alone: whoever shared with it writes nothing more.
UPDATE log_end SET epoch = epoch + 1 RETURNING epoch

-- name: leave
-- Whoever waits for its turn need not wait for this one to come back.
UPDATE log_end SET owner = '' WHERE epoch = $1

-- name: select_end
SELECT epoch, version, writer, head, sequence, checksum FROM log_end

-- name: note_commit
-- Which commit was a writer's last: others may have written since.
INSERT INTO meta (name, value) VALUES ('writer ' || $1::text, $2)
ON CONFLICT (name) DO UPDATE SET value = excluded.value

-- name: select_commit
SELECT value FROM meta WHERE name = 'writer ' || $1::text

-- name: forget_writer
DELETE FROM meta WHERE name = 'writer ' || $1::text

-- name: forget_writers
-- Those who have not written for a million commits are gone.
DELETE FROM meta
WHERE CASE WHEN name LIKE 'writer %' THEN value::bigint < (SELECT version - 1000000 FROM log_end) ELSE false END

-- name: lock_end
SELECT epoch, version, writer, head, sequence, checksum FROM log_end FOR UPDATE

-- name: move_end
UPDATE log_end SET version = version + 1, writer = $1, head = $2, sequence = $3, checksum = $4

-- name: notify
SELECT pg_notify($1, $2)

-- name: claim
-- Each wanted handler and key: true, it is claimed; null, another process has it, and this one is next; false, neither.
-- Who wants a key goes through a gate: so a process that has let go of one cannot take it again before those who wait.
SELECT CASE
    WHEN NOT (is_next OR pg_try_advisory_lock(gate)) THEN false
    WHEN pg_try_advisory_lock(claim) THEN pg_advisory_unlock(gate)
END
FROM (
    SELECT number, (wanted ->> 2)::boolean AS is_next,
           hashtextextended($1 || 'gate ' || (wanted ->> 0) || ' ' || (wanted ->> 1), 0) AS gate,
           hashtextextended($1 || 'claim ' || (wanted ->> 0) || ' ' || (wanted ->> 1), 0) AS claim
    FROM json_array_elements($2::json) WITH ORDINALITY AS each (wanted, number)
) AS sought ORDER BY number

-- name: let_go
SELECT pg_advisory_unlock(hashtextextended($1 || sought.lock, 0))
FROM json_array_elements_text($2::json) AS sought (lock)

-- name: claim_again
SELECT pg_try_advisory_lock(hashtextextended($1 || sought.lock, 0))
FROM json_array_elements_text($2::json) AS sought (lock)

-- name: select_newest_letter
SELECT coalesce(max(sequence), 0) FROM dead_letters

-- name: count_letters
-- How many dead letters each wanted handler and key has.
SELECT (SELECT count(*) FROM dead_letters WHERE handler = sought.wanted ->> 0 AND key = sought.wanted ->> 1)
FROM json_array_elements($1::json) WITH ORDINALITY AS sought (wanted, number) ORDER BY sought.number
