"""
Saved views: whoever saves one, it can be asked.
"""

from __future__ import annotations

import pytest

from backlog_store.backlog import Backlog
from backlog_store.errors import InvalidQuery


def test_a_view_that_cannot_be_asked_is_not_kept(person: Backlog) -> None:
    """
    The place is told, and the view that the name had stays.
    """
    person.save_view("mine", "owner:@me")
    with pytest.raises(InvalidQuery) as refused:
        person.save_view("mine", "web ownr:me")
    assert refused.value.offset == 4
    assert dict(person.views()) == {"mine": "owner:@me"}
