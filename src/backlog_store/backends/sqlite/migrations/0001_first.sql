-- The first schema.

-- One row of what the store knows about itself.
CREATE TABLE marks (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  -- The oldest schema that a program must know to work with this store.
  needs_schema INTEGER NOT NULL,
  -- Positions up to this one were given, also where their events were purged since: no position comes twice.
  position_mark INTEGER NOT NULL,
  -- Items up to this number are in item_words, but for those in stale_words. Numbers above it may come again.
  words_mark INTEGER NOT NULL
) STRICT;

INSERT INTO marks VALUES (1, 1, 0, 0);

-- `doc` is the item, whole; the other columns are copies for finding it. Declared values are checked, because the pages
-- in order are merged from one branch for each of them: a row with another value would be in no branch.
CREATE TABLE items (
  num INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  revision INTEGER NOT NULL,
  env TEXT NOT NULL,
  service TEXT NOT NULL,
  category TEXT NOT NULL,
  priority TEXT NOT NULL CHECK (priority IN ('P0', 'P1', 'P2', 'P3')),
  status TEXT NOT NULL CHECK (status IN ('open', 'in_progress', 'blocked', 'done', 'canceled')),
  owner TEXT NOT NULL,
  source TEXT NOT NULL,
  dedupe_key TEXT NOT NULL,
  -- The due date, or 9999-99-99 for none, which sorts last.
  due TEXT NOT NULL,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  wake_at TEXT NOT NULL,
  closed_at TEXT NOT NULL,
  closed_reason TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  fix TEXT NOT NULL,
  doc BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX items_key ON items (env, dedupe_key) WHERE dedupe_key > '';

-- Every page in the orders by priority and by due date, and the counts over these columns. Those after the id let the
-- usual filters be tested without looking at the row.
CREATE INDEX items_order ON items (env, status, priority, due, id, service, category, owner, wake_at);

-- Sparse: they cost nothing for the many items without an owner, a common fix, a close or an expiry.
CREATE INDEX items_owner ON items (owner) WHERE owner > '';
CREATE INDEX items_fix ON items (fix) WHERE fix > '';
CREATE INDEX items_closed ON items (closed_at, id) WHERE closed_at > '';
CREATE INDEX items_expires ON items (expires_at) WHERE expires_at > '';

CREATE TABLE item_tags (
  tag TEXT NOT NULL,
  item_id TEXT NOT NULL,
  PRIMARY KEY (tag, item_id)
) STRICT, WITHOUT ROWID;

-- Words come cut and folded, separated by single spaces: this tokenizer only splits them again. They are indexed many
-- items at a time, which costs a sixth of doing it one by one.
CREATE VIRTUAL TABLE item_words USING fts5 (words, columnsize = 0, tokenize = "ascii tokenchars '_'");

-- Items whose text changed since their words were indexed.
CREATE TABLE stale_words (num INTEGER PRIMARY KEY) STRICT;

-- One writer at a time gives positions in the order of the commits. An event's id is derived from item and revision,
-- which the item's own row guards, so neither has an index of its own.
CREATE TABLE events (
  position INTEGER PRIMARY KEY,
  item_id TEXT NOT NULL,
  revision INTEGER NOT NULL,
  ts TEXT NOT NULL,
  type TEXT NOT NULL,
  actor TEXT NOT NULL,
  batch TEXT NOT NULL,
  added INTEGER NOT NULL,
  doc BLOB NOT NULL
) STRICT;

CREATE INDEX events_item ON events (item_id);

CREATE TABLE records (
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  revision INTEGER NOT NULL,
  expires_at TEXT NOT NULL,
  doc BLOB NOT NULL,
  PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

-- Read as records of the kind "sighting"; `id` is <item id>/<source>.
CREATE TABLE sightings (
  id TEXT PRIMARY KEY,
  item_id TEXT NOT NULL,
  n INTEGER NOT NULL,
  first_at TEXT NOT NULL,
  last_at TEXT NOT NULL,
  run TEXT NOT NULL
) STRICT, WITHOUT ROWID;
