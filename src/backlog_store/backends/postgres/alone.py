"""
The statements of the most common write: one item, its words, its tags and its event.

Each statement costs about as much as what it does, so here all of it is one.
"""

# ruff: noqa: S608 - what is put into these texts are fixed names of columns; values are parameters.
from __future__ import annotations

from collections.abc import Sequence

from backlog_store.backends.postgres import forms
from backlog_store.backends.postgres.forms import EVENT, EVENT_NAMES, ITEM, ITEM_NAMES, TX, Row, marks
from backlog_store.backends.postgres.parameters import array
from backlog_store.backends.postgres.wire import Statement

__all__ = ["changed_alone", "new_alone"]

#: The parameters: the columns of the item, then those of its event, its words, what is said, its tags.
_OF_EVENT = ", ".join(f"${number}::{type}" for number, (_, type) in enumerate(EVENT, len(ITEM) + 1))
_WORDS, _SAID, _TAGS = (f"${len(ITEM) + len(EVENT) + number}" for number in (1, 2, 3))
_NEW = f"""
WITH item AS (
  INSERT INTO items ({ITEM_NAMES}) VALUES ({marks(ITEM)})
),
words AS (
  INSERT INTO item_words (item_id, words, said) VALUES ($1, {_WORDS}, {_SAID})
),
tags AS (
  INSERT INTO item_tags (item_id, tag) SELECT $1, unnest({_TAGS}::text[])
)
INSERT INTO events (tx, {EVENT_NAMES}) VALUES ({TX}, {_OF_EVENT})
RETURNING tx
"""
_CHANGED = f"""
WITH done AS (
  UPDATE items
  SET {", ".join(f"{name} = ${number}" for number, (name, _) in enumerate(ITEM[1:], 2))}
  WHERE id = $1 AND revision = $2::bigint - 1
  RETURNING 1
),
checked AS (
  SELECT 1 / count(*) AS one FROM done
){{words}}
INSERT INTO events (tx, {EVENT_NAMES})
SELECT {TX}, {_OF_EVENT} FROM checked WHERE one = 1
RETURNING tx
"""
_CHANGED_ALONE = _CHANGED.format(words="")
_CHANGED_WITH_WORDS = _CHANGED.format(
    words=f""",
words AS (
  INSERT INTO item_words (item_id, words, said) VALUES ($1, {_WORDS}, {_SAID})
  ON CONFLICT (item_id) DO UPDATE SET words = excluded.words, said = excluded.said
)"""
)


def new_alone(item: Row, event: Row, words: Row, tags: Sequence[Row]) -> Statement:
    """
    Return the statement that creates one item with its event, words and tags.
    """
    _, found, said = words
    return Statement(_NEW, (*item, *event, found, said, array([tag for _, tag in tags])), True, forms.EVENTS.name)


def changed_alone(item: Row, event: Row, words: Row | None) -> Statement:
    """
    Return the statement that changes one item, and its words if given, with its event.
    """
    if words is None:
        return Statement(_CHANGED_ALONE, (*item, *event), True, forms.EVENTS.name)
    _, found, said = words
    return Statement(_CHANGED_WITH_WORDS, (*item, *event, found, said), True, forms.EVENTS.name)
