-- Tables of read models. {table} and the names of columns are checked before they are filled in: letters, digits
-- and underscores.

-- name: create_by_text
-- UNIQUE adds the key to each index, so that rows are found in the order of their keys.
CREATE TABLE "{table}" (key TEXT PRIMARY KEY{columns}, row BLOB NOT NULL{indexes}) STRICT, WITHOUT ROWID

-- name: create_by_integer
CREATE TABLE "{table}" (key INTEGER PRIMARY KEY{columns}, row BLOB NOT NULL{indexes}) STRICT

-- name: column
, "{column}" ANY

-- name: index
, UNIQUE ("{column}", key)

-- name: drop
DROP TABLE IF EXISTS "{table}"

-- name: rename
ALTER TABLE "{old}" RENAME TO "{table}"

-- name: get
SELECT row FROM "{table}" WHERE key = ?

-- name: find
SELECT row FROM "{table}"{where} ORDER BY key LIMIT {limit}

-- name: count
SELECT count(*) FROM "{table}"{where}

-- name: put
INSERT OR REPLACE INTO "{table}" (key, row{columns}) VALUES (?, ?{values})

-- name: delete
DELETE FROM "{table}" WHERE key = ? RETURNING 1

-- name: ordered
SELECT key, row FROM "{table}" ORDER BY key

-- name: select_texts
SELECT name, sql FROM sqlite_master WHERE type = 'table'
