"""
What a way of telling findings apart says of two releases, held against the truth.

===========  ===========================================================================================
false new    said to be new, and it was there before: a person sees a known problem again
false fixed  said to be gone, and it is there: its history ends, and what was decided about it is lost
missed       new or gone, and not said so: it is taken for another one of the same key
crossed      taken for another one that goes on too
===========  ===========================================================================================
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Mapping, Sequence

from msgspec import Struct

__all__ = ["Counts", "counted"]


class Counts(Struct, frozen=True, kw_only=True):
    """
    How often a way of telling findings apart was wrong, and of how many findings.
    """

    findings: int = 0
    false_new: int = 0
    false_fixed: int = 0
    missed_new: int = 0
    missed_fixed: int = 0
    crossed: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in Counts.__struct_fields__})


def counted(old: Sequence[Hashable], new: Sequence[Hashable], truth: Mapping[int, int]) -> Counts:
    """
    Return what the keys of *old* and *new* findings say, where *truth* tells which new one is which old one.

    Of several findings of one key, as many are taken for known ones as there were, those first that are.
    """
    back = {one: other for other, one in truth.items()}
    known = _taken(new, old, truth)
    still = _taken(old, new, back)
    held: dict[Hashable, set[int]] = defaultdict(set)
    for index, key in enumerate(old):
        held[key].add(index)
    return Counts(
        findings=len(new),
        false_new=len(truth.keys() - known),
        false_fixed=len(back.keys() - still),
        missed_new=len(known - truth.keys()),
        missed_fixed=len(still - back.keys()),
        crossed=sum(1 for index in known if index in truth and truth[index] not in held[new[index]]),
    )


def _taken(keys: Sequence[Hashable], others: Sequence[Hashable], truth: Mapping[int, int]) -> Collection[int]:
    """
    Return which of *keys* are among *others*, each of which counts once.
    """
    there: dict[Hashable, set[int]] = defaultdict(set)
    for index, key in enumerate(others):
        there[key].add(index)
    same: dict[Hashable, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        same[key].append(index)
    taken: set[int] = set()
    for key, indexes in same.items():
        ours = there.get(key, set())
        best = sorted((truth.get(index) not in ours, index not in truth, index) for index in indexes)
        taken.update(index for *_, index in best[: len(ours)])
    return taken
