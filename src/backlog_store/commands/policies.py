"""
The command that puts a policy in force.
"""

from __future__ import annotations

from typing import Literal

from msgspec import field

from backlog_store.commands.items import BodyOf
from backlog_store.model import ItemId

__all__ = ["ApplyPolicy", "Escalate"]


class ApplyPolicy(BodyOf, frozen=True, tag="apply_policy"):
    """
    Put a policy in force: the *text* of its file, and the texts of the *files* that it names (CODEOWNERS), by name.

    Only a person does this. `over` is the revision that must still be in force (0: the built-in policy); another one is
    a `RevisionConflict`. The same policy again is ``unchanged``. Raises `InvalidInput` with every fault and its place.
    """

    text: str
    over: int
    format: Literal["yaml", "toml"] = "yaml"
    name: str = ""
    files: dict[str, str] = field(default_factory=dict)
    message: str = ""


class Escalate(BodyOf, frozen=True, tag="escalate"):
    """
    Let a step of the policy's escalation fire on an item, as an event, if it is due and did not fire in this episode.

    Otherwise the outcome is ``unchanged``, with the reason; so it is where *episode* is another one (0: any).
    """

    id: ItemId
    step: str
    episode: int = 0
