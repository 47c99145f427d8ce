"""
What forms do: a command, then back to where one was, saying what was done and how to undo it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from msgspec.structs import replace

from backlog_store import commands as c
from backlog_store.errors import BackendError, BacklogError, Fault, InvalidInput
from backlog_store.model import LIMITS, PRIORITIES, Draft
from backlog_store.rules import check_draft
from backlog_store.web.pages.items import context_of
from backlog_store.web.pages.render import page
from backlog_store.web.problems import HttpProblem
from backlog_store.web.routing import Ask, Reply, Routes

__all__ = ["FORM", "back_to", "form_of", "moment", "one_of", "own_place", "revision_of", "routes"]

routes = Routes()

FORM = ("application/x-www-form-urlencoded",)


def form_of(ask: Ask) -> dict[str, list[str]]:
    """
    Return the fields of a form. Raises `HttpProblem` (400, 415).
    """
    media = ask.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in FORM:
        raise HttpProblem(415, f"{media[:60] or 'no media type'}: give a form")
    try:
        return parse_qs(ask.body.decode(), keep_blank_values=True, strict_parsing=False, max_num_fields=5_000)
    except (UnicodeDecodeError, ValueError) as error:
        raise HttpProblem(400, "the form is not UTF-8, or has too many fields", code="malformed") from error


def back_to(form: Mapping[str, list[str]], verdict: str, batch: str, *, default: str) -> Reply:
    """
    Return to where the form was, on this site alone.
    """
    place = urlsplit(own_place(form.get("back", [default])[-1], default))
    kept = [(name, value) for name, values in parse_qs(place.query, keep_blank_values=True).items()
            for value in values if name not in ("did", "batch")]  # fmt: skip
    query = urlencode([*kept, ("did", verdict), ("batch", batch)])
    return Reply(status=303, headers={"Location": urlunsplit(("", "", place.path, query, ""))})


def own_place(place: str, default: str) -> str:
    """
    Return a path of this site: *place* if it is one, else *default*.
    """
    # Browsers take a backslash for a slash, and any number of slashes for the two in front of a host.
    is_own = place.startswith("/") and not place.startswith("//") and "\\" not in place and place.isprintable()
    return place if is_own else default


def revision_of(text: str) -> int:
    """
    Return the revision that a form says was shown; 0, any, for what is no number.
    """
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0


def one_of(form: Mapping[str, list[str]], name: str, default: str = "") -> str:
    """
    Return the last value of a field, without space around it.
    """
    return form.get(name, [default])[-1].strip()


def moment(form: Mapping[str, list[str]], name: str, now: str) -> str:
    """
    Return the instant that a field names (``+7d``, ``fri``, a day); empty for an empty one. Raises `InvalidInput`.
    """
    from backlog_store.querylang.dates import parse_when

    text = one_of(form, name)
    if not text:
        return ""
    try:
        when, _ = parse_when(text, now=now)
    except ValueError as error:
        raise InvalidInput([Fault(f"/{name}", text, f"{error}; write +7d, fri or 2026-12-01")], what="form") from error
    return when


_Build = Callable[[str, Mapping[str, list[str]], str, int], c.Single]


def _edit(id: str, form: Mapping[str, list[str]], now: str, revision: int) -> c.Single:
    names = ("title", "description", "priority", "owner", "service", "category", "due_date", "fix")
    fields: dict[str, Any] = {name: one_of(form, name) for name in names if name in form}
    if fields.get("due_date"):
        fields["due_date"] = moment(form, "due_date", now)[:10]
    if "tags" in form:
        fields["tags"] = [tag for tag in one_of(form, "tags").replace(",", " ").split() if tag]
    return c.Edit(id=id, fields=fields, revision=revision, message=one_of(form, "message"))


#: What each form makes of its fields: the verb in its address, and the command.
VERBS: dict[str, _Build] = {
    "edit": _edit,
    "move": lambda item, form, _, revision: c.Move(id=item, to=one_of(form, "to"), revision=revision,
                                                 message=one_of(form, "message")),
    "close": lambda item, form, now, revision: c.Close(
        id=item, reason=one_of(form, "reason", "fixed"), message=one_of(form, "message"), revision=revision,
        approver=one_of(form, "approver"), expires_at=moment(form, "expires_at", now),
        duplicate_of=one_of(form, "duplicate_of")),
    "reopen": lambda item, form, _, revision: c.Reopen(id=item, message=one_of(form, "message"), revision=revision),
    "snooze": lambda item, form, now, revision: c.Snooze(id=item, until=moment(form, "until", now), revision=revision,
                                                       message=one_of(form, "message")),
    "comment": lambda item, form, _, __: c.Comment(id=item, message=one_of(form, "message")),
    "link": lambda item, form, _, __: c.Link(id=item, kind=one_of(form, "kind", "relates"),  # type: ignore[arg-type]
                                           other=one_of(form, "other"), remove=bool(one_of(form, "remove"))),
}  # fmt: skip


@routes.add("POST", "/items/{id:str}/{verb:str}", action="work", takes=FORM, gives="text/html")
def change_item(ask: Ask) -> Reply:
    """
    Do what a form of an item says.
    """
    form, verb = form_of(ask), ask.path["verb"]
    if verb not in VERBS:
        raise HttpProblem(404, f"there is no {verb[:40]!r} of an item")
    backlog, now = ask.backlog, ask.site.backlog.clock()
    item = backlog.get(ask.path["id"])
    seen = one_of(form, "revision")
    try:
        body = VERBS[verb](item.id, form, now, revision_of(seen))
        if isinstance(body, c.Link):
            body = replace(body, other=backlog.id_of(body.other))
        if isinstance(body, c.Close) and body.duplicate_of:
            body = replace(body, duplicate_of=backlog.id_of(body.duplicate_of))
        answer = backlog.execute(body)
    except BacklogError as error:
        if isinstance(error, BackendError):
            raise
        # The form again, with what was typed and what is wrong with it.
        context = context_of(ask, backlog.get(item.id))
        return page(ask, "item.html", code=422, refused=error, verb=verb, typed=form, **context)
    return back_to(form, answer.outcomes[0].verdict, answer.batch, default=f"/items/{item.id}")


@routes.add("POST", "/items", action="work", takes=FORM, gives="text/html")
def add_item(ask: Ask) -> Reply:
    """
    Add an item by hand.
    """
    form, now = form_of(ask), ask.site.backlog.clock()
    given = {name: one_of(form, name) for name in ("title", "description", "service", "category", "owner", "due_date")}
    faults: dict[str, str] = {}
    try:
        due = moment(form, "due_date", now)[:10]
        priority = one_of(form, "priority", "P2")
        draft = Draft(title=given["title"], description=given["description"], service=given["service"], due_date=due,
                      category=given["category"], owner=given["owner"], priority=priority,
                      env=one_of(form, "env", "prod") or "prod")  # fmt: skip
        check_draft(draft)
        answer = ask.backlog.execute(c.Create(draft=draft))
    except InvalidInput as error:
        faults = {fault.pointer.rsplit("/", 1)[-1]: fault.reason for fault in error.faults}
        given["priority"] = one_of(form, "priority")
        return page(ask, "new.html", code=422, priorities=PRIORITIES, given=given, faults=faults)
    return back_to({}, "created", answer.batch, default=f"/items/{answer.outcomes[0].id}")


@routes.add("POST", "/bulk", action="work", takes=FORM, gives="text/html")
def change_items(ask: Ask) -> Reply:
    """
    Do the same with several items: first a preview of the exact set, then, with its revisions, the change.
    """
    # A field that was left empty is not one to be emptied: of many items nobody sees what that would wipe out.
    form = {name: values for name, values in form_of(ask).items() if values[-1].strip()}
    verb, now = one_of(form, "verb"), ask.site.backlog.clock()
    if verb not in VERBS:
        raise HttpProblem(422, "choose what to do with the items")
    pairs = [pair.partition("@") for pair in form.get("ids", [])][: LIMITS.drafts_per_command]
    if not pairs:
        return back_to(form, "unchosen", "", default="/items")
    try:
        bodies = tuple(VERBS[verb](id, form, now, revision_of(seen)) for id, _, seen in pairs)
    except InvalidInput as error:
        return page(ask, "bulk.html", code=422, refused=error, rows=[], verb=verb, form=form, ready=0)
    body = c.Bulk(bodies=bodies, keep_going=True)
    if one_of(form, "sure") != "yes":
        outcomes = ask.backlog.preview(body).outcomes
        known = ask.backlog.read(lambda reader: reader.items([id for id, _, _ in pairs]))
        rows = [(known.get(id), outcome) for (id, _, _), outcome in zip(pairs, outcomes, strict=True)]
        sure = [(item, outcome) for item, outcome in rows if item is not None]
        return page(ask, "bulk.html", refused=None, rows=sure, verb=verb, form=form,
                    ready=sum(outcome.verdict != "refused" for _, outcome in sure))  # fmt: skip
    answer = ask.backlog.execute(body)
    done = [outcome for outcome in answer.outcomes if outcome.verdict != "refused"]
    return back_to(form, done[0].verdict if done else "unchanged", answer.batch, default="/items")


@routes.add("POST", "/undo", action="work", takes=FORM, gives="text/html")
def undo_batch(ask: Ask) -> Reply:
    """
    Set back what a form did.
    """
    form = form_of(ask)
    answer = ask.backlog.undo(one_of(form, "batch"))
    return back_to(form, "updated", answer.batch, default="/items")


@routes.add("POST", "/views", action="work", takes=FORM, gives="text/html")
def keep_view(ask: Ask) -> Reply:
    """
    Keep a query under a name.
    """
    form = form_of(ask)
    ask.backlog.save_view(one_of(form, "name"), one_of(form, "query"))
    return Reply(status=303, headers={"Location": "/items?" + urlencode({"q": one_of(form, "query")})})
