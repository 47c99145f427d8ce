"""
Bodies of requests and responses. What the store itself gives (id, status, revision, actor) is in no request.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import asdict

from backlog_store.commands import LinkKind
from backlog_store.instants import Day, Instant
from backlog_store.model import Draft, Item
from backlog_store.rules import check_draft
from backlog_store.shown import FIELDS

__all__ = [
    "CloseIn", "DraftIn", "EditIn", "ItemPage", "KeyedDraftIn", "LinkIn", "MessageIn", "MoveIn", "Outcome",
    "ShownItem", "SnoozeIn",
]  # fmt: skip


class _Input(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    pass


class KeyedDraftIn(_Input, frozen=True):
    """
    A problem whose env and key stand in the path.
    """

    title: str
    service: str = ""
    category: str = ""
    description: str = ""
    priority: str = "P2"
    owner: str = ""
    due_date: Day = ""
    source: str = "manual"
    evidence_refs: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)
    fix: str = ""
    key_inputs: dict[str, str] = field(default_factory=dict)
    volatile: tuple[str, ...] = ()
    observed_at: Instant = ""


class DraftIn(KeyedDraftIn, frozen=True):
    """
    A problem as a reporter or a person hands it in. What the store itself gives (id, status, revision) is not here.
    """

    env: str = "prod"
    dedupe_key: str = ""

    def draft(self) -> Draft:
        """
        Return the draft. Raises `InvalidInput` with every fault.
        """
        draft = Draft(**asdict(self))
        check_draft(draft)
        return draft


class EditIn(_Input, frozen=True):
    """
    What to change; what is not named stays.
    """

    title: str | msgspec.UnsetType = msgspec.UNSET
    description: str | msgspec.UnsetType = msgspec.UNSET
    service: str | msgspec.UnsetType = msgspec.UNSET
    category: str | msgspec.UnsetType = msgspec.UNSET
    priority: str | msgspec.UnsetType = msgspec.UNSET
    owner: str | msgspec.UnsetType = msgspec.UNSET
    due_date: str | msgspec.UnsetType = msgspec.UNSET
    tags: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    meta: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    fix: str | msgspec.UnsetType = msgspec.UNSET
    evidence_refs: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()
    release: tuple[str, ...] = ()
    message: str = ""


class MoveIn(_Input, frozen=True):
    """
    Where an item moves to.
    """

    to: str
    message: str = ""


class CloseIn(_Input, frozen=True):
    """
    Why an item is closed.
    """

    reason: str = "fixed"
    message: str = ""
    approver: str = ""
    expires_at: Instant = ""
    duplicate_of: str = ""


class MessageIn(_Input, frozen=True):
    """
    Words to an item.
    """

    message: str


class SnoozeIn(_Input, frozen=True):
    """
    Until when an item sleeps; the empty instant wakes it.
    """

    until: Instant
    message: str = ""


class LinkIn(_Input, frozen=True):
    """
    What an item is joined with.
    """

    kind: LinkKind
    other: str
    remove: bool = False


#: An item as it is shown: all fields, or those that were asked for.
ShownItem = msgspec.defstruct(
    "ShownItem",
    [
        *((one.name, one.type | msgspec.UnsetType, msgspec.UNSET)
          for one in msgspec.structs.fields(Item) if one.name in FIELDS),
        ("effective_status", str | msgspec.UnsetType, msgspec.UNSET),
        ("overdue", bool | msgspec.UnsetType, msgspec.UNSET),
    ],
    namespace={"__doc__": "An item: all its fields, or those that were asked for."},
)  # fmt: skip
_Shown = Annotated[dict[str, Any], msgspec.Meta(extra_json_schema={"$ref": "#/components/schemas/ShownItem"})]


class Outcome(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What became of a request: the verdict, why, and the item as it stands now.
    """

    verdict: str
    id: str = ""
    revision: int = 0
    why: str = ""
    code: str = ""
    batch: str = ""
    replayed: bool = False
    accepted: bool = False
    item: _Shown | None = None


class ItemPage(Struct, frozen=True, kw_only=True):
    """
    A page of items; `next` is the cursor of the one that follows, empty at the end.
    """

    items: list[_Shown]
    next: str = ""
