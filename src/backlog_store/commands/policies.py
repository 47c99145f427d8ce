"""
The command that puts a policy in force.
"""

from __future__ import annotations

from typing import Literal

from msgspec import field

from backlog_store.commands.items import BodyOf

__all__ = ["ApplyPolicy"]


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
