"""
From requests to values: conditions, cursors, revisions, bodies.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
from litestar import Request
from msgspec.structs import replace

from backlog_store.errors import Fault, InvalidInput
from backlog_store.instants import Instant, parse_instant
from backlog_store.model import Item
from backlog_store.query import ANY, ORDERS, All, In, OrderKey, Where, live, order_key
from backlog_store.querylang import parse_query
from backlog_store.rules.checks import shorten
from backlog_store.shown import FIELDS, full_name
from backlog_store.web.problems import HttpProblem

__all__ = [
    "CONDITIONS", "ListQuery", "as_instant", "body_as", "condition", "cursor_of", "decoded", "etag", "fields_asked",
    "instant", "is_known", "list_query", "next_link", "paged", "refuse", "request_id", "revision_asked", "truth",
    "whole",
]  # fmt: skip

T = TypeVar("T")

#: Parameters that are conditions by themselves; each may be given several times.
CONDITIONS = ("env", "service", "category", "priority", "status", "owner", "source", "tag", "fix", "closed_reason")
_DEPTH_MAX = 64


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a list asks for.
    """

    where: Where
    order: str
    descending: bool
    limit: int
    after: OrderKey | None
    fields: tuple[str, ...]


def condition(parameters: Mapping[str, Sequence[str]], *, now: str, me: str) -> tuple[Where, str, bool]:
    """
    Return the condition that ``q`` and the plain parameters state together, and the order that ``q`` names.

    Without any word on the status, ``closed=true`` or ``q`` on it, live items are meant. Raises `InvalidQuery`.
    """
    parts: list[Where] = []
    order, descending, scoped = "", False, "status" in parameters or "closed_reason" in parameters
    for text in parameters.get("q", ()):
        if text.strip():
            parsed = parse_query(text, now=now, me=me)
            parts.append(parsed.where)
            scoped = scoped or parsed.scoped
            order, descending = (order, descending) if order else (parsed.order, parsed.descending)
    parts += [In(name, tuple(sorted(set(parameters[name])))) for name in CONDITIONS if name in parameters]
    if not scoped and parameters.get("closed", ("",))[-1] != "true":
        parts.append(live())
    return (parts[0] if len(parts) == 1 else All(tuple(parts)) if parts else ANY), order, descending


def list_query(
    parameters: Mapping[str, Sequence[str]], *, now: str, me: str, page_max: int, page: int = 50
) -> ListQuery:
    """
    Return what the parameters of a list ask for. Raises `InvalidInput` with every fault.
    """
    faults = [
        Fault(f"/{name}", "", f"no such parameter; known are {', '.join(_KNOWN)}")
        for name in parameters if name not in _KNOWN
    ]  # fmt: skip
    truth(parameters, "closed", faults)
    where, order, descending = condition(parameters, now=now, me=me)
    sort = parameters.get("sort", ("",))[-1]
    if sort:
        descending, order = sort.startswith("-"), sort.removeprefix("-")
    order = order or "priority"
    if order not in ORDERS:
        faults.append(Fault("/sort", order, f"one of {', '.join(ORDERS)}, with - in front to turn it round"))
    limit = whole(parameters, "limit", page, page_max, faults)
    after = None
    if text := parameters.get("after", ("",))[-1]:
        after = _cursor(text, order)
        if after is None:
            faults.append(Fault("/after", text, "not a cursor of this order; take it from the page before"))
    names = fields_asked(parameters, faults)
    refuse(faults)
    return ListQuery(where=where, order=order, descending=descending, limit=limit, after=after, fields=names)


_KNOWN = ("q", *CONDITIONS, "closed", "sort", "limit", "after", "fields")


def refuse(faults: Sequence[Fault]) -> None:
    """
    Raise `InvalidInput` if there is a fault of the parameters.
    """
    if faults:
        raise InvalidInput([replace(one, value=shorten(one.value)) for one in faults], what="query")


def fields_asked(parameters: Mapping[str, Sequence[str]], faults: list[Fault]) -> tuple[str, ...]:
    """
    Return the fields of an item that are asked for, none for all; a fault is noted in *faults*.
    """
    names = [full_name(name) for text in parameters.get("fields", ()) for name in text.split(",") if name]
    faults += [Fault("/fields", name, f"one of {', '.join(FIELDS)}") for name in names if name not in FIELDS]
    return tuple(names)


def whole(
    parameters: Mapping[str, Sequence[str]], name: str, default: int, most: int, faults: list[Fault], *, least: int = 1
) -> int:
    """
    Return a parameter that is a whole number, *least* to *most*; a fault is noted in *faults*.
    """
    text = parameters.get(name, (str(default),))[-1]
    if text.isascii() and text.isdecimal() and len(text) < 10 and least <= int(text) <= most:
        return int(text)
    faults.append(Fault(f"/{name}", text, f"a whole number, {least} to {most}"))
    return default


def truth(parameters: Mapping[str, Sequence[str]], name: str, faults: list[Fault]) -> bool:
    """
    Return a parameter that is true or false; a fault is noted in *faults*.
    """
    text = parameters.get(name, ("false",))[-1]
    if text not in ("true", "false"):
        faults.append(Fault(f"/{name}", text, "true or false"))
    return text == "true"


