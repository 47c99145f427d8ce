-- What is counted by day is counted by month as well, so that few counts answer for a long range of days. Triggers do it: a
-- program that does not know of it goes on working, and adds up months, too.

-- Pages of those that woke, or sleep, in order.
CREATE INDEX items_wake_order ON items (env, status, priority, due, id, wake_at, owner) WHERE wake_at <> '';

INSERT INTO tallies
SELECT facet, env, status, value, wake, SUM(n) FROM (
  SELECT 'due month' AS facet, env, status, substr(value, 1, 7) AS value, wake, n FROM tallies WHERE facet = 'due'
  UNION ALL
  SELECT facet || ' month', env, status, value, substr(wake, 1, 7), n FROM tallies
  WHERE facet IN ('priority asleep', 'owner asleep', 'due asleep')
  UNION ALL
  SELECT 'due month asleep', env, status, substr(value, 1, 7), wake, n FROM tallies WHERE facet = 'due asleep'
  UNION ALL
  SELECT 'due month asleep month', env, status, substr(value, 1, 7), substr(wake, 1, 7), n FROM tallies
  WHERE facet = 'due asleep'
)
GROUP BY facet, env, status, value, wake;

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
