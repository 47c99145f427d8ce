-- Those that sleep are counted by the day on which they wake, so that nobody looks at each to tell how many are awake. A
-- program that does not know of it would forget these counts when it adds up.

DROP INDEX items_wake;
CREATE INDEX items_wake ON items (wake_at, env, status, priority, due, owner, id) WHERE wake_at <> '';

ALTER TABLE tallies RENAME TO tallies_before;
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

INSERT INTO tallies SELECT facet, env, status, value, '', n FROM tallies_before;
DROP TABLE tallies_before;

INSERT INTO tallies
SELECT 'priority asleep', env, status, priority, substr(wake_at, 1, 10), COUNT(*) FROM items INDEXED BY items_wake
WHERE wake_at <> '' AND num <= (SELECT counted_mark FROM marks) GROUP BY env, status, priority, substr(wake_at, 1, 10);

INSERT INTO tallies
SELECT 'owner asleep', env, status, owner, substr(wake_at, 1, 10), COUNT(*) FROM items INDEXED BY items_wake
WHERE wake_at <> '' AND num <= (SELECT counted_mark FROM marks) GROUP BY env, status, owner, substr(wake_at, 1, 10);

INSERT INTO tallies
SELECT 'due asleep', env, status, due, substr(wake_at, 1, 10), COUNT(*) FROM items INDEXED BY items_wake
WHERE wake_at <> '' AND num <= (SELECT counted_mark FROM marks) GROUP BY env, status, due, substr(wake_at, 1, 10);

-- What waits there says nothing of sleepers, who were just counted as they are now.
ALTER TABLE tally_moves ADD COLUMN wake TEXT NOT NULL DEFAULT '';

DROP TRIGGER items_moved;
DROP TRIGGER items_gone;
CREATE TRIGGER items_moved AFTER UPDATE OF env, status, priority, category, service, owner, source, due, wake_at ON items
WHEN OLD.num <= (SELECT counted_mark FROM marks)
BEGIN
  INSERT INTO tally_moves (n, env, status, priority, category, service, owner, source, due, wake)
  VALUES
    (-1, OLD.env, OLD.status, OLD.priority, OLD.category, OLD.service, OLD.owner, OLD.source, OLD.due,
     substr(OLD.wake_at, 1, 10)),
    (1, NEW.env, NEW.status, NEW.priority, NEW.category, NEW.service, NEW.owner, NEW.source, NEW.due,
     substr(NEW.wake_at, 1, 10));
END;

CREATE TRIGGER items_gone AFTER DELETE ON items
WHEN OLD.num <= (SELECT counted_mark FROM marks)
BEGIN
  INSERT INTO tally_moves (n, env, status, priority, category, service, owner, source, due, wake)
  VALUES (-1, OLD.env, OLD.status, OLD.priority, OLD.category, OLD.service, OLD.owner, OLD.source, OLD.due,
     substr(OLD.wake_at, 1, 10));
END;

UPDATE marks SET needs_schema = 3;
