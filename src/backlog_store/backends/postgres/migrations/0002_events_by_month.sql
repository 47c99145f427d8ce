-- works-since: 1
-- Events lie in one table a month, by the day (UTC) on which the server recorded them: what is old falls by dropping a
-- table. The day comes from the server and not from the event, whose `ts` is its caller's. Writers name no month, so a
-- program that knows nothing of this writes on.

-- The table that was there becomes the month that runs, and holds all before it: nothing is copied.
DO $$
DECLARE
  today  date := (now() AT TIME ZONE 'UTC')::date;
  month  date := date_trunc('month', today)::date;
  name   text := 'events_' || to_char(month, 'YYYY_MM');
BEGIN
  EXECUTE format('ALTER TABLE events RENAME TO %I', name);
  EXECUTE format('ALTER TABLE %I DROP CONSTRAINT events_pkey', name);
  EXECUTE format('ALTER INDEX events_item RENAME TO %I', name || '_item');
  EXECUTE format('ALTER INDEX events_batch RENAME TO %I', name || '_batch');
  -- One value for all rows that are there, so that no row is written again.
  EXECUTE format(
    'ALTER TABLE %I ADD COLUMN recorded date NOT NULL DEFAULT (now() AT TIME ZONE ''UTC'')::date', name
  );
  CREATE TABLE events (
    tx        bigint  NOT NULL,
    n         integer NOT NULL,
    item_id   text    COLLATE "C" NOT NULL,
    type      text    COLLATE "C" NOT NULL,
    actor     text    COLLATE "C" NOT NULL,
    ts        text    COLLATE "C" NOT NULL,
    batch     text    COLLATE "C" NOT NULL,
    added     boolean NOT NULL,
    doc       text    NOT NULL,
    recorded  date    NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')::date,
    PRIMARY KEY (tx, n, recorded)
  ) PARTITION BY RANGE (recorded);
  CREATE INDEX events_item ON events (item_id, tx, n);
  CREATE INDEX events_batch ON events (batch, tx, n) WHERE batch > '';
  EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (tx, n, recorded)', name);
  EXECUTE format(
    'ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)', name, month + interval '1 month'
  );
END
$$;

-- Where no month has a table yet, an event is kept here: a late maintenance loses nothing and stops nobody.
CREATE TABLE events_default PARTITION OF events DEFAULT;

-- Make the tables of this month and of so many to come, where they are missing; tell how many were made. Made apart and
-- then attached: that lets writers go on. (CREATE … PARTITION OF would make them wait for every reader.) What lies in
-- the default table stays there, and with it its month.
CREATE FUNCTION make_event_months(ahead integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  this   date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
  month  date;
  after  date;
  name   text;
  made   integer := 0;
BEGIN
  FOR number IN 0..ahead LOOP
    month := (this + make_interval(months => number))::date;
    after := (month + interval '1 month')::date;
    name := 'events_' || to_char(month, 'YYYY_MM');
    CONTINUE WHEN EXISTS (SELECT FROM pg_tables WHERE schemaname = current_schema() AND tablename = name);
    CONTINUE WHEN EXISTS (SELECT FROM events_default WHERE recorded >= month AND recorded < after);
    EXECUTE format('CREATE TABLE %I (LIKE events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (tx, n, recorded)', name);
    EXECUTE format('CREATE INDEX %I ON %I (item_id, tx, n)', name || '_item', name);
    EXECUTE format('CREATE INDEX %I ON %I (batch, tx, n) WHERE batch > ''''', name || '_batch', name);
    EXECUTE format('ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, month, after);
    made := made + 1;
  END LOOP;
  RETURN made;
END
$$;
SELECT make_event_months(2);
