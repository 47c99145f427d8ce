-- The column `status` holds the stage from now on: "waiting" for an open item that a live one blocks, else the status. There
-- are none yet. A program that does not know stages would leave waiting items out of its pages.

ALTER TABLE items ADD COLUMN claimed_by TEXT NOT NULL DEFAULT '';

CREATE INDEX items_claimed ON items (claimed_by) WHERE claimed_by <> '';

UPDATE marks SET needs_schema = 2;
