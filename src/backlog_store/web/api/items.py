"""
Items: lists, one item, and what people and machines do with it.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import asdict, replace

from backlog_store import commands as c
from backlog_store.errors import Fault, InvalidInput, NotFound
from backlog_store.model import Draft, Item
from backlog_store.query import EventQuery, ItemQuery
from backlog_store.rules import check_draft
from backlog_store.shown import FIELDS, view
from backlog_store.web.api.bodies import (
    CloseIn,
    DraftIn,
    EditIn,
    ItemPage,
    KeyedDraftIn,
    LinkIn,
    MessageIn,
    MoveIn,
    Outcome,
    ShownItem,
    SnoozeIn,
)
from backlog_store.web.inputs import (
    as_instant,
    cursor_of,
    etag,
    fields_asked,
    is_known,
    list_query,
    next_link,
    refuse,
    request_id,
    revision_asked,
    whole,
)
from backlog_store.web.problems import HttpProblem
from backlog_store.web.routing import LIMIT, Ask, Param, Reply, Routes

__all__ = ["LIST", "outcome", "routes"]

routes = Routes("/api/v1")

#: Where a command has what a body has elsewhere.
_MEMBERS: dict[type, tuple[str, str]] = {c.Edit: ("/fields", ""), c.Move: ("/status", "/to")}
_FIELDS = Param("fields", f"Only these fields, with commas between; known are {', '.join(FIELDS)}.")
#: What changes one item: its answer holds the item, and asking again with the same key changes nothing more.
_ONCE: dict[str, Any] = {"params": (_FIELDS,), "headers": ("Idempotency-Key",)}
_RESTING: dict[str, Any] = {"params": (_FIELDS,), "headers": ("If-Match", "Idempotency-Key")}
LIST = (
    Param("q", "A query in the language of the command line; all that are given must hold.", many=True),
    *(Param(name, f"Items of this {name}.", many=True) for name in ("env", "service", "category", "priority", "status",
            "owner", "source", "tag", "fix", "closed_reason")),
    Param("closed", "Closed items, too.", schema={"type": "boolean"}),
    Param("sort", "priority, due, created, updated, closed or id; with - in front turned round."),
    LIMIT,
    Param("after", "The cursor that the page before ended with."),
    _FIELDS,
)  # fmt: skip


def names_asked(ask: Ask) -> tuple[str, ...]:
    """
    Return the fields that are asked for. Raises `InvalidInput`.
    """
    faults: list[Fault] = []
    names = fields_asked(ask.parameters, faults)
    refuse(faults)
    return names


@routes.add("GET", "/items", action="read", collects=True, params=LIST, answers={200: ItemPage})
def list_items(ask: Ask) -> Reply:
    """
    List items, the most urgent first: live ones, unless the query speaks of the status.
    """
    backlog, now = ask.backlog, ask.site.backlog.clock()
    asked = list_query(ask.parameters, now=now, me=ask.asker.name, page_max=ask.site.limits.page)
    query = ItemQuery(where=asked.where, order=asked.order, descending=asked.descending,  # type: ignore[arg-type]
                      limit=asked.limit + 1, after=asked.after)  # fmt: skip
    found = backlog.read(lambda reader: reader.search(query))
    page = found[: asked.limit]
    cursor = cursor_of(page[-1], asked.order) if len(found) > len(page) else ""
    headers = {"Link": next_link(ask.request, cursor)} if cursor else {}
    return Reply(data=ItemPage(items=[view(item, asked.fields, now) for item in page], next=cursor), headers=headers)


@routes.add("POST", "/items", action="work", body=DraftIn, **_ONCE, answers={201: Outcome})
def create_item(ask: Ask) -> Reply:
    """
    Add an item that must not be there yet.
    """
    return outcome(ask, c.Create(draft=ask.body_as(DraftIn).draft()), status=201)


@routes.add("GET", "/items/{id:str}", action="read", params=(_FIELDS,), headers=("If-None-Match",),
            answers={200: ShownItem, 304: None})  # fmt: skip
def get_item(ask: Ask) -> Reply:
    """
    Show one item, by its id, an id that it had before, or an unambiguous beginning.
    """
    return _shown(ask, ask.backlog.get(ask.path["id"]))


@routes.add("GET", "/items/by-key/{env:str}/{key:path}", action="read", params=(_FIELDS,), headers=("If-None-Match",),
            answers={200: ShownItem, 304: None})  # fmt: skip
def get_item_by_key(ask: Ask) -> Reply:
    """
    Show the item that holds a key now.
    """
    env, key = ask.path["env"], ask.path["key"].removeprefix("/")
    item = ask.backlog.get_by_key(key, env=env)
    if item is None:
        raise NotFound("key", f"{env}/{key}")
    return _shown(ask, item)


@routes.add("PUT", "/items/by-key/{env:str}/{key:path}", action="report", body=KeyedDraftIn, **_ONCE,
            answers={200: Outcome, 201: Outcome, 202: Outcome})  # fmt: skip
def report_item(ask: Ask) -> Reply:
    """
    Report the problem of a key: the upsert. What became of it is the verdict; 201 if an item was created.
    """
    given = ask.body_as(KeyedDraftIn)
    key = ask.path["key"].removeprefix("/")
    draft = Draft(**asdict(given), env=ask.path["env"], dedupe_key=key)
    check_draft(draft)
    return outcome(ask, c.Report(drafts=(draft,)))


@routes.add("PATCH", "/items/{id:str}", action="work", body=EditIn, **_RESTING, answers={200: Outcome})
def edit_item(ask: Ask) -> Reply:
    """
    Set fields of an item; `If-Match` says on which revision this rests.
    """
    given = asdict(ask.body_as(EditIn))
    own = {name: given.pop(name) for name in ("add_tags", "remove_tags", "release", "message")}
    fields = {name: value for name, value in given.items() if value is not msgspec.UNSET}
    revision = revision_asked(ask.request, required=True)
    return outcome(ask, c.Edit(id=_id(ask), fields=fields, revision=revision, **own))


@routes.add("POST", "/items/{id:str}/move", action="work", body=MoveIn, **_RESTING, answers={200: Outcome})
def move_item(ask: Ask) -> Reply:
    """
    Move an item along the workflow; a refusal names the allowed moves.
    """
    given = ask.body_as(MoveIn)
    body = c.Move(id=_id(ask), to=given.to, message=given.message, revision=revision_asked(ask.request))
    return outcome(ask, body)


@routes.add("POST", "/items/{id:str}/close", action="work", body=CloseIn, **_RESTING, answers={200: Outcome})
def close_item(ask: Ask) -> Reply:
    """
    Close an item, with a reason.
    """
    given = asdict(ask.body_as(CloseIn))
    if given["duplicate_of"]:
        given["duplicate_of"] = ask.backlog.id_of(given["duplicate_of"])
    given["expires_at"] = as_instant(given["expires_at"])
    return outcome(ask, c.Close(id=_id(ask), revision=revision_asked(ask.request), **given))


@routes.add("POST", "/items/{id:str}/reopen", action="work", body=MessageIn, **_RESTING, answers={200: Outcome})
def reopen_item(ask: Ask) -> Reply:
    """
    Open a new episode of a closed item.
    """
    message = ask.body_as(MessageIn).message
    return outcome(ask, c.Reopen(id=_id(ask), message=message, revision=revision_asked(ask.request)))


@routes.add("POST", "/items/{id:str}/snooze", action="work", body=SnoozeIn, **_RESTING, answers={200: Outcome})
def snooze_item(ask: Ask) -> Reply:
    """
    Let an item sleep until an instant, or wake it.
    """
    given = ask.body_as(SnoozeIn)
    revision = revision_asked(ask.request)
    return outcome(ask, c.Snooze(id=_id(ask), until=as_instant(given.until), message=given.message, revision=revision))


@routes.add("POST", "/items/{id:str}/comments", action="work", body=MessageIn, **_ONCE,
            answers={201: Outcome, 202: Outcome})  # fmt: skip
def comment_on_item(ask: Ask) -> Reply:
    """
    Add a comment.
    """
    return outcome(ask, c.Comment(id=_id(ask), message=ask.body_as(MessageIn).message), status=201)


@routes.add("GET", "/items/{id:str}/events", action="read", answers={200: dict},
            params=(LIMIT, Param("after", "Go on behind this position.")))  # fmt: skip
def item_events(ask: Ask) -> Reply:
    """
    Show what was changed about an item, oldest first.
    """
    faults: list[Fault] = []
    limit = whole(ask.parameters, "limit", 1_000, 1_000, faults)
    refuse(faults)
    id = ask.backlog.get(ask.path["id"]).id
    events = ask.backlog.events(EventQuery(item_ids=(id,), after=ask.text("after"), limit=limit))
    return Reply(data={"events": events, "next": events[-1].position if len(events) == limit else ""})


@routes.add("GET", "/items/{id:str}/sightings", action="read", answers={200: dict})
def item_sightings(ask: Ask) -> Reply:
    """
    Show how often each source reported the unchanged problem.
    """
    item = ask.backlog.get(ask.path["id"])
    return Reply(data={"sightings": ask.backlog.sightings(item.id), "occurrences": ask.backlog.occurrences(item)})


@routes.add("GET", "/items/{id:str}/links", action="read", answers={200: dict})
def item_links(ask: Ask) -> Reply:
    """
    Show what an item is linked with; a kind with ~ in front is seen from its end.
    """
    links = ask.backlog.links(ask.backlog.get(ask.path["id"]).id)
    return Reply(data={"links": [{"kind": kind, "other": other} for kind, other in links]})


@routes.add("POST", "/items/{id:str}/links", action="work", body=LinkIn, **_ONCE, answers={200: Outcome})
def link_item(ask: Ask) -> Reply:
    """
    Link an item with another one, or part them.
    """
    given = ask.body_as(LinkIn)
    other = ask.backlog.id_of(given.other)
    return outcome(ask, c.Link(id=_id(ask), kind=given.kind, other=other, remove=given.remove))


def _id(ask: Ask) -> str:
    return ask.backlog.id_of(ask.path["id"])


def _shown(ask: Ask, item: Item) -> Reply:
    names, tag = names_asked(ask), etag(item.revision)
    if is_known(ask.request, tag):
        return Reply(status=304, headers={"ETag": tag})
    return Reply(data=view(item, names, ask.site.backlog.clock()), headers={"ETag": tag})


def outcome(ask: Ask, body: c.Body, *, status: int = 200) -> Reply:
    """
    Carry a command of one item out and return what became of it: 201 for a created item, 202 if it is only accepted.
    """
    backlog, names = ask.backlog, names_asked(ask)  # what is wrong with the request is told before anything is done
    try:
        answer = backlog.execute(body, request_id=request_id(ask.request))
    except InvalidInput as error:
        raise _of_body(error, body) from error
    became = answer.outcomes[0]
    if became.verdict == "refused":
        raise HttpProblem(403 if became.code == "not_allowed" else 422, became.why, code=became.code)
    item = became.item or (backlog.find(became.id) if became.id and not answer.accepted else None)
    now = backlog.clock()
    data = Outcome(verdict=became.verdict, id=became.id, revision=became.revision, why=became.why, batch=answer.batch,
                   replayed=answer.replayed, accepted=answer.accepted,
                   item=view(item, names, now) if item is not None else None)  # fmt: skip
    headers = {"ETag": etag(became.revision)} if became.revision else {}
    if became.verdict == "created":
        headers["Location"] = f"/api/v1/items/{became.id}"
        status = 201
    return Reply(data=data, status=202 if answer.accepted else status, headers=headers)


def _of_body(error: InvalidInput, body: c.Body) -> InvalidInput:
    """
    Return the error with pointers into the body that was sent, where the command has other members than that.
    """
    there, here = _MEMBERS.get(type(body), ("", ""))
    if not there:
        return error
    faults = [replace(one, pointer=here + one.pointer.removeprefix(there)) if one.pointer.startswith(there) else one
              for one in error.faults]  # fmt: skip
    return InvalidInput(faults, what=error.what, hint=error.hint)