def instant(parameters: Mapping[str, Sequence[str]], name: str, faults: list[Fault]) -> Instant:
    """
    Return a parameter that is a day or an instant, empty where there is none; a fault is noted in *faults*.
    """
    text = parameters.get(name, ("",))[-1]
    try:
        return parse_instant(text) if text else ""
    except ValueError:
        faults.append(Fault(f"/{name}", text, "an instant (2026-11-01T06:00:00Z) or a day (2026-11-01)"))
        return ""


def as_instant(text: str) -> Instant:
    """
    Return an instant of a body in its one form; what is none as it is, for the command tells that with all else.
    """
    try:
        return parse_instant(text) if text else ""
    except ValueError:
        return text


def cursor_of(item: Item, order: str) -> str:
    """
    Return the cursor behind an item.
    """
    return base64.urlsafe_b64encode(msgspec.json.encode(order_key(item, order))).decode().rstrip("=")


def _cursor(text: str, order: str) -> OrderKey | None:
    try:
        key = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=tuple[str, ...])
    except (binascii.Error, ValueError, msgspec.DecodeError):
        return None
    return key if len(key) == len(ORDERS.get(order, ())) else None


def next_link(request: Request[Any, Any, Any], cursor: str) -> str:
    """
    Return the ``Link`` header of the page that follows.
    """
    parameters = [(name, value) for name, value in request.query_params.multi_items() if name != "after"]
    return f'<{request.url.path}?{urlencode([*parameters, ("after", cursor)])}>; rel="next"'


def paged(
    found: Iterable[T],
    name_of: Callable[[T], str],
    parameters: Mapping[str, Sequence[str]],
    faults: list[Fault],
    *,
    page: int = 100,
    turned: bool = False,
) -> tuple[list[T], str]:
    """
    Return a page by name of what is listed whole: its ``limit`` and ``after``, and where the next one goes on.

    The greatest name comes first where it is *turned*. Raises `InvalidInput` with *faults*.
    """
    limit = whole(parameters, "limit", page, 1_000, faults)
    refuse(faults)
    after = parameters.get("after", ("",))[-1]
    rest = (one for one in found if not after or (name_of(one) < after if turned else name_of(one) > after))
    behind = sorted(rest, key=name_of, reverse=turned)
    return behind[:limit], name_of(behind[limit - 1]) if len(behind) > limit else ""


def etag(revision: int) -> str:
    """
    Return the ETag of an item: its revision.
    """
    return f'"{revision}"'


def is_known(request: Request[Any, Any, Any], tag: str) -> bool:
    """
    Tell whether ``If-None-Match`` names the ETag, or ``*``: who asks has it already. Weak ones are the same here.
    """
    given = {one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")}
    return tag in given or "*" in given


def revision_asked(request: Request[Any, Any, Any], *, required: bool = False) -> int:
    """
    Return the revision that ``If-Match`` names; 0 for ``*`` or none. Raises `HttpProblem`: 428 where *required*, 412.
    """
    text = request.headers.get("if-match", "").strip()
    if not text:
        if required:
            raise HttpProblem(428, "say in If-Match which revision this changes", hint='If-Match: "3", or * for any.')
        return 0
    if text == "*":
        return 0
    number = text.removeprefix("W/").strip('"')
    if not (number.isascii() and number.isdecimal() and 0 < len(number) < 10 and int(number)):
        raise HttpProblem(412, f"If-Match {text[:40]}: not an ETag of an item", hint="Take it from a response's ETag.")
    return int(number)


def request_id(request: Request[Any, Any, Any]) -> str:
    """
    Return the ``Idempotency-Key``, or nothing. Its length and letters are checked with the command.
    """
    return request.headers.get("idempotency-key", "").strip()


def body_as(data: bytes, kind: type[T], request: Request[Any, Any, Any]) -> T:
    """
    Return a JSON body as *kind*. Raises `HttpProblem` (400, 415) or `InvalidInput` with every fault.
    """
    media = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media != "application/json" and not media.endswith("+json"):
        raise HttpProblem(415, f"{media[:60]}: give application/json", headers={"Accept": "application/json"})
    return decoded(data, kind, "body")


def decoded(data: bytes, kind: type[T], what: str) -> T:
    """
    Return JSON as *kind*. Raises `HttpProblem` (400) for what is no JSON, `InvalidInput` with every fault.
    """
    try:
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.ValidationError as error:
            plain = msgspec.json.decode(data)  # a wrong type is met before a fault of the text that follows it
            raise InvalidInput(_faults(plain, kind) or [_fault(error)], what=what) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HttpProblem(400, f"the {what} is no JSON: {error}", code="malformed") from error
    except RecursionError as error:
        raise HttpProblem(400, f"the {what} is nested too deep", code="malformed") from error


def _fault(error: msgspec.ValidationError, pointer: str = "") -> Fault:
    text, _, path = str(error).partition(" - at `$")
    return Fault(pointer + path.rstrip("`").replace("[", "/").replace("]", "").replace(".", "/"), "", text)


def _faults(plain: Any, kind: type[Any]) -> list[Fault]:
    """
    Return every fault of an object's members: msgspec stops at the first one, so each is looked at alone.
    """
    if not isinstance(plain, dict) or not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return []
    known = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    faults = [Fault(f"/{name}", "", f"no such member; known are {', '.join(known)}") for name in plain
              if name not in known]  # fmt: skip
    for name, field in known.items():
        if name not in plain:
            if field.required:
                faults.append(Fault(f"/{name}", "", "is missing"))
            continue
        try:
            msgspec.convert(plain[name], field.type)
        except msgspec.ValidationError as error:
            faults.append(_fault(error, f"/{name}"))
    return faults
