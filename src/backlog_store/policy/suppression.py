"""
The section `suppression`: windows in which what matches is not opened, such as maintenance. Each has an end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct, field

from backlog_store.instants import Instant
from backlog_store.policy.findings import Finding
from backlog_store.policy.forms import Label, Moment, Reason, When
from backlog_store.policy.matching import Subject, matches

if TYPE_CHECKING:
    from backlog_store.policy import Policy

__all__ = ["Suppression", "Window"]


class Window(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One window. A problem that was seen within it opens nothing and reopens nothing; it is counted.
    """

    name: Annotated[Label, Meta(description="What it is called where it is told.")]
    when: Annotated[When, Meta(description="Which problems it holds back; all, if left out.")] = field(
        default_factory=dict
    )
    unless: Annotated[When, Meta(description="Which of them open all the same.")] = field(default_factory=dict)
    from_: Annotated[Moment, Meta(description="When it begins; at once, if left out.")] = field(
        default="", name="from"
    )  # fmt: skip
    until: Annotated[Moment, Meta(description="When it ends. Every window ends.")]
    reason: Annotated[Reason, Meta(description="Why, for people.")] = ""


class Suppression(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    Windows in which problems are not opened.
    """

    windows: Annotated[tuple[Window, ...], Meta(description="The first one that matches holds back.", max_length=200)]

    def window(self, subject: Subject, seen_at: Instant) -> tuple[int, Window] | None:
        """
        Return the window that holds back a problem seen at an instant, with its number.
        """
        for number, window in enumerate(self.windows):
            is_open = window.from_ <= seen_at < window.until
            if is_open and matches(subject, window.when, window.unless):
                return number, window
        return None

    def check(self, policy: Policy) -> Iterator[Finding]:
        """
        Yield windows that end before they begin, and names that stand twice.
        """
        names: dict[str, int] = {}
        for number, window in enumerate(self.windows):
            here = f"/suppression/windows/{number}"
            if window.until <= window.from_:
                yield Finding(pointer=f"{here}/until", reason=f"ends at {window.until}, not after it begins")
            if window.name in names:
                first = policy.lines.get(f"/suppression/windows/{names[window.name]}", 0)
                yield Finding(pointer=f"{here}/name", reason=f"{window.name!r} is already the name in line {first}")
            names.setdefault(window.name, number)
            if not window.when and not window.unless:
                yield Finding(pointer=here, warning=True, reason="holds back every problem of every source")
