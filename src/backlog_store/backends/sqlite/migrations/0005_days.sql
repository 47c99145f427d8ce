-- Items are counted by the days on which they were created and closed as well, so that what came and went is known without
-- a look at each. An older program would add up what moved without these days, so none may work here any more.

-- Pages of what was closed lately, of one env: without a look at the rows of the others.
DROP INDEX items_closed;
CREATE INDEX items_closed ON items (closed_at, id, env) WHERE closed_at <> '';

-- What waits is added up as it was noted, without the days.
INSERT INTO tallies (facet, env, status, value, wake, n)
SELECT facet, env, status, value, wake, SUM(n) FROM (
  SELECT 'priority' AS facet, env, status, priority AS value, '' AS wake, n FROM tally_moves
  UNION ALL
  SELECT 'category' AS facet, env, status, category AS value, '' AS wake, n FROM tally_moves
  UNION ALL
  SELECT 'service' AS facet, env, status, service AS value, '' AS wake, n FROM tally_moves
  UNION ALL
  SELECT 'owner' AS facet, env, status, owner AS value, '' AS wake, n FROM tally_moves
  UNION ALL
  SELECT 'source' AS facet, env, status, source AS value, '' AS wake, n FROM tally_moves
  UNION ALL
  SELECT 'due' AS facet, env, status, due AS value, '' AS wake, n FROM tally_moves
  UNION ALL
  SELECT 'priority asleep', env, status, priority, wake, n FROM tally_moves WHERE wake <> ''
  UNION ALL
  SELECT 'owner asleep', env, status, owner, wake, n FROM tally_moves WHERE wake <> ''
  UNION ALL
  SELECT 'due asleep', env, status, due, wake, n FROM tally_moves WHERE wake <> ''
)
WHERE TRUE
GROUP BY facet, env, status, value, wake
ON CONFLICT (facet, env, status, value, wake) DO UPDATE SET n = n + excluded.n;

DELETE FROM tally_moves;
ALTER TABLE tally_moves ADD COLUMN created_on TEXT NOT NULL DEFAULT '';
ALTER TABLE tally_moves ADD COLUMN closed_on TEXT NOT NULL DEFAULT '';

INSERT INTO tallies (facet, env, status, value, wake, n)
SELECT 'created_on', env, status, substr(created_at, 1, 10), '', COUNT(*) FROM items
WHERE num <= (SELECT counted_mark FROM marks) GROUP BY env, status, substr(created_at, 1, 10);

INSERT INTO tallies (facet, env, status, value, wake, n)
SELECT 'closed_on', env, status, substr(closed_at, 1, 10), '', COUNT(*) FROM items
WHERE num <= (SELECT counted_mark FROM marks) GROUP BY env, status, substr(closed_at, 1, 10);

DROP TRIGGER items_moved;
DROP TRIGGER items_gone;

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

UPDATE marks SET needs_schema = 5;
