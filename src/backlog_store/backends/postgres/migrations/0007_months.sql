-- works-since: 4
-- What is counted by day is counted by month as well, so that few counts answer for a long range of days: facets "due month",
-- "priority asleep month" and so on, with the month in `value` or `wake`. A trigger does it: the release before goes on
-- reading, writing and adding up, and adds up months, too.

-- From here on nobody adds up until the months stand.
LOCK TABLE tallies IN SHARE ROW EXCLUSIVE MODE;

INSERT INTO tallies (facet, env, status, value, wake, n)
SELECT facet, env, status, value, wake, sum(n) FROM (
  SELECT 'due month' AS facet, env, status, left(value, 7) AS value, wake, n FROM tallies WHERE facet = 'due'
  UNION ALL
  SELECT facet || ' month', env, status, value, left(wake, 7), n FROM tallies
  WHERE facet IN ('priority asleep', 'owner asleep', 'due asleep')
  UNION ALL
  SELECT 'due month asleep', env, status, left(value, 7), wake, n FROM tallies WHERE facet = 'due asleep'
  UNION ALL
  SELECT 'due month asleep month', env, status, left(value, 7), left(wake, 7), n FROM tallies
  WHERE facet = 'due asleep'
) AS days
GROUP BY facet, env, status, value, wake;

CREATE FUNCTION add_month() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  more bigint := CASE WHEN TG_OP = 'INSERT' THEN NEW.n ELSE NEW.n - OLD.n END;
BEGIN
  INSERT INTO tallies AS t (facet, env, status, value, wake, n)
  SELECT month.facet, NEW.env, NEW.status, month.value, month.wake, more
  FROM (
    SELECT 'due month' AS facet, left(NEW.value, 7) AS value, '' AS wake WHERE NEW.facet = 'due'
    UNION ALL
    SELECT NEW.facet || ' month', NEW.value, left(NEW.wake, 7) WHERE NEW.facet <> 'due'
    UNION ALL
    SELECT 'due month asleep', left(NEW.value, 7), NEW.wake WHERE NEW.facet = 'due asleep'
    UNION ALL
    SELECT 'due month asleep month', left(NEW.value, 7), left(NEW.wake, 7) WHERE NEW.facet = 'due asleep'
  ) AS month
  ON CONFLICT (facet, env, status, value, wake) DO UPDATE SET n = t.n + excluded.n;
  RETURN NULL;
END
$$;
CREATE TRIGGER tallies_months AFTER INSERT OR UPDATE OF n ON tallies FOR EACH ROW
WHEN (NEW.facet IN ('due', 'priority asleep', 'owner asleep', 'due asleep'))
EXECUTE FUNCTION add_month();
