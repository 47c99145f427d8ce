"""
The bodies of commands about runs: one pass of one source over a declared scope.
"""

from __future__ import annotations

from msgspec import Struct

from backlog_store.commands.items import BodyOf

__all__ = ["AbortRun", "BeginRun", "CompleteRun", "JudgeRun", "RunScope"]


class RunScope(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    What a run looks at: one env, services or repositories by name, a ref (empty: no matter which), rules (empty: all).

    An item lies inside if its env and service do, its ``rule`` among the inputs of its key is one of *rules*, and it
    was last seen by a run of this scope or of one that lies within it (with no ref: or outside of any run).
    """

    services: tuple[str, ...]
    env: str = "prod"
    ref: str = ""
    rules: tuple[str, ...] = ()


class BeginRun(BodyOf, frozen=True, tag="begin_run"):
    """
    Begin a pass of *source* over *scope*. The outcome's id is what its reports name (`Report.run`).

    *name* is the caller's own, such as a CI job's, unique within source and scope: beginning it again changes nothing.
    """

    source: str
    scope: RunScope
    name: str = ""


class CompleteRun(BodyOf, frozen=True, tag="complete_run"):
    """
    Say that a run looked at all of its scope; closes what it and enough runs before it did not see.

    *expected_count* is how many findings were to be reported in it (``None``: not known): a run with fewer proves
    nothing. *digest* is of what was reported: completing again with the same one changes nothing, with another one is
    refused. At most *limit* items change in one transaction: ask again as long as the first outcome is ``closing``.
    """

    run: str
    source: str
    expected_count: int | None = None
    digest: str = ""
    limit: int = 500


class AbortRun(BodyOf, frozen=True, tag="abort_run"):
    """
    Say that a run failed: it proves nothing about what it did not see. What it did see stays reported.
    """

    run: str
    source: str
    reason: str
    limit: int = 500


class JudgeRun(BodyOf, frozen=True, tag="judge_run"):
    """
    A person accepts or rejects what a parked run would do; accepting an empty or short one says that it was complete.

    Accepted, it closes and reopens just the items it was parked with, where nobody changed them since.
    """

    run: str
    accept: bool
    message: str = ""
    limit: int = 500
