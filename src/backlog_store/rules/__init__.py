"""
The rules of the backlog, once: pure functions from a view of the store and a command to changes and an answer.

No input, no output, no clock, no randomness. `decide` is the one way in.
"""

from backlog_store.rules.checks import check_draft, draft_faults, draft_from
from backlog_store.rules.decide import Decision, check_command, decide, hint_of
from backlog_store.rules.view import split_by_item

__all__ = [
    "Decision",
    "check_command",
    "check_draft",
    "decide",
    "draft_faults",
    "draft_from",
    "hint_of",
    "split_by_item",
]
