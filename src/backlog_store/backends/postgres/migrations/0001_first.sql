-- works-since: 1
-- Items, their events, records and sightings. Run inside one transaction, with search_path on the store's schema.
--
-- Every text compares bytewise, whatever the database's own order is: COLLATE "C". Documents are text, not jsonb, which
-- changes numbers and refuses \u0000. Columns have defaults so that a row can stand for "this id is to stay absent"
-- inside one transaction (see `requiring` in statements.py); no such row is ever committed.

CREATE TABLE items (
  id             text   COLLATE "C" PRIMARY KEY,
  revision       bigint NOT NULL DEFAULT 0,
  env            text   COLLATE "C" NOT NULL DEFAULT '',
  service        text   COLLATE "C" NOT NULL DEFAULT '',
  category       text   COLLATE "C" NOT NULL DEFAULT '',
  -- Pages in order are merged from one branch for each of these values: a row with another one would be in none.
  priority       text   COLLATE "C" NOT NULL DEFAULT 'P3' CHECK (priority IN ('P0', 'P1', 'P2', 'P3')),
  status         text   COLLATE "C" NOT NULL DEFAULT 'open'
                 CHECK (status IN ('open', 'in_progress', 'blocked', 'done', 'canceled')),
  owner          text   COLLATE "C" NOT NULL DEFAULT '',
  source         text   COLLATE "C" NOT NULL DEFAULT '',
  dedupe_key     text   COLLATE "C" NOT NULL DEFAULT '',
  due            text   COLLATE "C" NOT NULL DEFAULT '9999-99-99',
  created_at     text   COLLATE "C" NOT NULL DEFAULT '',
  updated_at     text   COLLATE "C" NOT NULL DEFAULT '',
  wake_at        text   COLLATE "C" NOT NULL DEFAULT '',
  closed_at      text   COLLATE "C" NOT NULL DEFAULT '',
  closed_reason  text   COLLATE "C" NOT NULL DEFAULT '',
  expires_at     text   COLLATE "C" NOT NULL DEFAULT '',
  fix            text   COLLATE "C" NOT NULL DEFAULT '',
  doc            text   NOT NULL DEFAULT ''
);

-- At most one item a key; an item without a key is unique by itself. The env comes last, so that a dedupe key alone is
-- found, too.
CREATE UNIQUE INDEX items_key ON items (dedupe_key, env) WHERE dedupe_key > '';
-- Pages in order of priority and of due date are merged from branches of these two (backends/sql/compile.py).
CREATE INDEX items_ready ON items (status, priority, due, id);
CREATE INDEX items_ready_in_env ON items (env, status, priority, due, id);
CREATE INDEX items_created ON items (created_at, id);
CREATE INDEX items_updated ON items (updated_at, id);
-- Few items have these: an index of those that do is small, and the queries repeat its condition.
CREATE INDEX items_owner ON items (owner, id) WHERE owner > '';
CREATE INDEX items_fix ON items (fix, id) WHERE fix > '';
CREATE INDEX items_closed ON items (closed_at, id) WHERE closed_at > '';
CREATE INDEX items_expires ON items (expires_at, id) WHERE expires_at > '';

CREATE TABLE item_tags (
  item_id  text COLLATE "C" NOT NULL,
  tag      text COLLATE "C" NOT NULL,
  PRIMARY KEY (item_id, tag)
);
CREATE INDEX item_tags_tag ON item_tags (tag, item_id);

-- Which words an item's text holds, and in what order. A table of its own: most changes of an item leave its text
-- alone, and would write every index entry of its words again. `words` has no positions: a tsvector keeps only 256 a
-- word and drops the rest silently; a phrase is checked in `said`, where the words stand between single spaces.
CREATE TABLE item_words (
  item_id  text     COLLATE "C" PRIMARY KEY,
  words    tsvector NOT NULL,
  said     text     COLLATE "C" NOT NULL
);
CREATE INDEX item_words_words ON item_words USING gin (words);

-- What is added to a transaction's id to make the first half of a position. Transaction ids start anew in a cluster
-- that was restored from a dump; positions must not.
CREATE TABLE clock (base bigint NOT NULL);
INSERT INTO clock (base) VALUES (0);

-- (tx, n) is the position: the transaction, and the event's number in it.
CREATE TABLE events (
  tx       bigint  NOT NULL,
  n        integer NOT NULL,
  item_id  text    COLLATE "C" NOT NULL,
  type     text    COLLATE "C" NOT NULL,
  actor    text    COLLATE "C" NOT NULL,
  ts       text    COLLATE "C" NOT NULL,
  batch    text    COLLATE "C" NOT NULL,
  added    boolean NOT NULL,
  doc      text    NOT NULL,
  PRIMARY KEY (tx, n)
);
CREATE INDEX events_item ON events (item_id, tx, n);
CREATE INDEX events_batch ON events (batch, tx, n) WHERE batch > '';

CREATE TABLE records (
  kind      text   COLLATE "C" NOT NULL,
  id        text   COLLATE "C" NOT NULL,
  revision  bigint NOT NULL,
  doc       text   NOT NULL,
  PRIMARY KEY (kind, id)
);

-- A sighting record, spread over slots: one server process adds up in one slot, so that many reporters of one problem
-- do not wait for each other. `run_at` is the transaction that set `run`: the newest one counts.
CREATE TABLE sightings (
  id        text     COLLATE "C" NOT NULL,
  slot      smallint NOT NULL,
  n         bigint   NOT NULL,
  first_at  text     COLLATE "C" NOT NULL,
  last_at   text     COLLATE "C" NOT NULL,
  run       text     COLLATE "C" NOT NULL,
  run_at    bigint   NOT NULL,
  PRIMARY KEY (id, slot)
);

-- Always empty. A writer that runs again after a conflict locks it, and so waits its turn *before* its snapshot is
-- taken: LOCK TABLE is the one statement that waits without a snapshot (see backends/DESIGN.md).
CREATE TABLE turn ();
