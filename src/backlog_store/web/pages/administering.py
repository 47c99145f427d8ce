"""
What the pages for admins share: scopes as forms give them, and a refusal shown with what was typed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from backlog_store.access import ROLES, Scope
from backlog_store.errors import BackendError, BacklogError, Fault, InvalidInput
from backlog_store.instants import Instant, is_instant
from backlog_store.web.pages.changes import one_of
from backlog_store.web.problems import HttpProblem, status_of
from backlog_store.web.routing import Ask, Reply

__all__ = ["NONE", "attempted", "made_at", "names_of", "once", "request_of", "scope_of", "text_of", "typed_of"]

#: How a form says "none at all"; empty is "any".
NONE = "(none)"
#: Problems of a request that its page shows: what speaks against it, a fault, too many tries.
_SHOWN = (409, 422, 429)


def names_of(form: Mapping[str, list[str]], name: str) -> tuple[str, ...] | None:
    """
    Return the names that stand in a field, one a line: ``None`` where there is none, for any.
    """
    found = tuple(filter(None, (line.strip() for line in one_of(form, name).splitlines())))
    return () if found == (NONE,) else found or None


def text_of(names: Sequence[str] | None) -> str:
    """
    Return names as a field shows them.
    """
    return "" if names is None else "\n".join(names) or NONE


def scope_of(form: Mapping[str, list[str]]) -> Scope:
    """
    Return the scope that a form gives. Raises `InvalidInput` for a role that there is not.
    """
    role = one_of(form, "role")
    if role not in ROLES:
        raise InvalidInput([Fault("/role", role[:40], f"one of {', '.join(ROLES)}")], what="form")
    return Scope(role=role, envs=names_of(form, "envs"), services=names_of(form, "services"),
                 sources=names_of(form, "sources"))  # fmt: skip


def typed_of(scope: Scope | None) -> dict[str, str]:
    """
    Return a scope as the fields of its form show it.
    """
    if scope is None:
        return {}
    return {"role": scope.role, "envs": text_of(scope.envs), "services": text_of(scope.services),
            "sources": text_of(scope.sources)}  # fmt: skip


def once(ask: Ask) -> str:
    """
    Return what a form that makes a secret carries, so that sending it twice makes one: an id, and when it was made.
    """
    return f"{ask.site.backlog.ids()}/{ask.site.backlog.clock()}"


def request_of(form: Mapping[str, list[str]]) -> str:
    """
    Return the request id of a form that was made by `once`.
    """
    drawn = one_of(form, "once")
    return f"form-{drawn}" if drawn else ""


def made_at(form: Mapping[str, list[str]], now: Instant) -> Instant:
    """
    Return when a form was made: "in 90 days" means the same however often it is sent. Without that, *now*.
    """
    made = one_of(form, "once").rpartition("/")[2]
    return made if is_instant(made) and made <= now else now


def attempted(do: Callable[[], Reply], refused: Callable[[int, BacklogError], Reply]) -> Reply:
    """
    Do what a form asks, or show the page again with what is wrong.
    """
    try:
        return do()
    except BacklogError as error:
        if isinstance(error, BackendError) or (isinstance(error, HttpProblem) and error.status not in _SHOWN):
            raise
        return refused(status_of(error), error)
