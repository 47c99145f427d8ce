"""
What proves nothing, and what is too much for a machine alone: the bounds of a run (`policy.closing`).
"""

from __future__ import annotations

from collections.abc import Sequence

from backlog_store.policy.closing import Closing
from backlog_store.rules.lanes import Lane, Run

__all__ = ["too_much", "why_nothing_is_proven"]


_BEFORE = 3


def why_nothing_is_proven(lane: Lane, run: Run, refused: int, closing: Closing) -> tuple[str, str]:
    """
    Return the state and the reason of a run that proves nothing; two empty texts for one that does.
    """
    if refused:
        return "short", f"{refused:,} of its findings were refused"
    if run.reported == 0 and run.outside:
        return "empty", f"none of the {run.outside:,} findings reported in it is of its scope"
    if run.reported == 0:
        return "empty", "it reported nothing of its scope"
    taken = run.reported + run.outside
    if run.expected is not None and taken < run.expected:
        return "short", f"{taken:,} findings were reported, {run.expected:,} expected"
    before = [ref.reported for ref in lane.complete[:_BEFORE]]
    if before:
        least = min(before)
        if run.reported < closing.short_share * least and least - run.reported >= closing.short_floor:
            return "short", f"{run.reported:,} findings were reported, the runs before had at least {least:,}"
    return "", ""


def too_much(size: int, counts: Sequence[tuple[str, int, float, int]]) -> str:
    """
    Return what a run would do too much of: (what, how many, share, floor) each; empty if nothing.
    """
    over = []
    for what, count, share, floor in counts:
        bound = max(floor, int(share * size))
        if count > bound:
            over.append(f"it would {what} {count:,} items; of {size:,} in its scope at most {bound:,} go unasked")
    return "; ".join(over)
