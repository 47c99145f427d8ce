-- works-since: 4
-- The column `status` holds the stage from now on: "waiting" for an open item that a live one blocks, else the status. There
-- are none yet. A program that does not know stages would leave waiting items out of its pages.

ALTER TABLE items ADD COLUMN claimed_by text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE items DROP CONSTRAINT items_status_check;
-- Every row holds one of fewer: none needs to be looked at.
ALTER TABLE items ADD CONSTRAINT items_status_check
CHECK (status IN ('open', 'waiting', 'in_progress', 'blocked', 'done', 'canceled')) NOT VALID;

CREATE INDEX items_claimed ON items (claimed_by, id) WHERE claimed_by > '';
