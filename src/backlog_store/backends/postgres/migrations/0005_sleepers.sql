-- works-since: 4
-- How many items sleep is counted from the index alone: with env and status in it no row of an item is looked at.
DROP INDEX items_wake;
CREATE INDEX items_wake ON items (wake_at, env, status) WHERE wake_at > '';
