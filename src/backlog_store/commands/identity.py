"""
Commands about identities: which keys are names of one problem, and which never are.
"""

from __future__ import annotations

from backlog_store.commands.items import BodyOf
from backlog_store.model import ItemId

__all__ = ["Merge", "Split"]


class Merge(BodyOf, frozen=True, tag="merge"):
    """
    Make the keys of these items names of one item, `into`: whatever is reported under any of them reaches that one.

    It takes over their evidence, tags, claims and links; each of them keeps its trail, and is closed as ``duplicate``
    if it lives. One outcome an item, the one merged into last. Raises `NotAllowed` for keys that were split.
    """

    ids: tuple[ItemId, ...]
    into: ItemId
    message: str = ""


class Split(BodyOf, frozen=True, tag="split"):
    """
    Cut another name off from its item, for good: the next report of it is about an item of its own.

    The item that was merged away has its key again. No merge joins the two any more, until the split is lifted
    (`lift`), which joins nothing by itself.
    """

    env: str
    dedupe_key: str
    lift: bool = False
    message: str = ""
