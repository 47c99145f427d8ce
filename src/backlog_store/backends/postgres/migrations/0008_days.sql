-- works-since: 4
-- Items are counted by the days on which they were created and closed as well: facets "created_on" and "closed_on", the day in
-- `value`. So what came and went is known without a look at each. A trigger adds up the days of whatever is taken out of
-- `tally_moves`: the release before goes on reading, writing and adding up, and adds up days, too.

-- From here on nobody writes, or adds up, until the counts of days stand.
LOCK TABLE items, tallies, tally_moves;

-- Pages of what was closed lately, of one env: without a look at the rows of the others.
DROP INDEX items_closed;
CREATE INDEX items_closed ON items (closed_at, id, env) WHERE closed_at > '';

-- What waits is added up as it was noted, without the days.
INSERT INTO tallies AS t (facet, env, status, value, wake, n)
SELECT cell.facet, env, status, cell.value, cell.wake, sum(n)
FROM tally_moves
CROSS JOIN LATERAL (VALUES
  ('priority', priority, ''), ('category', category, ''), ('service', service, ''), ('owner', owner, ''), ('source', source, ''), ('due', due, ''),
  ('priority asleep', priority, wake), ('owner asleep', owner, wake), ('due asleep', due, wake)
) AS cell (facet, value, wake)
WHERE cell.wake > '' OR cell.facet NOT LIKE '% asleep'
GROUP BY 1, 2, 3, 4, 5
HAVING sum(n) <> 0
ON CONFLICT (facet, env, status, value, wake) DO UPDATE SET n = t.n + excluded.n;

DELETE FROM tally_moves;
ALTER TABLE tally_moves ADD COLUMN created_on text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE tally_moves ADD COLUMN closed_on text COLLATE "C" NOT NULL DEFAULT '';

INSERT INTO tallies (facet, env, status, value, wake, n)
SELECT 'created_on', env, status, left(created_at, 10), '', count(*) FROM items
WHERE revision > 0 GROUP BY env, status, left(created_at, 10);

INSERT INTO tallies (facet, env, status, value, wake, n)
SELECT 'closed_on', env, status, left(closed_at, 10), '', count(*) FROM items
WHERE revision > 0 GROUP BY env, status, left(closed_at, 10);

CREATE FUNCTION add_days() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO tallies AS t (facet, env, status, value, wake, n)
  SELECT day.facet, gone.env, gone.status, day.value, '', sum(gone.n)
  FROM gone
  CROSS JOIN LATERAL (VALUES ('created_on', gone.created_on), ('closed_on', gone.closed_on)) AS day (facet, value)
  GROUP BY day.facet, gone.env, gone.status, day.value
  HAVING sum(gone.n) <> 0
  ON CONFLICT (facet, env, status, value, wake) DO UPDATE SET n = t.n + excluded.n;
  RETURN NULL;
END
$$;
CREATE TRIGGER tally_moves_days AFTER DELETE ON tally_moves REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT EXECUTE FUNCTION add_days();

CREATE OR REPLACE FUNCTION note_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP <> 'INSERT' THEN
    INSERT INTO tally_moves (n, env, status, priority, category, service, owner, source, due, wake, created_on, closed_on)
    VALUES (-1, OLD.env, OLD.status, OLD.priority, OLD.category, OLD.service, OLD.owner, OLD.source, OLD.due,
            left(OLD.wake_at, 10), left(OLD.created_at, 10), left(OLD.closed_at, 10));
  END IF;
  IF TG_OP <> 'DELETE' THEN
    INSERT INTO tally_moves (n, env, status, priority, category, service, owner, source, due, wake, created_on, closed_on)
    VALUES (1, NEW.env, NEW.status, NEW.priority, NEW.category, NEW.service, NEW.owner, NEW.source, NEW.due,
            left(NEW.wake_at, 10), left(NEW.created_at, 10), left(NEW.closed_at, 10));
  END IF;
  RETURN NULL;
END
$$;
CREATE OR REPLACE FUNCTION note_arrivals() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO tally_moves (n, env, status, priority, category, service, owner, source, due, wake, created_on, closed_on)
  SELECT count(*), env, status, priority, category, service, owner, source, due, left(wake_at, 10), left(created_at, 10),
         left(closed_at, 10)
  FROM fresh
  WHERE revision > 0
  GROUP BY env, status, priority, category, service, owner, source, due, left(wake_at, 10), left(created_at, 10),
           left(closed_at, 10);
  RETURN NULL;
END
$$;
DROP TRIGGER items_moved ON items;
CREATE TRIGGER items_moved AFTER UPDATE ON items FOR EACH ROW
WHEN (
  (OLD.env, OLD.status, OLD.priority, OLD.category, OLD.service, OLD.owner, OLD.source, OLD.due, OLD.wake_at, OLD.created_at,
   OLD.closed_at)
  IS DISTINCT FROM
  (NEW.env, NEW.status, NEW.priority, NEW.category, NEW.service, NEW.owner, NEW.source, NEW.due, NEW.wake_at, NEW.created_at,
   NEW.closed_at)
)
EXECUTE FUNCTION note_move();
