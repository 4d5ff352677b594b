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

-- name: lock_end
SELECT epoch, version, writer, head, sequence, checksum FROM log_end FOR UPDATE

-- name: move_end
UPDATE log_end SET version = version + 1, writer = $1, head = $2, sequence = $3, checksum = $4

-- name: notify
SELECT pg_notify($1, $2)
