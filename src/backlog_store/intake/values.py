"""
What goes into a parser and what comes out of it.
"""

from __future__ import annotations

import re
from typing import TypeAlias

from msgspec import Struct, field

from backlog_store.errors import Fault, InvalidInput
from backlog_store.instants import Instant, parse_instant
from backlog_store.model import Draft, Priority

__all__ = [
    "Finding",
    "Looked",
    "Notice",
    "Parsed",
    "Refusal",
    "ReportContext",
    "merge_context",
    "no_service",
    "observed",
]

_ZONED = re.compile(r"T.*(?:[Zz]|[+-]\d\d:\d\d)$")


class ReportContext(Struct, frozen=True, kw_only=True):
    """
    What the caller knows about a report and the report itself does not say.

    `service` namespaces every key: the service or repository that was looked at. `root` is the folder that absolute
    paths are made relative to. `ref` names the branch. `severities` overrides the table of severities, word by word
    (``{"error": "P2"}``); `priority` sets it for all. `mapping` says which column or member fills which field of a
    draft (``{"title": "summary"}``; CSV and JSON drafts). `source` and `category` replace the tool's own.
    `strict_keys`: a key of the caller's that holds what changes (`rules.volatile`) is refused, not only told of.
    """

    service: str = ""
    env: str = ""
    ref: str = ""
    root: str = ""
    source: str = ""
    category: str = ""
    priority: Priority | None = None
    severities: dict[str, Priority] = field(default_factory=dict)
    mapping: dict[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    strict_keys: bool = False


class Finding(Struct, frozen=True):
    """
    One problem of the report, as a draft. `pointer` is where it stood.

    `resolved`: the source says that the problem is gone. That closes only what the same source opened.
    """

    draft: Draft
    pointer: str
    resolved: bool = False


class Refusal(Struct, frozen=True):
    """
    One finding that cannot be taken in, with all its faults. The rest of the report goes on.
    """

    pointer: str
    faults: tuple[Fault, ...]

    @property
    def reason(self) -> str:
        """
        Return all faults as one line.
        """
        return "; ".join(str(fault) for fault in self.faults)


class Notice(Struct, frozen=True):
    """
    Something that the report says and that is no finding: suppressed in the source, said twice, not looked at.

    `incomplete`: the tool did not look at all it should have; such a report does not prove that anything is gone.
    `advice`: it is about a finding that was taken in all the same.
    """

    pointer: str
    reason: str
    incomplete: bool = False
    advice: bool = False


class Looked(Struct, frozen=True):
    """
    A source that looked and found nothing: what is complete all the same is a run of it.
    """

    source: str


Parsed: TypeAlias = Finding | Refusal | Notice | Looked


def merge_context(
    context: ReportContext, *, kind: str, source: str, category: str, service: str = "", env: str = ""
) -> tuple[str, str, str, str]:
    """
    Return (env, service, source, category) of a draft: what the finding itself names wins over the context.

    Raises `InvalidInput` where neither names a service.
    """
    service = service or context.service
    if not service:
        raise no_service(kind)
    return env or context.env or "prod", service, context.source or source, context.category or category


def no_service(kind: str) -> InvalidInput:
    """
    Return the error of a report of which nobody knows what it is about.
    """
    return InvalidInput(
        [Fault("/service", "", f"a {kind} report does not say which service or repository it is about")],
        what="report",
        hint="Name it with --service (or BACKLOG_SERVICE); where there is a git remote, that names it.",
    )


def observed(text: str) -> Instant:
    """
    Return an ISO 8601 *text* with a zone as an instant; the empty text if it is none.

    Go's tools write the zone of their machine (``+02:00``), or ``Z``. A time without a zone is anybody's.
    """
    if not _ZONED.search(text):
        return ""
    try:
        return parse_instant(text)
    except (ValueError, OverflowError):
        return ""
