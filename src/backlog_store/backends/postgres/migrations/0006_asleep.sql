-- works-since: 4
-- Those that sleep are counted by the day on which they wake, too, so that nobody looks at each to tell how many are awake:
-- facets "priority asleep" and so on, and the day (of `wake_at`) in `wake`, which is empty elsewhere. The release before
-- goes on reading and writing; it cannot add up any more, and leaves that to this one.

-- From here on nobody writes, or reads, until the counts of sleepers stand.
LOCK TABLE items;
-- With the order of a page in it, the first of those that woke are found without a look at any other's row.
DROP INDEX items_wake;
CREATE INDEX items_wake ON items (wake_at, env, status, priority, due, owner, id) WHERE wake_at > '';

ALTER TABLE tallies DROP CONSTRAINT tallies_pkey;
ALTER TABLE tallies ADD COLUMN wake text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE tallies ADD PRIMARY KEY (facet, env, status, value, wake);
-- What waits there says nothing of sleepers, who are counted as they are now.
ALTER TABLE tally_moves ADD COLUMN wake text COLLATE "C" NOT NULL DEFAULT '';

INSERT INTO tallies (facet, env, status, value, wake, n)
SELECT 'priority asleep', env, status, priority, left(wake_at, 10), count(*) FROM items
WHERE wake_at > '' GROUP BY env, status, priority, left(wake_at, 10);

INSERT INTO tallies (facet, env, status, value, wake, n)
SELECT 'owner asleep', env, status, owner, left(wake_at, 10), count(*) FROM items
WHERE wake_at > '' GROUP BY env, status, owner, left(wake_at, 10);

INSERT INTO tallies (facet, env, status, value, wake, n)
SELECT 'due asleep', env, status, due, left(wake_at, 10), count(*) FROM items
WHERE wake_at > '' GROUP BY env, status, due, left(wake_at, 10);

CREATE OR REPLACE FUNCTION note_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP <> 'INSERT' THEN
    INSERT INTO tally_moves (n, env, status, priority, category, service, owner, source, due, wake)
    VALUES (-1, OLD.env, OLD.status, OLD.priority, OLD.category, OLD.service, OLD.owner, OLD.source, OLD.due,
            left(OLD.wake_at, 10));
  END IF;
  IF TG_OP <> 'DELETE' THEN
    INSERT INTO tally_moves (n, env, status, priority, category, service, owner, source, due, wake)
    VALUES (1, NEW.env, NEW.status, NEW.priority, NEW.category, NEW.service, NEW.owner, NEW.source, NEW.due,
            left(NEW.wake_at, 10));
  END IF;
  RETURN NULL;
END
$$;
CREATE OR REPLACE FUNCTION note_arrivals() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO tally_moves (n, env, status, priority, category, service, owner, source, due, wake)
  SELECT count(*), env, status, priority, category, service, owner, source, due, left(wake_at, 10)
  FROM fresh
  WHERE revision > 0
  GROUP BY env, status, priority, category, service, owner, source, due, left(wake_at, 10);
  RETURN NULL;
END
$$;
DROP TRIGGER items_moved ON items;
CREATE TRIGGER items_moved AFTER UPDATE ON items FOR EACH ROW
WHEN (
  (OLD.env, OLD.status, OLD.priority, OLD.category, OLD.service, OLD.owner, OLD.source, OLD.due, OLD.wake_at)
  IS DISTINCT FROM
  (NEW.env, NEW.status, NEW.priority, NEW.category, NEW.service, NEW.owner, NEW.source, NEW.due, NEW.wake_at)
)
EXECUTE FUNCTION note_move();
