-- Tables of read models. {table} and the names of columns are checked before they are filled in: letters, digits
-- and underscores.

-- name: create_by_text
-- Keys are ordered by their bytes, whatever the database's collation.
CREATE TABLE "{table}" (key text COLLATE "C" PRIMARY KEY{columns}, "row" bytea NOT NULL{indexes})

-- name: create_by_integer
CREATE TABLE "{table}" (key bigint PRIMARY KEY{columns}, "row" bytea NOT NULL{indexes})

-- name: column
-- A field repeated, as JSON: a column has one type, and a field may have several.
, "{column}" text COLLATE "C" NOT NULL

-- name: index
-- With the key, so that rows are found in the order of their keys.
, UNIQUE ("{column}", key)

-- name: note
-- The text that made it: whether a table fits a read model is seen by comparing the two.
COMMENT ON TABLE "{table}" IS '{text}'

-- name: drop
DROP TABLE IF EXISTS "{table}"

-- name: rename
ALTER TABLE "{old}" RENAME TO "{table}"

-- name: get
SELECT "row" FROM "{table}" WHERE key = $1

-- name: find
SELECT "row" FROM "{table}"{where} ORDER BY key LIMIT {limit}

-- name: count
SELECT count(*) FROM "{table}"{where}

-- name: put
INSERT INTO "{table}" (key, "row"{columns}) VALUES ($1, $2{values})
ON CONFLICT (key) DO UPDATE SET "row" = excluded."row"{changes}

-- name: delete
DELETE FROM "{table}" WHERE key = $1 RETURNING 1

-- name: ordered
SELECT key, "row" FROM "{table}" ORDER BY key

-- name: select_texts
SELECT relname, coalesce(obj_description(oid, 'pg_class'), '') FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
