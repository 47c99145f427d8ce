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
CREATE INDEX items_wake ON items (wake_at, id) WHERE wake_at > '';

-- Counts, so that nobody has to count: of each counted field (`facet`) how many items there are of each env, status and
-- value of it. Writers only append to `tally_moves`, so that none waits for another: a row for the cell that an item left
-- (n = -1), one for the cell that it reached (n = 1). A bounded step adds them up now and then (tallies.py).
CREATE TABLE tallies (
  facet   text   COLLATE "C" NOT NULL,
  env     text   COLLATE "C" NOT NULL,
  status  text   COLLATE "C" NOT NULL,
  value   text   COLLATE "C" NOT NULL,
  n       bigint NOT NULL,
  PRIMARY KEY (facet, env, status, value)
);
-- Read whole each time: what was added up is to make room soon.
CREATE TABLE tally_moves (
  n         smallint NOT NULL,
  env       text     COLLATE "C" NOT NULL,
  status    text     COLLATE "C" NOT NULL,
  priority  text     COLLATE "C" NOT NULL,
  category  text     COLLATE "C" NOT NULL,
  service   text     COLLATE "C" NOT NULL,
  owner     text     COLLATE "C" NOT NULL,
  source    text     COLLATE "C" NOT NULL,
  due       text     COLLATE "C" NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- A trigger, so that no way of changing an item can forget them.
CREATE FUNCTION note_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP <> 'INSERT' THEN
    INSERT INTO tally_moves
    VALUES (-1, OLD.env, OLD.status, OLD.priority, OLD.category, OLD.service, OLD.owner, OLD.source, OLD.due);
  END IF;
  IF TG_OP <> 'DELETE' THEN
    INSERT INTO tally_moves
    VALUES (1, NEW.env, NEW.status, NEW.priority, NEW.category, NEW.service, NEW.owner, NEW.source, NEW.due);
  END IF;
  RETURN NULL;
END
$$;
CREATE TRIGGER items_come AFTER INSERT ON items FOR EACH ROW WHEN (NEW.revision > 0) EXECUTE FUNCTION note_move();
CREATE TRIGGER items_gone AFTER DELETE ON items FOR EACH ROW WHEN (OLD.revision > 0) EXECUTE FUNCTION note_move();
CREATE TRIGGER items_moved AFTER UPDATE ON items FOR EACH ROW
WHEN (
  (OLD.env, OLD.status, OLD.priority, OLD.category, OLD.service, OLD.owner, OLD.source, OLD.due)
  IS DISTINCT FROM
  (NEW.env, NEW.status, NEW.priority, NEW.category, NEW.service, NEW.owner, NEW.source, NEW.due)
)
EXECUTE FUNCTION note_move();

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
