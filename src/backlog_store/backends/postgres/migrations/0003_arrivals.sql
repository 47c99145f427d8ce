-- works-since: 1
-- New items come by the thousand: they are noted in `tally_moves` by one call a statement, not one a row, and as one row
-- for each cell (n = how many). What moves or goes is noted row by row, as before.

ALTER TABLE tally_moves ALTER COLUMN n TYPE integer;

CREATE FUNCTION note_arrivals() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO tally_moves
  SELECT count(*), env, status, priority, category, service, owner, source, due
  FROM fresh
  WHERE revision > 0
  GROUP BY env, status, priority, category, service, owner, source, due;
  RETURN NULL;
END
$$;

DROP TRIGGER items_come ON items;
CREATE TRIGGER items_come AFTER INSERT ON items REFERENCING NEW TABLE AS fresh
FOR EACH STATEMENT EXECUTE FUNCTION note_arrivals();
