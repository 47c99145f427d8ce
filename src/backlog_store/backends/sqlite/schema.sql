-- The tables of a store, as they are today. A new store is made from this file, an old one by the files in migrations/;
-- a test holds that both end in the same schema. Texts are compared bytewise (BINARY, the default) and are never NULL.

-- One row of what the store knows about itself.
CREATE TABLE marks (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  -- The oldest schema that a program must know to work with this store.
  needs_schema INTEGER NOT NULL,
  -- Items up to this number are in item_words, but for those in stale_words. Never above the greatest number there is.
  words_mark INTEGER NOT NULL,
  -- Items up to this number are in tallies, but for what tally_moves says. Never above the greatest number there is.
  counted_mark INTEGER NOT NULL
) STRICT;

INSERT INTO marks VALUES (1, 5, 0, 0);

-- `doc` is the item, whole; the other columns are copies for finding it. Pages in order are merged from one branch for
-- each status and priority; that no other value is written is seen to before (a CHECK costs a third of the insert).
CREATE TABLE items (
  num INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  revision INTEGER NOT NULL,
  env TEXT NOT NULL,
  service TEXT NOT NULL,
  category TEXT NOT NULL,
  priority TEXT NOT NULL,
  -- The item's stage: "waiting" for an open item that a live one blocks, else its status. What is ready is a branch of
  -- its own in every index that begins so, and costs no index and no column more.
  status TEXT NOT NULL,
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
  -- The position of its newest event, from which `prev` leads to all others; 0 if it has none.
  last_event INTEGER NOT NULL,
  doc BLOB NOT NULL,
  claimed_by TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE UNIQUE INDEX items_key ON items (env, dedupe_key) WHERE dedupe_key <> '';

-- Every page in the orders by priority and by due date, and the counts over these columns. Those after the id let the
-- usual filters be tested without looking at the row.
CREATE INDEX items_order ON items (env, status, priority, due, id, service, category, owner, wake_at);

-- Sparse: they cost nothing for the many items without a close, an expiry or a snooze.
CREATE INDEX items_closed ON items (closed_at, id, env) WHERE closed_at <> '';
CREATE INDEX items_expires ON items (expires_at) WHERE expires_at <> '';
CREATE INDEX items_claimed ON items (claimed_by) WHERE claimed_by <> '';
CREATE INDEX items_wake ON items (wake_at, env, status, priority, due, owner, id) WHERE wake_at <> '';
-- Pages of those that woke, or sleep, in order: without a look at all the others that do.
CREATE INDEX items_wake_order ON items (env, status, priority, due, id, wake_at, owner) WHERE wake_at <> '';

-- Counts, so that nobody has to count: of each counted field (`facet`) how many items there are of each env, status and
-- value of it; and of each of some fields (`facet` says "priority asleep") how many of these wake on which day, so that the
-- many that sleep are not looked at to tell those awake. What is counted by day is counted by month, too (`facet` says "due
-- month", "priority asleep month" and so on, `value` or `wake` has seven letters): a range of days is added up from few
-- counts, however long it is. They hold items up to `counted_mark`; of those that moved to another cell or were purged since,
-- `tally_moves` has one row for the cell that was left (n = -1) and one for the cell that was reached (n = 1).
CREATE TABLE tallies (
  facet TEXT NOT NULL,
  env TEXT NOT NULL,
  status TEXT NOT NULL,
  value TEXT NOT NULL,
  -- The day of `wake_at`, for a facet of those that sleep; else empty.
  wake TEXT NOT NULL,
  n INTEGER NOT NULL,
  PRIMARY KEY (facet, env, status, value, wake)
) STRICT, WITHOUT ROWID;

-- Whoever adds up days adds up months. (Nobody takes a count away, but for those that are 0, and all at once.)
CREATE TRIGGER tallies_new AFTER INSERT ON tallies
WHEN NEW.facet IN ('due', 'priority asleep', 'owner asleep', 'due asleep')
BEGIN
  INSERT INTO tallies (facet, env, status, value, wake, n)
  SELECT facet, NEW.env, NEW.status, value, wake, NEW.n FROM (
    SELECT 'due month' AS facet, substr(NEW.value, 1, 7) AS value, '' AS wake WHERE NEW.facet = 'due'
    UNION ALL
    SELECT NEW.facet || ' month', NEW.value, substr(NEW.wake, 1, 7) WHERE NEW.facet <> 'due'
    UNION ALL
    SELECT 'due month asleep', substr(NEW.value, 1, 7), NEW.wake WHERE NEW.facet = 'due asleep'
    UNION ALL
    SELECT 'due month asleep month', substr(NEW.value, 1, 7), substr(NEW.wake, 1, 7) WHERE NEW.facet = 'due asleep'
  )
  WHERE TRUE
  ON CONFLICT (facet, env, status, value, wake) DO UPDATE SET n = n + excluded.n;
END;

CREATE TRIGGER tallies_changed AFTER UPDATE OF n ON tallies
WHEN NEW.facet IN ('due', 'priority asleep', 'owner asleep', 'due asleep')
BEGIN
  INSERT INTO tallies (facet, env, status, value, wake, n)
  SELECT facet, NEW.env, NEW.status, value, wake, NEW.n - OLD.n FROM (
    SELECT 'due month' AS facet, substr(NEW.value, 1, 7) AS value, '' AS wake WHERE NEW.facet = 'due'
    UNION ALL
    SELECT NEW.facet || ' month', NEW.value, substr(NEW.wake, 1, 7) WHERE NEW.facet <> 'due'
    UNION ALL
    SELECT 'due month asleep', substr(NEW.value, 1, 7), NEW.wake WHERE NEW.facet = 'due asleep'
    UNION ALL
    SELECT 'due month asleep month', substr(NEW.value, 1, 7), substr(NEW.wake, 1, 7) WHERE NEW.facet = 'due asleep'
  )
  WHERE TRUE
  ON CONFLICT (facet, env, status, value, wake) DO UPDATE SET n = n + excluded.n;
END;

CREATE TABLE tally_moves (
  move INTEGER PRIMARY KEY,
  n INTEGER NOT NULL,
  env TEXT NOT NULL,
  status TEXT NOT NULL,
  priority TEXT NOT NULL,
  category TEXT NOT NULL,
  service TEXT NOT NULL,
  owner TEXT NOT NULL,
  source TEXT NOT NULL,
  due TEXT NOT NULL,
  -- The day of `wake_at`; empty for an item that does not sleep.
  wake TEXT NOT NULL DEFAULT '',
  -- The days of `created_at` and `closed_at`.
  created_on TEXT NOT NULL DEFAULT '',
  closed_on TEXT NOT NULL DEFAULT ''
) STRICT;

-- Triggers, so that no way of changing an item can forget them. An update names only the columns that differ: one that
-- moves nothing meets no trigger.
CREATE TRIGGER items_moved AFTER UPDATE OF env, status, priority, category, service, owner, source, due, wake_at, created_at,
  closed_at ON items
WHEN OLD.num <= (SELECT counted_mark FROM marks)
BEGIN
  INSERT INTO tally_moves (n, env, status, priority, category, service, owner, source, due, wake, created_on, closed_on)
  VALUES
    (-1, OLD.env, OLD.status, OLD.priority, OLD.category, OLD.service, OLD.owner, OLD.source, OLD.due,
     substr(OLD.wake_at, 1, 10), substr(OLD.created_at, 1, 10), substr(OLD.closed_at, 1, 10)),
    (1, NEW.env, NEW.status, NEW.priority, NEW.category, NEW.service, NEW.owner, NEW.source, NEW.due,
     substr(NEW.wake_at, 1, 10), substr(NEW.created_at, 1, 10), substr(NEW.closed_at, 1, 10));
END;

CREATE TRIGGER items_gone AFTER DELETE ON items
WHEN OLD.num <= (SELECT counted_mark FROM marks)
BEGIN
  INSERT INTO tally_moves (n, env, status, priority, category, service, owner, source, due, wake, created_on, closed_on)
  VALUES (-1, OLD.env, OLD.status, OLD.priority, OLD.category, OLD.service, OLD.owner, OLD.source, OLD.due,
     substr(OLD.wake_at, 1, 10), substr(OLD.created_at, 1, 10), substr(OLD.closed_at, 1, 10));
END;

-- `words` come cut and folded, separated by single spaces; `terms` are tags, owner and fix, in letters that no tokenizer
-- splits. They are indexed thousands of items at a time, which costs a tenth of doing it one by one.
CREATE VIRTUAL TABLE item_words USING fts5 (words, terms, columnsize = 0, tokenize = "ascii tokenchars '_'");

-- Items whose words or terms changed since they were indexed.
CREATE TABLE stale_words (num INTEGER PRIMARY KEY) STRICT;

-- One writer at a time gives positions in the order of the commits. The last one given stays in the table, as an empty
-- row of revision 0 if its event was purged, so that none comes twice. An event's id is derived from item and revision,
-- which the item's own row guards, so it has no index of its own.
CREATE TABLE events (
  position INTEGER PRIMARY KEY,
  item_id TEXT NOT NULL,
  -- The position of the item's event before this one; 0 for its first, -1 for an event that came with a record and is
  -- in no item's chain. An index of item_id would say the same for one more page in every transaction.
  prev INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  ts TEXT NOT NULL,
  type TEXT NOT NULL,
  actor TEXT NOT NULL,
  batch TEXT NOT NULL,
  added INTEGER NOT NULL,
  doc BLOB NOT NULL
) STRICT;

CREATE INDEX events_unchained ON events (item_id) WHERE prev < 0;

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
